package ecdsaonce

import (
	"crypto/ecdsa"
	"math/big"

	"filippo.io/nistec"

	"sign-file/internal/scheme"
)

// Verify checks a signature in DER over a digest. All of it is public, so math/big may
// do the arithmetic, and no step is a secret's.
func Verify(public *ecdsa.PublicKey, digest, signature []byte) bool {
	r, s, ok := decode(signature)
	encoded, err := public.Bytes()
	if !ok || err != nil {
		return false
	}
	q, err := nistec.NewP384Point().SetBytes(encoded)
	if err != nil {
		return false
	}
	if len(digest) > size {
		digest = digest[:size]
	}
	n := new(big.Int).SetBytes([]byte(order))
	w := new(big.Int).ModInverse(s, n)
	u1 := new(big.Int).SetBytes(digest)
	u1.Mul(u1, w).Mod(u1, n)
	u2 := w.Mul(w, r)
	u2.Mod(u2, n)
	x, err := combine(u1, u2, q).BytesX()
	if err != nil {
		return false // the point at infinity
	}
	got := new(big.Int).SetBytes(x)
	return got.Mod(got, n).Cmp(r) == 0
}

// decode reads r and s, each between 1 and n-1.
func decode(signature []byte) (r, s *big.Int, ok bool) {
	r, s, ok = scheme.DecodeECDSA(signature)
	n := new(big.Int).SetBytes([]byte(order))
	return r, s, ok && r.Sign() > 0 && r.Cmp(n) < 0 && s.Sign() > 0 && s.Cmp(n) < 0
}

// combine returns a G + b Q, two bits of both scalars at a time (Shamir's trick).
func combine(a, b *big.Int, q *nistec.P384Point) *nistec.P384Point {
	var table [4][4]*nistec.P384Point // [i][j] is i G + j Q
	g := nistec.NewP384Point().SetGenerator()
	for i := range table {
		for j := range table[i] {
			p := nistec.NewP384Point()
			switch {
			case j > 0:
				p.Add(table[i][j-1], q)
			case i > 0:
				p.Add(table[i-1][0], g)
			}
			table[i][j] = p
		}
	}
	sum := nistec.NewP384Point()
	for bit := 8*size - 2; bit >= 0; bit -= 2 {
		sum.Double(sum)
		sum.Double(sum)
		if p := table[bits(a, bit)][bits(b, bit)]; p != table[0][0] {
			sum.Add(sum, p)
		}
	}
	return sum
}

func bits(x *big.Int, i int) uint { return x.Bit(i+1)<<1 | x.Bit(i) }
