package keys

import (
	"crypto"
	"errors"
	"io"
	"maps"
)

// Presigned returns a key that has signed already: whatever it is asked to sign,
// the signature value is the one given. The signer that uses it finds out whether
// it is the right one.
func Presigned(public crypto.PublicKey, signature []byte) Key { return presigned{public, signature} }

// ErrNotPresigned says that none of the signatures that were made elsewhere is of this
// digest.
var ErrNotPresigned = errors.New("no signature of this digest")

// PresignedSet is Presigned for many: the signature values by what they are of, a digest
// or mu, as a string of its bytes. What is asked for and is not there is ErrNotPresigned.
func PresignedSet(public crypto.PublicKey, signatures map[string][]byte) Key {
	return presignedSet{public, maps.Clone(signatures)}
}

type presignedSet struct {
	public     crypto.PublicKey
	signatures map[string][]byte
}

func (presignedSet) Close() error { return nil }

func (presignedSet) KnowsHashes() bool { return true }

func (p presignedSet) Public() crypto.PublicKey { return p.public }

func (p presignedSet) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	signature, ok := p.signatures[string(digest)]
	if !ok {
		return nil, ErrNotPresigned
	}
	return signature, nil
}

type presigned struct {
	public    crypto.PublicKey
	signature []byte
}

func (presigned) Close() error { return nil }

func (presigned) KnowsHashes() bool { return true }

func (p presigned) Public() crypto.PublicKey { return p.public }

func (p presigned) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return p.signature, nil
}
