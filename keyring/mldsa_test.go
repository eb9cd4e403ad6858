package keyring_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/cms"
	"sign-file/keyring"
)

// TestMLDSA holds what sign-file made with ML-DSA keys against the rules of Linux
// 7.0: attributes in no module, but in a map value.
func TestMLDSA(t *testing.T) {
	golden, err := filepath.Glob("../testdata/golden/mldsa*.p7s")
	if err != nil || len(golden) < 24 {
		t.Fatalf("%d golden messages, want 24 at least (%v)", len(golden), err)
	}
	module := mldsaFile(t, "../testdata/hello.ko")
	for _, path := range golden {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ring := mldsaRing(t, filepath.Base(path)[:len("mldsa44")])
			message := mldsaFile(t, path)
			_, err := ring.Verify(message, keyring.Module, mldsaContent(module))
			if attributes := strings.Contains(path, "-attributes"); !attributes && err != nil {
				t.Errorf("as a module: %v", err)
			} else if attributes && !errors.Is(err, syscall.EKEYREJECTED) {
				t.Errorf("as a module, with attributes: %v, want EKEYREJECTED", err)
			}
			if _, err := ring.Verify(message, keyring.MapValue, mldsaContent(module)); err != nil {
				t.Errorf("as a map value: %v", err)
			}
			changed := bytes.Clone(module)
			changed[100] ^= 1
			if _, err := ring.Verify(message, keyring.MapValue, mldsaContent(changed)); !errors.Is(err, syscall.EKEYREJECTED) {
				t.Errorf("with other content: %v, want EKEYREJECTED", err)
			}
		})
	}
}

// TestMLDSARefused: messages that OpenSSL may take, and the kernel does not.
func TestMLDSARefused(t *testing.T) {
	module := mldsaFile(t, "../testdata/hello.ko")
	for _, test := range []struct {
		name, golden, ring string
		change             func(*cms.Signer)
		want               syscall.Errno
	}{
		{"damaged signature", "mldsa65-sha512", "mldsa65", func(s *cms.Signer) { s.Signature[9] ^= 1 }, syscall.EKEYREJECTED},
		{"cut signature", "mldsa65-sha512", "mldsa65", func(s *cms.Signer) { s.Signature = s.Signature[1:] }, syscall.EKEYREJECTED},
		{"damaged attributes", "mldsa65-sha512-attributes", "mldsa65", func(s *cms.Signer) { s.SignedAttributes[len(s.SignedAttributes)-1] ^= 1 }, syscall.EKEYREJECTED},
		{"another key", "mldsa65-sha512", "mldsa44", func(*cms.Signer) {}, syscall.ENOKEY},
		{"SLH-DSA", "mldsa65-sha512", "mldsa65", func(s *cms.Signer) { s.Algorithm.OID[8] = 20 }, syscall.ENOPKG},
	} {
		t.Run(test.name, func(t *testing.T) {
			signed, err := cms.Parse(mldsaFile(t, "../testdata/golden/"+test.golden+".p7s"))
			if err != nil {
				t.Fatal(err)
			}
			test.change(&signed.Signers[0])
			message, err := signed.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			_, err = mldsaRing(t, test.ring).Verify(message, keyring.MapValue, mldsaContent(module))
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func mldsaFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mldsaRing(t *testing.T, name string) *keyring.Ring {
	t.Helper()
	var ring keyring.Ring
	if err := ring.Load("../testdata/keys/" + name + ".x509"); err != nil {
		t.Fatal(err)
	}
	return &ring
}

func mldsaContent(content []byte) keyring.Content {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}
