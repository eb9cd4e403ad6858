package rsapublic_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"sign-file/internal/rsapublic"
)

// TestRaise opens signatures of crypto/rsa, at lengths with and without assembly.
func TestRaise(t *testing.T) {
	for _, bits := range []int{1024, 1032, 1536, 2048, 2056, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		key := rsapublic.New(private.N, big.NewInt(int64(private.E)))
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
		key := rsapublic.New(c.n, c.e)
		for _, x := range []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), new(big.Int).Sub(c.n, big.NewInt(1)), new(big.Int).Rsh(c.n, 1)} {
			got, ok := key.Raise(x.Bytes())
			if want := new(big.Int).Exp(x, c.e, c.n); ok != (x.Cmp(c.n) < 0) || ok && want.Cmp(new(big.Int).SetBytes(got)) != 0 {
				t.Errorf("%s: %x raised is %x, %v, want %x", what, x, got, ok, want)
			}
		}
	}
	for _, n := range []*big.Int{new(big.Int), big.NewInt(-5)} {
		if _, ok := rsapublic.New(n, big.NewInt(3)).Raise([]byte{1}); ok {
			t.Errorf("a modulus of %v", n)
		}
	}
	if _, ok := (*rsapublic.Key)(nil).Raise([]byte{1}); ok {
		t.Error("no key")
	}
	if _, ok := new(rsapublic.Key).Raise([]byte{1}); ok {
		t.Error("a zero key")
	}
}
