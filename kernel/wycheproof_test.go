package kernel

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// lax are the flags of vectors that Project Wycheproof calls invalid although their numbers
// are right: the kernel's BER decoder, and so this model, takes lengths in more octets than
// they need, and numbers without the sign octet.
var lax = []string{"BerEncodedSignature", "InvalidEncoding", "MissingZero"}

// TestWycheproof holds RSA PKCS#1 v1.5 and ECDSA against signatures that others made to
// break verifiers: no forged one is accepted, and every valid one is.
func TestWycheproof(t *testing.T) {
	ecdsaKey := func(curve string) func(group) *publicKey {
		return func(g group) *publicKey {
			return &publicKey{kind: kindECDSA, curve: curve, raw: unhex(t, g.PublicKey.Uncompressed)}
		}
	}
	rsaKey := func(g group) *publicKey { return &publicKey{kind: kindRSA, raw: unhex(t, g.PublicKeyAsn)} }
	judged := 0
	for file, key := range map[string]func(group) *publicKey{
		"rsa_signature_2048_sha224_test.json": rsaKey, "rsa_signature_2048_sha256_test.json": rsaKey,
		"rsa_signature_2048_sha384_test.json": rsaKey, "rsa_signature_2048_sha512_test.json": rsaKey,
		"rsa_signature_3072_sha256_test.json": rsaKey, "rsa_signature_3072_sha512_test.json": rsaKey,
		"rsa_signature_4096_sha384_test.json": rsaKey, "rsa_signature_4096_sha512_test.json": rsaKey,
		"ecdsa_secp256r1_sha256_test.json": ecdsaKey(oidP256), "ecdsa_secp256r1_sha512_test.json": ecdsaKey(oidP256),
		"ecdsa_secp384r1_sha384_test.json": ecdsaKey(oidP384), "ecdsa_secp384r1_sha512_test.json": ecdsaKey(oidP384),
		"ecdsa_secp521r1_sha512_test.json": ecdsaKey(oidP521),
	} {
		var v struct{ TestGroups []group }
		testenv.Wycheproof(t, file, &v)
		for _, g := range v.TestGroups {
			for _, c := range g.Tests {
				judged++
				checkVector(t, file, key(g), g.Sha, c)
			}
		}
	}
	if judged < 4000 {
		t.Errorf("%d vectors, want more", judged)
	}
}

type group struct {
	PublicKey    struct{ Uncompressed string }
	PublicKeyAsn string
	Sha          string
	Tests        []vector
}

type vector struct {
	TcID                      int
	Msg, Sig, Result, Comment string
	Flags                     []string
}

func checkVector(t *testing.T, file string, key *publicKey, sha string, v vector) {
	t.Helper()
	k, err := Of("7.0")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(strings.ReplaceAll(sha, "-", ""))
	i := slices.IndexFunc(k.hashes, func(h hash) bool { return h.name == name })
	if i < 0 {
		t.Fatalf("no hash %s", sha)
	}
	s := signature{kind: key.kind, hash: &k.hashes[i], value: unhex(t, v.Sig)}
	s.over(unhex(t, v.Msg))
	err = k.verifySignature(key, &s)
	switch {
	case err != nil && v.Result == "valid":
		t.Errorf("%s, %d, %s: refused: %v", file, v.TcID, v.Comment, err)
	case err == nil && v.Result == "invalid" && (key.kind == kindRSA || !slices.ContainsFunc(v.Flags, func(f string) bool { return slices.Contains(lax, f) })):
		t.Errorf("%s, %d, %s %q: accepted", file, v.TcID, v.Comment, v.Flags)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
