// Package p384 makes and checks a few ECDSA signatures on P-384 (FIPS 186-5, sections
// 6.4.1 and 6.4.2) in a process that lives for no more.
//
// crypto/ecdsa builds a table of the generator's multiples first, and earns that back
// after some signatures. sign-file makes one. So the generator is multiplied here as any
// other point is, in constant time, by filippo.io/nistec, and the arithmetic modulo the
// group's order is filippo.io/bigmod's: both are the standard library's own code.
package ecdsaonce

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"io"

	"filippo.io/bigmod"
	"filippo.io/nistec"

	"sign-file/internal/scheme"
)

// size is the length of a scalar and of a coordinate in bytes.
const size = 48

// order is the order n of the group, big endian (SP 800-186, section 3.2.1.4).
const order = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73"

func newOrder() *bigmod.Modulus {
	n, err := bigmod.NewModulus([]byte(order))
	if err != nil {
		panic(err) // of a constant
	}
	return n
}

// PrivateKey is a scalar and the point that it is said to belong to. It is a
// crypto.Signer, and may be used by several goroutines at once.
type PrivateKey struct {
	scalar *bigmod.Nat
	octets [size]byte
	public *ecdsa.PublicKey
}

// NewPrivateKey takes the scalar, big endian, and the public key. That they belong
// together is not checked: it would cost as much as a signature, which proves it to
// whoever checks that.
func NewPrivateKey(scalar []byte, public *ecdsa.PublicKey) (*PrivateKey, error) {
	k := &PrivateKey{public: public}
	if len(scalar) != size {
		return nil, errors.New("ecdsaonce: a private key has 48 bytes")
	}
	copy(k.octets[:], scalar)
	var err error
	if k.scalar, err = bigmod.NewNat().SetBytes(scalar, newOrder()); err != nil || k.scalar.IsZero() == 1 {
		return nil, errors.New("ecdsaonce: a private key is between 1 and the order of the group")
	}
	return k, nil
}

// ECDSA returns the key as crypto/ecdsa has it, with the public key that the scalar makes.
func (k *PrivateKey) ECDSA() (*ecdsa.PrivateKey, error) {
	return ecdsa.ParseRawPrivateKey(elliptic.P384(), k.octets[:])
}

// Public returns the *ecdsa.PublicKey.
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// Sign signs a digest and returns the signature in DER. The nonce is hedged: made of
// the key, the digest and what random gives, so that a bad source of randomness harms
// nothing. Without random it is that of RFC 6979, with the hash that opts names.
func (k *PrivateKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	n := newOrder()
	e := fromDigest(digest, n)
	nonces, err := k.newNonces(random, e.Bytes(n), opts)
	if err != nil {
		return nil, err
	}
	for {
		r, s, err := k.signWith(nonces.next(), e, n)
		if err != nil {
			return nil, err
		}
		if s != nil {
			return scheme.EncodeECDSA(append(r.Bytes(n), s.Bytes(n)...))
		}
	}
}

// signWith returns nil where a nonce is none, which next to never happens.
func (k *PrivateKey) signWith(octets []byte, e *bigmod.Nat, n *bigmod.Modulus) (r, s *bigmod.Nat, err error) {
	defer clear(octets)
	nonce, err := bigmod.NewNat().SetBytes(octets, n)
	if err != nil || nonce.IsZero() == 1 {
		return nil, nil, nil
	}
	point, err := nistec.NewP384Point().ScalarMult(nistec.NewP384Point().SetGenerator(), octets)
	if err != nil {
		return nil, nil, err
	}
	x, err := point.BytesX()
	if err != nil {
		return nil, nil, err
	}
	if r, err = bigmod.NewNat().SetOverflowingBytes(x, n); err != nil {
		return nil, nil, err
	}
	// s = (e + r d) / k; 1/k is k^(n-2), n being a prime.
	s = bigmod.NewNat().Exp(nonce, orderLess2(), n)
	sum := bigmod.NewNat().ExpandFor(n).Add(r, n)
	sum.Mul(k.scalar, n).Add(e, n)
	s.Mul(sum, n)
	if r.IsZero() == 1 || s.IsZero() == 1 {
		return nil, nil, nil
	}
	return r, s, nil
}

func orderLess2() []byte {
	less := []byte(order)
	less[size-1] -= 2
	return less
}

// fromDigest takes a digest's leftmost bits for a number.
func fromDigest(digest []byte, n *bigmod.Modulus) *bigmod.Nat {
	var octets [size]byte
	if len(digest) > size {
		digest = digest[:size]
	}
	copy(octets[size-len(digest):], digest)
	e, err := bigmod.NewNat().SetOverflowingBytes(octets[:], n)
	if err != nil {
		panic(err) // it has as many bits as n
	}
	return e
}
