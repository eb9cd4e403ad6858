// Package scheme is the one place for what all signatures have in common: what a key is
// asked to sign, the identifiers of algorithms and curves, and the encodings of a
// signature value.
//
// There are two ways to ask an RSA key: with a digest and its hash, as crypto.Signer has
// it, and with a complete DigestInfo and crypto.Hash(0), for hashes that have no
// crypto.Hash and for signers that know only some. Every kind of key takes both.
package scheme

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"

	"sign-file/digest"
)

// ErrPSS says that an RSA-PSS signature was asked for.
var ErrPSS = errors.New("RSA-PSS is not supported: signatures of modules are PKCS#1 v1.5")

// ReadRequest returns the hash algorithm and the digest that a signature shall cover.
func ReadRequest(data []byte, opts crypto.SignerOpts) (*digest.Algorithm, []byte, error) {
	if err := CheckRequest(opts); err != nil {
		return nil, nil, err
	}
	hash := opts.HashFunc()
	if hash == 0 {
		return digest.ParseDigestInfo(data)
	}
	algorithm := digest.ByHash(hash)
	if algorithm == nil {
		return nil, nil, fmt.Errorf("hash algorithm %v is not supported", hash)
	}
	if size := algorithm.New().Size(); len(data) != size {
		return nil, nil, fmt.Errorf("%d bytes are no %v digest, which has %d", len(data), algorithm, size)
	}
	return algorithm, data, nil
}

// ReadSum returns the digest that an ECDSA signature shall cover, which doesn't name its
// hash: with crypto.Hash(0), it is that of a hash that has no crypto.Hash.
func ReadSum(data []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := CheckRequest(opts); err != nil || opts.HashFunc() == 0 {
		return data, err
	}
	_, sum, err := ReadRequest(data, opts)
	return sum, err
}

// CheckRequest refuses options that name no hash, and RSA-PSS.
func CheckRequest(opts crypto.SignerOpts) error {
	switch opts.(type) {
	case nil:
		return errors.New("no options for the signature: name the digest's hash")
	case *rsa.PSSOptions:
		return ErrPSS
	}
	return nil
}
