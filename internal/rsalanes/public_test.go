package rsalanes_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	mathrand "math/rand/v2"
	"testing"

	"sign-file/internal/rsalanes"
)

// TestRaise opens signatures of crypto/rsa, at lengths with and without assembly.
func TestRaise(t *testing.T) {
	for _, bits := range []int{1024, 1032, 1536, 2048, 2056, 3072, 4096, 4168} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		key := rsalanes.NewPublicKey(private.N, big.NewInt(int64(private.E)))
		info := []byte("a DigestInfo")
		signature, err := rsa.SignPKCS1v15(nil, private, crypto.Hash(0), info)
		if err != nil {
			t.Fatal(err)
		}
		block, ok := key.Raise(signature)
		if !ok || len(block) != private.Size() || !bytes.HasPrefix(block, []byte{0, 1, 0xff}) || !bytes.HasSuffix(block, info) {
			t.Errorf("%d bits: %x, %v", bits, block, ok)
		}
		if _, ok := key.Raise(private.N.Bytes()); ok {
			t.Errorf("%d bits: the modulus itself is taken", bits)
		}
	}
}

// checkRaise holds the public operation against math/big.
func checkRaise(t *testing.T, n, e, x *big.Int) {
	t.Helper()
	got, ok := rsalanes.NewPublicKey(n, e).Raise(x.Bytes())
	if want := new(big.Int).Exp(x, e, n); ok != (x.Cmp(n) < 0) || ok && want.Cmp(new(big.Int).SetBytes(got)) != 0 {
		t.Errorf("%x raised to %x modulo %x is %x, %v, want %x", x, e, n, got, ok, want)
	}
}

// TestRuns takes moduli of any length, and numbers of long runs of ones and zeros, in which
// carries run through all limbs.
func TestRuns(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(3, 4))
	runs := func(bits int) *big.Int {
		x := new(big.Int)
		for at := 0; at < bits; {
			bit, end := uint(random.IntN(2)), at+1+random.IntN(bits)
			for ; at < min(end, bits); at++ {
				x.SetBit(x, at, bit)
			}
		}
		return x
	}
	for range 3000 {
		bits := 2 + random.IntN(4200)
		n := runs(bits)
		n.SetBit(n, 0, 1).SetBit(n, bits-1, 1)
		for _, e := range []int64{1, 2, 3, 65537, 1<<32 - 1} {
			x := runs(bits)
			checkRaise(t, n, big.NewInt(e), x.Mod(x, n))
		}
		checkRaise(t, n, big.NewInt(3), new(big.Int).Sub(n, big.NewInt(1)))
	}
}

// FuzzRaise takes any numbers.
func FuzzRaise(f *testing.F) {
	f.Add([]byte{0xff, 1}, []byte{3}, []byte{7})
	f.Fuzz(func(t *testing.T, n, e, x []byte) {
		if len(n) > 600 || len(e) > 32 { // the slow way, and much of it
			return
		}
		number := new(big.Int).SetBytes
		if number(n).Sign() > 0 {
			checkRaise(t, number(n), number(e), number(x))
		}
	})
}

// TestOddKeys: keys of certificates are anything.
func TestOddKeys(t *testing.T) {
	top := new(big.Int).Lsh(big.NewInt(1), 2047)
	odd := new(big.Int).SetBit(top, 0, 1)
	for what, c := range map[string]struct{ n, e *big.Int }{
		"even":            {top, big.NewInt(65537)},
		"exponent of 0":   {odd, big.NewInt(0)},
		"exponent of 1":   {odd, big.NewInt(1)},
		"even exponent":   {odd, big.NewInt(2)},
		"long exponent":   {odd, new(big.Int).Sub(top, big.NewInt(1))},
		"exponent 2^32-1": {odd, big.NewInt(1<<32 - 1)},
		"one":             {big.NewInt(1), big.NewInt(3)},
	} {
		t.Run(what, func(t *testing.T) {
			for _, x := range []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), new(big.Int).Sub(c.n, big.NewInt(1)), new(big.Int).Rsh(c.n, 1)} {
				checkRaise(t, c.n, c.e, x)
			}
		})
	}
	for _, n := range []*big.Int{new(big.Int), big.NewInt(-5)} {
		if _, ok := rsalanes.NewPublicKey(n, big.NewInt(3)).Raise([]byte{1}); ok {
			t.Errorf("a modulus of %v", n)
		}
	}
	if _, ok := (*rsalanes.PublicKey)(nil).Raise([]byte{1}); ok {
		t.Error("no key")
	}
	if _, ok := new(rsalanes.PublicKey).Raise([]byte{1}); ok {
		t.Error("a zero key")
	}
}
