package fips204

import (
	"bytes"
	"crypto/sha3"

	"filippo.io/mldsa"
)

// parameters is a column of table 1 of FIPS 204.
type parameters struct {
	k, l       int // rows and columns of the matrix
	tau        int // coefficients of the challenge that are not 0
	gamma1     int32
	gamma1Bits int // of a packed coefficient of z
	gamma2     int32
	beta       int32
	omega      int // hints at most
	challenge  int // bytes: lambda / 4
	w1Bits     int // of a packed coefficient of w1
}

func parametersOf(p mldsa.Parameters) parameters {
	switch p {
	case mldsa.MLDSA44():
		return parameters{k: 4, l: 4, tau: 39, gamma1: 1 << 17, gamma1Bits: 18, gamma2: (q - 1) / 88, beta: 78, omega: 80, challenge: 32, w1Bits: 6}
	case mldsa.MLDSA65():
		return parameters{k: 6, l: 5, tau: 49, gamma1: 1 << 19, gamma1Bits: 20, gamma2: (q - 1) / 32, beta: 196, omega: 55, challenge: 48, w1Bits: 4}
	}
	return parameters{k: 8, l: 7, tau: 60, gamma1: 1 << 19, gamma1Bits: 20, gamma2: (q - 1) / 32, beta: 120, omega: 75, challenge: 64, w1Bits: 4}
}

// VerifyMu reports whether the signature is the key's over mu: ML-DSA.Verify_internal
// (FIPS 204, algorithm 8) from line 7 on.
func VerifyMu(key *mldsa.PublicKey, mu, signature []byte) bool {
	p := parametersOf(key.Parameters())
	if len(mu) != MuSize || len(signature) != key.Parameters().SignatureSize() {
		return false
	}
	challenge, rest := signature[:p.challenge], signature[p.challenge:]
	z, rest, ok := p.unpackZ(rest)
	if !ok {
		return false
	}
	hints, ok := p.unpackHints(rest)
	if !ok {
		return false
	}
	w := p.commitments(key.Bytes(), challenge, z)

	h := sha3.NewSHAKE256()
	h.Write(mu)
	for i := range w {
		for j := range w[i] {
			w[i][j] = p.useHint(hints[i][j], w[i][j])
		}
		h.Write(pack(&w[i], p.w1Bits))
	}
	got := make([]byte, p.challenge)
	h.Read(got)
	return bytes.Equal(got, challenge)
}

// commitments computes w' = A z - c t1 2^d, line 9, of a packed public key.
func (p *parameters) commitments(key, challenge []byte, z []poly) []poly {
	rho, packed := key[:32], key[32:]
	c := sampleInBall(challenge, p.tau)
	c.ntt()
	for i := range z {
		z[i].ntt()
	}
	w := make([]poly, p.k)
	for row := range w {
		var t poly
		packed = unpack(&t, packed, 10)
		for j := range t {
			t[j] <<= droppedBits
		}
		t.ntt()
		w[row].subtractProduct(&c, &t)
		for column := range z {
			a := expand(rho, column, row)
			w[row].addProduct(&a, &z[column])
		}
		w[row].inverseNTT()
	}
	return w
}

// unpackZ reads z (algorithm 27) and checks its size, line 13 of algorithm 8.
func (p *parameters) unpackZ(packed []byte) (z []poly, rest []byte, ok bool) {
	z = make([]poly, p.l)
	for i := range z {
		packed = unpack(&z[i], packed, p.gamma1Bits)
		for j, v := range z[i] {
			coefficient := p.gamma1 - int32(v)
			if coefficient >= p.gamma1-p.beta || coefficient <= p.beta-p.gamma1 {
				return nil, nil, false
			}
			z[i][j] = uint32(coefficient+q) % q
		}
	}
	return z, packed, true
}

// unpackHints is algorithm 21, which takes one encoding of each set of hints.
func (p *parameters) unpackHints(packed []byte) ([][n]bool, bool) {
	positions, ends := packed[:p.omega], packed[p.omega:]
	hints := make([][n]bool, p.k)
	at := 0
	for i := range hints {
		end := int(ends[i])
		if end < at || end > p.omega {
			return nil, false
		}
		for first := at; at < end; at++ {
			if at > first && positions[at] <= positions[at-1] {
				return nil, false
			}
			hints[i][positions[at]] = true
		}
	}
	return hints, len(bytes.Trim(positions[at:], "\x00")) == 0
}

// useHint is algorithm 40 with Decompose, algorithm 36, in it.
func (p *parameters) useHint(hint bool, r uint32) uint32 {
	low := int32(r) % (2 * p.gamma2)
	if low > p.gamma2 {
		low -= 2 * p.gamma2
	}
	m := (q - 1) / (2 * p.gamma2)
	high := (int32(r) - low) / (2 * p.gamma2)
	if high == m {
		high = 0
		low--
	}
	switch {
	case hint && low > 0:
		high = (high + 1) % m
	case hint:
		high = (high + m - 1) % m
	}
	return uint32(high)
}
