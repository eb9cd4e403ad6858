//go:build cgo

package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"sign-file/certificate"
	"sign-file/keys"
	"sign-file/test/keystest"
)

func fixedPIN(pin string) keys.PINFunc {
	return func(string) ([]byte, error) { return []byte(pin), nil }
}

// publicKey reads the public key from a certificate file of testdata.
func publicKey(t *testing.T, name string) crypto.PublicKey {
	t.Helper()
	data, err := os.ReadFile("../../testdata/keys/" + name + ".x509")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.First(data)
	if err != nil {
		t.Fatal(err)
	}
	public, err := cert.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// sha256Info is what precedes a SHA-256 digest in a DigestInfo (RFC 8017,
// section 9.2, note 1).
const sha256Info = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// signText signs a text, and has the standard library verify the signature.
func signText(key keys.Key, public crypto.PublicKey, text string) error {
	sum := sha256.Sum256([]byte(text))
	switch public := public.(type) {
	case *rsa.PublicKey:
		signature, err := key.Sign(nil, append([]byte(sha256Info), sum[:]...), crypto.Hash(0))
		if err != nil {
			return err
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature)
	case *ecdsa.PublicKey:
		signature, err := key.Sign(nil, sum[:], crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(public, sum[:], signature) {
			err = errors.New("wrong signature")
		}
		return err
	}
	return fmt.Errorf("a public key of type %T", public)
}

// Sixteen signers share a key: no signature goes to another's digest. Run it with
// -race too.
func TestParallelSigners(t *testing.T) {
	names := []string{"rsa2048", "p256", "p384"}
	keystest.NewToken(t, "../../testdata", names...)
	for _, name := range names {
		public := publicKey(t, name)
		key, err := keys.Open(t.Context(), "pkcs11:token=vault;object="+name, fixedPIN(keystest.PIN))
		if err != nil {
			t.Fatal(err)
		}
		var signers sync.WaitGroup
		for i := range 16 {
			signers.Go(func() {
				for j := range 8 {
					if err := signText(key, public, fmt.Sprint(i, j)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		signers.Wait()
		if err := key.Close(); err != nil {
			t.Error(err)
		}
		if err := signText(key, public, "late"); err == nil {
			t.Errorf("%s: signs after Close", name)
		}
	}
}

// Close waits for those who sign, and those who come later get an error.
func TestCloseWhileSigning(t *testing.T) {
	keystest.NewToken(t, "../../testdata", "rsa2048")
	public := publicKey(t, "rsa2048")
	key, err := keys.Open(t.Context(), "pkcs11:object=rsa2048", fixedPIN(keystest.PIN))
	if err != nil {
		t.Fatal(err)
	}
	var signers sync.WaitGroup
	for i := range 16 {
		signers.Go(func() {
			for j := 0; signText(key, public, fmt.Sprint(i, j)) == nil; j++ {
			}
		})
	}
	key.Close()
	key.Close()
	signers.Wait()
}

// The PIN is asked for once, not for every session or signature.
func TestPINIsAskedOnce(t *testing.T) {
	keystest.NewToken(t, "../../testdata", "rsa2048")
	public := publicKey(t, "rsa2048")
	asked := 0
	key, err := keys.Open(t.Context(), "pkcs11:object=rsa2048", func(string) ([]byte, error) {
		asked++
		return []byte(keystest.PIN), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	for i := range 4 {
		if err := signText(key, public, fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestNoPINIsTold(t *testing.T) {
	keystest.NewToken(t, "../../testdata", "rsa2048")
	for _, pin := range []keys.PINFunc{nil, keys.PINFromEnv("SIGN_FILE_TEST_NO_SUCH_PIN")} {
		if _, err := keys.Open(t.Context(), "pkcs11:object=rsa2048", pin); !errors.Is(err, keys.ErrNoPIN) {
			t.Errorf("%v", err)
		}
	}
}

func TestTokensSign(t *testing.T) {
	names := []string{"rsa2048", "p256", "p521"}
	keystest.NewToken(t, "../../testdata", names...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			key, err := keys.Open(t.Context(), "pkcs11:token=vault;object="+name, fixedPIN(keystest.PIN))
			if err != nil {
				t.Fatal(err)
			}
			defer key.Close()
			judge := keystest.NewJudge(t, "../../testdata/keys/"+name+".key")
			judge.CheckSigner(key, key.Public())
			if strings.HasPrefix(name, "rsa") {
				judge.CheckSM3(key)
			}
		})
	}
}
