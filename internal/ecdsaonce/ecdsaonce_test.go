package ecdsaonce_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"

	"sign-file/internal/ecdsaonce"
	"sign-file/test/testenv"
)

func curves() []elliptic.Curve { return []elliptic.Curve{elliptic.P384(), elliptic.P521()} }

// pair is one key, as crypto/ecdsa has it and as this package does.
func pair(t testing.TB, curve elliptic.Curve, scalar []byte) (*ecdsa.PrivateKey, *ecdsaonce.PrivateKey) {
	t.Helper()
	std, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsaonce.NewPrivateKey(scalar, &std.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return std, own
}

func size(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }

// scalars are random ones and those at the bounds.
func scalars(t testing.TB, curve elliptic.Curve) [][]byte {
	t.Helper()
	one, last := make([]byte, size(curve)), new(big.Int).Sub(curve.Params().N, big.NewInt(1)).Bytes()
	one[len(one)-1] = 1
	all := [][]byte{one, last}
	for range 8 {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		scalar, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scalar)
	}
	return all
}

// Without randomness there is one right signature, RFC 6979's, which crypto/ecdsa makes too.
func TestDeterministic(t *testing.T) {
	for _, curve := range curves() {
		for _, scalar := range scalars(t, curve) {
			std, own := pair(t, curve, scalar)
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				h := hash.New()
				h.Write(scalar[:7])
				digest := h.Sum(nil)
				want, err := std.Sign(nil, digest, hash)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := own.Sign(nil, digest, hash); err != nil || string(got) != string(want) {
					t.Errorf("%x, %v: %x, %v; want %x", scalar, hash, got, err, want)
				}
			}
		}
	}
}

// Digests at the bounds: all zeros, all ones (more than the order), short, long.
func digests(curve elliptic.Curve) [][]byte {
	ones, n := bytes.Repeat([]byte{0xff}, 80), size(curve)
	return [][]byte{make([]byte, n), ones[:n], ones[:n+1], ones, ones[:20], curve.Params().N.Bytes(), {1}}
}

func TestHedged(t *testing.T) {
	for _, curve := range curves() {
		for _, scalar := range scalars(t, curve) {
			std, own := pair(t, curve, scalar)
			for _, digest := range digests(curve) {
				first, err := own.Sign(rand.Reader, digest, crypto.SHA384)
				if err != nil || !ecdsa.VerifyASN1(&std.PublicKey, digest, first) {
					t.Errorf("%x of %x: %x, %v", scalar, digest, first, err)
				}
				second, err := own.Sign(rand.Reader, digest, crypto.SHA384)
				if err != nil || string(second) == string(first) {
					t.Errorf("two signatures with one nonce: %x, %v", second, err)
				}
			}
		}
	}
}

func TestVerify(t *testing.T) {
	for _, curve := range curves() {
		for _, scalar := range scalars(t, curve)[:5] {
			std, _ := pair(t, curve, scalar)
			for _, digest := range digests(curve) {
				signature, err := ecdsa.SignASN1(rand.Reader, std, digest)
				if err != nil {
					t.Fatal(err)
				}
				if !ecdsaonce.Verify(&std.PublicKey, digest, signature) {
					t.Errorf("%x: %x of %x is refused", scalar, signature, digest)
				}
				for i := 0; i < len(signature); i += 5 {
					changed := append([]byte(nil), signature...)
					changed[i] ^= 1
					if ecdsaonce.Verify(&std.PublicKey, digest, changed) != ecdsa.VerifyASN1(&std.PublicKey, digest, changed) {
						t.Errorf("%x of %x: not crypto/ecdsa's answer", changed, digest)
					}
				}
			}
		}
	}
}

type brokenSource struct{}

func (brokenSource) Read([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken")

func TestRefused(t *testing.T) {
	for _, curve := range curves() {
		n := size(curve)
		std, own := pair(t, curve, scalars(t, curve)[0])
		for _, scalar := range [][]byte{nil, make([]byte, n), curve.Params().N.Bytes(), make([]byte, n-1), bytes.Repeat([]byte{0xff}, n)} {
			if _, err := ecdsaonce.NewPrivateKey(scalar, &std.PublicKey); err == nil {
				t.Errorf("%x: taken", scalar)
			}
		}
		if _, err := own.Sign(nil, make([]byte, 48), nil); err == nil {
			t.Error("signed without randomness and hash")
		}
		if _, err := own.Sign(brokenSource{}, make([]byte, 48), crypto.SHA384); !errors.Is(err, errBroken) {
			t.Errorf("a broken source of randomness: %v", err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ecdsaonce.NewPrivateKey(make([]byte, 32), &other.PublicKey); err == nil || ecdsaonce.Takes(elliptic.P256()) || ecdsaonce.Verify(&other.PublicKey, nil, nil) {
		t.Error("P-256 is taken")
	}
}

// TestWycheproof: numbers at the bounds of what is valid, and DER that is none.
func TestWycheproof(t *testing.T) {
	for file, c := range map[string]struct {
		curve elliptic.Curve
		hash  crypto.Hash
	}{
		"ecdsa_secp384r1_sha256_test.json": {elliptic.P384(), crypto.SHA256},
		"ecdsa_secp384r1_sha384_test.json": {elliptic.P384(), crypto.SHA384},
		"ecdsa_secp384r1_sha512_test.json": {elliptic.P384(), crypto.SHA512},
		"ecdsa_secp521r1_sha512_test.json": {elliptic.P521(), crypto.SHA512},
	} {
		var v vectors
		testenv.Wycheproof(t, file, &v)
		if judged := v.run(t, c.curve, c.hash); judged < 300 {
			t.Errorf("%s: %d vectors, want more", file, judged)
		}
	}
}

// vectors is the part of a vector file that is used here.
type vectors struct {
	TestGroups []struct {
		PublicKey struct{ Uncompressed string }
		Tests     []struct {
			TcID                      int
			Msg, Sig, Result, Comment string
		}
	}
}

func (v vectors) run(t *testing.T, curve elliptic.Curve, hash crypto.Hash) (judged int) {
	for _, g := range v.TestGroups {
		public, err := ecdsa.ParseUncompressedPublicKey(curve, unhex(t, g.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Tests {
			h := hash.New()
			h.Write(unhex(t, c.Msg))
			judged++
			if got := ecdsaonce.Verify(public, h.Sum(nil), unhex(t, c.Sig)); got != (c.Result == "valid") {
				t.Errorf("%d, %s: %t, want %s", c.TcID, c.Comment, got, c.Result)
			}
		}
	}
	return judged
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzVerify(f *testing.F) {
	var keys []*ecdsa.PrivateKey
	for _, curve := range curves() {
		std, own := pair(f, curve, scalars(f, curve)[2])
		good, err := own.Sign(rand.Reader, make([]byte, 48), crypto.SHA384)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(make([]byte, 48), good)
		keys = append(keys, std)
	}
	f.Fuzz(func(t *testing.T, digest, signature []byte) {
		for _, std := range keys {
			if got, want := ecdsaonce.Verify(&std.PublicKey, digest, signature), ecdsa.VerifyASN1(&std.PublicKey, digest, signature); got != want {
				t.Errorf("%x of %x: %t, crypto/ecdsa says %t", signature, digest, got, want)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	for _, curve := range curves() {
		std, own := pair(b, curve, scalars(b, curve)[2])
		digest := make([]byte, 48)
		b.Run(curve.Params().Name, func(b *testing.B) {
			for b.Loop() {
				signature, err := own.Sign(rand.Reader, digest, crypto.SHA384)
				if err != nil || !ecdsaonce.Verify(&std.PublicKey, digest, signature) {
					b.Fatal(err)
				}
			}
		})
	}
}
