package keys_test

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"sign-file/certificate"
	"sign-file/keys"
	"sign-file/test/testenv"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// belongs fails unless the key is that of a certificate that OpenSSL made.
func belongs(t *testing.T, key crypto.Signer, name string) {
	t.Helper()
	cert, err := certificate.First(testdata(t, name))
	if err != nil {
		t.Fatal(err)
	}
	public, err := cert.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if !key.Public().(*mldsa.PublicKey).Equal(public) {
		t.Errorf("the key is not that of %s", name)
	}
}

func secret(string) ([]byte, error) { return []byte("secret"), nil }

// mldsaForms are the files that OpenSSL wrote of each key, and a part of the reason
// for which some are refused.
var mldsaForms = []struct{ key, cert, reason string }{
	{"keys/mldsa44.key", "keys/mldsa44.pem", ""},
	{"keys/mldsa65.key", "keys/mldsa65.pem", ""},
	{"keys/mldsa87.key", "keys/mldsa87.pem", ""},
	{"keys/odd/mldsa65-seed-only.key", "keys/mldsa65.pem", ""},
	{"keys/odd/mldsa65-bare-seed.key", "keys/mldsa65.pem", ""},
	{"keys/odd/mldsa65-encrypted.key", "keys/mldsa65.pem", ""},
	{"keys/odd/mldsa65-priv-only.key", "", "without its seed"},
	{"keys/odd/mldsa65-bare-priv.key", "", "without its seed"},
	{"keys/odd/mldsa65-oqskeypair.key", "", "without its seed"},
}

func TestMLDSAForms(t *testing.T) {
	for _, form := range mldsaForms {
		file := testdata(t, form.key)
		block, _ := pem.Decode(file)
		for encoding, data := range map[string][]byte{"PEM": file, "DER": block.Bytes} {
			t.Run(filepath.Base(form.key)+"/"+encoding, func(t *testing.T) {
				key, err := keys.Parse(data, secret)
				switch {
				case form.reason == "" && err != nil:
					t.Fatal(err)
				case form.reason == "":
					belongs(t, key, form.cert)
				case err == nil || !strings.Contains(err.Error(), form.reason):
					t.Errorf("error is %v, want one with %q", err, form.reason)
				}
			})
		}
	}
}

func TestMLDSAInPKCS12(t *testing.T) {
	openssl := testenv.NewOpenSSL(t)
	m := &maker{TB: t, openssl: openssl, dir: t.TempDir()}
	m.run("secret", "pkcs12", "-export", "-inkey", "../testdata/keys/mldsa87.key", "-in", "../testdata/keys/mldsa87.pem",
		"-out", m.path("key.p12"), "-passout", "env:PIN")
	key, err := keys.Parse(m.read("key.p12"), secret)
	if err != nil {
		t.Fatal(err)
	}
	belongs(t, key, "keys/mldsa87.pem")
}

// oidMLDSA65 is id-ml-dsa-65 of RFC 9881.
var oidMLDSA65 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}

// mldsaKey builds a PrivateKeyInfo with encoding/asn1, and so apart from the code
// under test.
func mldsaKey(oid asn1.ObjectIdentifier, private []byte) []byte {
	return mustMarshal(struct {
		Version   int
		Algorithm algorithm
		Private   []byte
	}{0, algorithm{OID: oid}, private}).FullBytes
}

type seedAndExpanded struct{ Seed, Expanded []byte }

// mldsa65 takes both parts out of the key file that OpenSSL wrote.
func mldsa65(t *testing.T) (both seedAndExpanded) {
	t.Helper()
	block, _ := pem.Decode(testdata(t, "keys/mldsa65.key"))
	var info struct {
		Version   int
		Algorithm algorithm
		Private   []byte
	}
	if _, err := asn1.Unmarshal(block.Bytes, &info); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(info.Private, &both); err != nil {
		t.Fatal(err)
	}
	return both
}

func TestHostileMLDSA(t *testing.T) {
	both := mldsa65(t)
	tagged := func(seed []byte) []byte {
		return mustMarshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: seed}).FullBytes
	}
	pair := func(seed, expanded []byte) []byte { return mustMarshal(seedAndExpanded{seed, expanded}).FullBytes }
	otherTR := bytes.Clone(both.Expanded)
	otherTR[64] ^= 1
	otherSet := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}

	for _, test := range []struct {
		name   string
		der    []byte
		reason string
	}{
		{"nothing", mldsaKey(oidMLDSA65, nil), "malformed ML-DSA-65"},
		{"seed too short", mldsaKey(oidMLDSA65, tagged(both.Seed[:31])), "malformed ML-DSA-65"},
		{"seed too long", mldsaKey(oidMLDSA65, tagged(append(bytes.Clone(both.Seed), 0))), "malformed ML-DSA-65"},
		{"seed and more", mldsaKey(oidMLDSA65, append(tagged(both.Seed), 0)), "malformed ML-DSA-65"},
		{"seed cut off", mldsaKey(oidMLDSA65, tagged(both.Seed)[:20]), "malformed ML-DSA-65"},
		{"both, and more", mldsaKey(oidMLDSA65, append(pair(both.Seed, both.Expanded), 0)), "malformed ML-DSA-65"},
		{"both, seed too short", mldsaKey(oidMLDSA65, pair(both.Seed[:31], both.Expanded)), "malformed ML-DSA-65"},
		{"both, expanded too short", mldsaKey(oidMLDSA65, pair(both.Seed, both.Expanded[:100])), "malformed ML-DSA-65"},
		{"both, of other keys", mldsaKey(oidMLDSA65, pair(make([]byte, 32), both.Expanded)), "different keys"},
		{"both, expanded damaged", mldsaKey(oidMLDSA65, pair(both.Seed, otherTR)), "different keys"},
		{"both, of another size", mldsaKey(otherSet, pair(both.Seed, both.Expanded)), "malformed ML-DSA-87"},
		{"expanded alone", mldsaKey(oidMLDSA65, mustMarshal(both.Expanded).FullBytes), "without its seed"},
		{"expanded, bare", mldsaKey(oidMLDSA65, both.Expanded), "without its seed"},
		{"with parameters", mustMarshal(struct {
			Version   int
			Algorithm algorithm
			Private   []byte
		}{0, algorithm{OID: oidMLDSA65, Parameters: asn1.NullRawValue}, tagged(both.Seed)}).FullBytes, "malformed ML-DSA-65"},
		{"SLH-DSA", mldsaKey(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 20}, both.Seed), "unknown algorithm"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := keys.Parse(test.der, nil)
			if err == nil {
				t.Fatalf("a key comes of it: %T", key)
			}
			if !strings.Contains(err.Error(), test.reason) {
				t.Errorf("error is %q, want one with %q", err, test.reason)
			}
		})
	}
	if _, err := keys.Parse(mldsaKey(oidMLDSA65, pair(both.Seed, both.Expanded)), nil); err != nil {
		t.Errorf("the table's own key is refused, and so proves nothing: %v", err)
	}
}

// FuzzMLDSA: what is taken has its seed in the input, and filippo.io/mldsa takes no
// key that this package refuses or reads differently.
func FuzzMLDSA(f *testing.F) {
	for _, form := range mldsaForms {
		block, _ := pem.Decode(testdata(f, form.key))
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := keys.Parse(der, nil)
		got, ok := key.(*mldsa.PrivateKey)
		if ok && !bytes.Contains(der, got.Bytes()) {
			t.Error("the key's seed is not in the input")
		}
		parsed, refusal := mldsax509.ParsePKCS8PrivateKey(der)
		if want, isMLDSA := parsed.(*mldsa.PrivateKey); refusal == nil && isMLDSA && (!ok || !got.Equal(want)) {
			t.Errorf("filippo.io/mldsa reads a key where this package says: %v", err)
		}
	})
}
