package keys_test

import (
	"crypto"
	"crypto/sha256"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/keys"
)

// TestFIPSOnly runs TestUnderFIPSOnly with Go's FIPS 140-only mode, which can't be
// turned on later and in which much of crypto panics.
func TestFIPSOnly(t *testing.T) {
	m := newMaker(t, "rsa:2048")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestUnderFIPSOnly$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", "SIGN_FILE_TEST_KEYS="+m.dir)
	for name, line := range map[string]string{
		"sha1-3des":  "pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v1 PBE-SHA1-3DES",
		"pbkdf2":     "pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA1",
		"pbes2-3des": "pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 des3",
		"scrypt":     "pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -scrypt",
		"pem":        "pkey -traditional -in KEY -out OUT -passout env:PIN -aes256",
	} {
		if err := os.Rename(m.make(passphrase, line), m.path(name+".locked")); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUnderFIPSOnly(t *testing.T) {
	dir := os.Getenv("SIGN_FILE_TEST_KEYS")
	if dir == "" {
		t.Skip("TestFIPSOnly runs it")
	}
	key, err := keys.Open(t.Context(), dir+"/key.pem", nil)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := os.ReadFile(dir + "/cert.pem")
	cert, err := certificate.First(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("text"))
	for _, data := range []struct {
		bytes []byte
		hash  crypto.Hash
	}{{sum[:], crypto.SHA256}, {digest.SHA256.DigestInfo(sum[:]), 0}} {
		signature, err := key.Sign(nil, data.bytes, data.hash)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.CheckSignature(digest.SHA256, sum[:], signature); err != nil {
			t.Error(err)
		}
	}
	for _, a := range []*digest.Algorithm{digest.MD5, digest.SHA1, digest.RIPEMD160, digest.SM3} {
		_, err := key.Sign(nil, a.DigestInfo(make([]byte, a.New().Size())), crypto.Hash(0))
		if err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%v: %v", a, err)
		}
	}
	for _, name := range []string{"sha1-3des", "pbkdf2", "pbes2-3des", "scrypt", "pem"} {
		if _, err := keys.Open(t.Context(), dir+"/"+name+".locked", pinOf(passphrase)); err == nil || !strings.Contains(err.Error(), "FIPS") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kind := range []string{"rsa:2048", "ec:p256", "ml-dsa-65"} {
		key, err := keys.Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.MarshalPEM(key, []byte(passphrase)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
