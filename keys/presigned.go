package keys

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/scheme"
)

// Presigned returns a key that has signed already: whatever it is asked to sign,
// the signature value is the one given. The signer that uses it finds out whether
// it is the right one. An ECDSA value may be DER or the bare r and s, as tokens
// and some services give it.
func Presigned(public crypto.PublicKey, signature []byte) Key {
	return presigned{public, inDER(public, signature)}
}

// ErrNotPresigned says that none of the signatures that were made elsewhere is of this
// digest.
var ErrNotPresigned = errors.New("no signature of this digest")

// PresignedSet is Presigned for many: the signature values by what they are of, a digest
// or mu, as a string of its bytes. What is asked for and is not there is ErrNotPresigned.
func PresignedSet(public crypto.PublicKey, signatures map[string][]byte) Key {
	all := presignedSet{public, map[string][]byte{}}
	for digest, signature := range signatures {
		all.signatures[digest] = inDER(public, signature)
	}
	return all
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

// inDER turns the bare r and s of an ECDSA signature into DER.
func inDER(public crypto.PublicKey, signature []byte) []byte {
	if key, ok := public.(*ecdsa.PublicKey); ok {
		if size := (key.Curve.Params().N.BitLen() + 7) / 8; len(signature) == 2*size && !isSequence(signature) {
			if der, err := scheme.EncodeECDSA(signature); err == nil {
				return der
			}
		}
	}
	return signature
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

func isSequence(der []byte) bool {
	input := cryptobyte.String(der)
	return input.SkipASN1(cbasn1.SEQUENCE) && input.Empty()
}
