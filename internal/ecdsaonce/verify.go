package ecdsaonce

import (
	"crypto/ecdsa"
	"math/big"

	"sign-file/internal/scheme"
)

// Verify checks a signature in DER over a digest, by a key of a curve that the package Takes.
// All of it is public, so math/big may do the arithmetic, and no step is a secret's.
func Verify(public *ecdsa.PublicKey, digest, signature []byte) bool {
	g := groupOf(public.Curve)
	if g == nil {
		return false
	}
	n := new(big.Int).SetBytes([]byte(g.order))
	r, s, ok := decode(signature, n)
	q, err := public.Bytes()
	if !ok || err != nil {
		return false
	}
	w := new(big.Int).ModInverse(s, n)
	u1 := new(big.Int).SetBytes(g.leftmost(digest))
	u1.Mul(u1, w).Mod(u1, n)
	u2 := w.Mul(w, r)
	u2.Mod(u2, n)
	x, ok := g.combine(u1, u2, q)
	got := new(big.Int).SetBytes(x)
	return ok && got.Mod(got, n).Cmp(r) == 0
}

// decode reads r and s, each between 1 and n-1.
func decode(signature []byte, n *big.Int) (r, s *big.Int, ok bool) {
	r, s, ok = scheme.DecodeECDSA(signature)
	return r, s, ok && r.Sign() > 0 && r.Cmp(n) < 0 && s.Sign() > 0 && s.Cmp(n) < 0
}
