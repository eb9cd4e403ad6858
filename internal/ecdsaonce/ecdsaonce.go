// Package ecdsaonce makes and checks a few ECDSA signatures on P-384 and P-521 (FIPS 186-5,
// sections 6.4.1 and 6.4.2) in a process that lives for no more.
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

	"sign-file/internal/scheme"
)

// PrivateKey is a scalar and the point that it is said to belong to. It is a
// crypto.Signer, and may be used by several goroutines at once.
type PrivateKey struct {
	group  *group
	scalar *bigmod.Nat
	octets []byte
	public *ecdsa.PublicKey
}

// NewPrivateKey takes the scalar, big endian and as long as the group's order, and the public
// key. That they belong together is not checked: it would cost as much as a signature, which
// proves it to whoever checks that.
func NewPrivateKey(scalar []byte, public *ecdsa.PublicKey) (*PrivateKey, error) {
	g := groupOf(public.Curve)
	if g == nil {
		return nil, errors.New("ecdsaonce: neither P-384 nor P-521")
	}
	if len(scalar) != g.size {
		return nil, errors.New("ecdsaonce: a private key is as long as the order of the group")
	}
	k := &PrivateKey{group: g, octets: append([]byte(nil), scalar...), public: public}
	var err error
	if k.scalar, err = bigmod.NewNat().SetBytes(scalar, g.modulus()); err != nil || k.scalar.IsZero() == 1 {
		return nil, errors.New("ecdsaonce: a private key is between 1 and the order of the group")
	}
	return k, nil
}

// Takes reports whether the package knows a curve.
func Takes(curve elliptic.Curve) bool { return groupOf(curve) != nil }

// ECDSA returns the key as crypto/ecdsa has it, with the public key that the scalar makes.
func (k *PrivateKey) ECDSA() (*ecdsa.PrivateKey, error) {
	return ecdsa.ParseRawPrivateKey(k.public.Curve, k.octets)
}

// Public returns the *ecdsa.PublicKey.
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// Sign signs a digest and returns the signature in DER. The nonce is hedged: made of
// the key, the digest and what random gives, so that a bad source of randomness harms
// nothing. Without random it is that of RFC 6979, with the hash that opts names.
func (k *PrivateKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	n := k.group.modulus()
	e := k.group.fromDigest(digest, n)
	nonces, err := k.newNonces(random, e.Bytes(n), opts)
	if err != nil {
		return nil, err
	}
	for {
		r, s, err := k.signWith(nonces.next(k.group), e, n)
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
	x, err := k.group.multiply(octets)
	if err != nil {
		return nil, nil, err
	}
	if r, err = bigmod.NewNat().SetOverflowingBytes(x, n); err != nil {
		return nil, nil, err
	}
	// s = (e + r d) / k; 1/k is k^(n-2), n being a prime.
	s = bigmod.NewNat().Exp(nonce, k.group.orderLess2(), n)
	sum := bigmod.NewNat().ExpandFor(n).Add(r, n)
	sum.Mul(k.scalar, n).Add(e, n)
	s.Mul(sum, n)
	if r.IsZero() == 1 || s.IsZero() == 1 {
		return nil, nil, nil
	}
	return r, s, nil
}
