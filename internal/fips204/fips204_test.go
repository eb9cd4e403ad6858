package fips204_test

import (
	"crypto/sha3"
	"math/rand/v2"
	"testing"

	"filippo.io/mldsa"

	"sign-file/internal/fips204"
)

// The judge of this package is filippo.io/mldsa, which is Go's own crypto/mldsa:
// its Verify takes the message whole, and must agree on every signature.

var sizes = []mldsa.Parameters{mldsa.MLDSA44(), mldsa.MLDSA65(), mldsa.MLDSA87()}

func newKey(t testing.TB, p mldsa.Parameters) *mldsa.PrivateKey {
	t.Helper()
	key, err := mldsa.GenerateKey(p)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, key *mldsa.PrivateKey, message []byte) []byte {
	t.Helper()
	signature, err := key.Sign(nil, message, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func verifyMu(key *mldsa.PublicKey, message, signature []byte) bool {
	h := fips204.NewMu(key)
	for _, b := range message { // in pieces, as a stream comes
		h.Write([]byte{b})
	}
	return fips204.VerifyMu(key, h.Sum(nil), signature)
}

func TestVerifyGoodSignatures(t *testing.T) {
	for _, p := range sizes {
		t.Run(p.String(), func(t *testing.T) {
			for i := range 20 { // hints and rejections differ from key to key
				key := newKey(t, p)
				message := make([]byte, i)
				signature := sign(t, key, message)
				if !verifyMu(key.PublicKey(), message, signature) {
					t.Fatalf("a signature over %d bytes is refused", i)
				}
				if verifyMu(newKey(t, p).PublicKey(), message, signature) {
					t.Fatal("another key's signature is taken")
				}
				if verifyMu(key.PublicKey(), append(message, 0), signature) {
					t.Fatal("a signature over a longer message is taken")
				}
			}
		})
	}
}

// TestVerifyAgreesOnDamage flips one bit here and there in a signature, and every
// bit of the hints, whose encoding alone decides between one signature and two.
func TestVerifyAgreesOnDamage(t *testing.T) {
	for _, p := range sizes {
		t.Run(p.String(), func(t *testing.T) {
			key := newKey(t, p)
			message := []byte("module")
			signature := sign(t, key, message)
			hints := len(signature) - 90
			for i := 0; i < hints; i += 23 {
				agree(t, key.PublicKey(), message, flipped(signature, i, rand.IntN(8)))
			}
			for i := hints; i < len(signature); i++ {
				for bit := range 8 {
					agree(t, key.PublicKey(), message, flipped(signature, i, bit))
				}
			}
			for _, size := range []int{0, 1, len(signature) - 1} {
				agree(t, key.PublicKey(), message, signature[:size])
			}
			agree(t, key.PublicKey(), message, append(signature, 0))
		})
	}
}

func flipped(signature []byte, i, bit int) []byte {
	changed := append([]byte(nil), signature...)
	changed[i] ^= 1 << bit
	return changed
}

// agree fails unless both verifiers say the same.
func agree(t testing.TB, key *mldsa.PublicKey, message, signature []byte) {
	t.Helper()
	want := mldsa.Verify(key, message, signature, nil) == nil
	if got := verifyMu(key, message, signature); got != want {
		t.Fatalf("verified: %v, by filippo.io/mldsa: %v; signature %x", got, want, signature)
	}
}

// TestSumIsMu holds the sum against the definition, and that it may be taken twice.
func TestSumIsMu(t *testing.T) {
	key := newKey(t, mldsa.MLDSA44()).PublicKey()
	h := fips204.NewMu(key)
	h.Write([]byte("abc"))
	tr := sha3.SumSHAKE256(key.Bytes(), 64)
	want := sha3.SumSHAKE256(append(tr, 0, 0, 'a', 'b', 'c'), 64)
	for range 2 {
		if got := h.Sum(nil); string(got) != string(want) {
			t.Fatalf("mu is %x, want %x", got, want)
		}
	}
	h.Reset()
	h.Write([]byte("ab"))
	h.Write([]byte("c"))
	if got := h.Sum(nil); string(got) != string(want) {
		t.Errorf("after Reset, mu is %x, want %x", got, want)
	}
}

func FuzzVerify(f *testing.F) {
	keys := make([]*mldsa.PublicKey, len(sizes))
	for i, p := range sizes {
		key := newKey(f, p)
		keys[i] = key.PublicKey()
		f.Add(uint8(i), []byte("module"), sign(f, key, []byte("module")))
	}
	f.Fuzz(func(t *testing.T, size uint8, message, signature []byte) {
		agree(t, keys[int(size)%len(keys)], message, signature)
	})
}
