package test

import (
	"path/filepath"
	"testing"
)

// TestEngines: a module has the real sign-file's bytes with whatever part of the processor
// an RSA key signs with.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096"} {
		pair := keyPair{"../testdata/keys/" + name + ".key", "../testdata/keys/" + name + ".x509"}
		for _, engine := range []string{"", "avx2", "std"} {
			signed := filepath.Join(t.TempDir(), "signed.ko")
			said := mustRun(t, []string{"SIGN_FILE_RSA=" + engine}, program(t), "sha256", pair.key, pair.cert, "../testdata/hello.ko", signed)
			if said != "" {
				t.Errorf("%s, %q: %s", name, engine, said)
			}
			checkSigned(t, signed, "../testdata/hello.ko", "sha256", pair)
		}
	}
}
