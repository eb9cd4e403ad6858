// Package fips204 has what filippo.io/mldsa leaves out of ML-DSA (FIPS 204) and
// files that are not held in memory need: mu of a stream, and the verification of
// a signature over mu. It works only on public data; what is secret is left to
// that library.
package fips204

import (
	"crypto/sha3"
	"encoding/asn1"
	"hash"

	"filippo.io/mldsa"
)

// MuSize is the length of mu in bytes.
const MuSize = 64

// parameterSets are the three of FIPS 204, in the order of their identifiers.
func parameterSets() []mldsa.Parameters {
	return []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()}
}

// firstOID is the last arc of id-ml-dsa-44 (RFC 9881, section 2).
const firstOID = 17

// OID returns the identifier of keys and signatures with these parameters.
func OID(p mldsa.Parameters) asn1.ObjectIdentifier {
	for i, set := range parameterSets() {
		if set == p {
			return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, firstOID + i}
		}
	}
	return nil
}

// ByOID is the way back. It returns false for the identifier of anything else.
func ByOID(oid asn1.ObjectIdentifier) (mldsa.Parameters, bool) {
	for _, set := range parameterSets() {
		if OID(set).Equal(oid) {
			return set, true
		}
	}
	return mldsa.Parameters{}, false
}

// mu is SHAKE256 with what FIPS 204 puts before the message already in it.
type mu struct {
	prefix []byte
	shake  *sha3.SHAKE
}

// NewMu returns the hash whose sum is mu, which represents the whole message in a
// signature with the empty context (FIPS 204, algorithm 2, line 10, and algorithm
// 7, line 6).
func NewMu(key *mldsa.PublicKey) hash.Hash {
	tr := sha3.SumSHAKE256(key.Bytes(), 64)
	m := &mu{prefix: append(tr, 0, 0), shake: sha3.NewSHAKE256()} // pure, no context
	m.Reset()
	return m
}

func (m *mu) Write(p []byte) (int, error) { return m.shake.Write(p) }

func (m *mu) Sum(b []byte) []byte {
	shake := *m.shake // reading it would end the writing
	var sum [MuSize]byte
	shake.Read(sum[:])
	return append(b, sum[:]...)
}

func (m *mu) Reset() {
	m.shake.Reset()
	m.shake.Write(m.prefix)
}

func (m *mu) Size() int { return MuSize }

func (m *mu) BlockSize() int { return m.shake.BlockSize() }
