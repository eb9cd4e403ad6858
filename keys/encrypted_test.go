package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/keys"
	"sign-file/keys/token"
	"sign-file/signfile"
	"sign-file/test/testenv"
)

const passphrase = "tr0ub4dor & 3"

// maker makes key files with the openssl command.
type maker struct {
	testing.TB
	openssl, dir string
	cert         string // of key.pem
	want         crypto.Signer
}

func newMaker(t testing.TB, newkey ...string) *maker {
	t.Helper()
	m := &maker{TB: t, openssl: testenv.Tool(t, "openssl"), dir: t.TempDir()}
	m.cert = m.path("cert.pem")
	args := append([]string{"req", "-new", "-x509", "-nodes", "-subj", "/CN=test", "-keyout", m.path("key.pem"), "-out", m.cert, "-newkey"}, newkey...)
	m.run(passphrase, args...)
	key, err := keys.Parse(m.read("key.pem"), noPIN(t))
	if err != nil {
		t.Fatal(err)
	}
	m.want = key
	return m
}

func (m *maker) path(name string) string { return filepath.Join(m.dir, name) }

func (m *maker) read(name string) []byte {
	m.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		m.Fatal(err)
	}
	return b
}

// try runs openssl with the passphrase in the environment variable PIN.
func (m *maker) try(pin string, args ...string) (string, error) {
	cmd := exec.Command(m.openssl, args...)
	cmd.Env = append(os.Environ(), "PIN="+pin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *maker) run(pin string, args ...string) {
	m.Helper()
	if out, err := m.try(pin, args...); err != nil {
		m.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// make runs one line of encryptions below and returns the path of the key file.
func (m *maker) make(pin, line string) string {
	m.Helper()
	out := m.path("out")
	line = strings.NewReplacer("KEY", m.path("key.pem"), "CERT", m.cert, "OUT", out).Replace(line)
	m.run(pin, strings.Fields(line)...)
	return out
}

// encryptions are the ways in which sign-file's users encrypt keys.
var encryptions = []string{
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN", // PBES2, PBKDF2 with SHA-256, AES-256
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -outform DER",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes-128-cbc",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes-192-cbc",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 des3",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA1",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA224",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA256 -iter 600000",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA384",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA512",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA512-224",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v2 aes256 -v2prf hmacWithSHA512-256",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -scrypt",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -scrypt -v2 aes-128-cbc -scrypt_N 1024 -scrypt_r 4 -scrypt_p 16",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v1 PBE-SHA1-3DES",
	"pkcs8 -topk8 -in KEY -out OUT -passout env:PIN -v1 PBE-SHA1-2DES -iter 1",
	"pkey -traditional -in KEY -out OUT -passout env:PIN -aes128",
	"pkey -traditional -in KEY -out OUT -passout env:PIN -aes192",
	"pkey -traditional -in KEY -out OUT -passout env:PIN -aes256",
	"pkey -traditional -in KEY -out OUT -passout env:PIN -des3",
	"pkcs12 -export -inkey KEY -in CERT -out OUT -passout env:PIN",
	"pkcs12 -export -inkey KEY -in CERT -out OUT -passout env:PIN -name build -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1",
	"pkcs12 -export -inkey KEY -in CERT -out OUT -passout env:PIN -keypbe aes-128-cbc -certpbe NONE -macalg sha512",
	"pkcs12 -export -inkey KEY -in CERT -out OUT -passout env:PIN -nomac",
}

func pinOf(pin string) keys.PINFunc {
	return func(string) ([]byte, error) { return []byte(pin), nil }
}

// noPIN fails the test when it is asked: the key isn't encrypted.
func noPIN(t testing.TB) keys.PINFunc {
	return func(prompt string) ([]byte, error) {
		t.Errorf("asked for the %s of a key that is not encrypted", prompt)
		return nil, keys.ErrNoPIN
	}
}

func sameKey(a, b crypto.Signer) bool {
	return a.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(b.Public())
}

func TestEncryptedKeys(t *testing.T) {
	for name, newkey := range map[string][]string{
		"RSA":   {"rsa:2048"},
		"P-384": {"ec", "-pkeyopt", "ec_paramgen_curve:P-384"},
	} {
		m := newMaker(t, newkey...)
		for _, line := range encryptions {
			t.Run(name+" "+line, func(t *testing.T) {
				file, err := os.ReadFile(m.make(passphrase, line))
				if err != nil {
					t.Fatal(err)
				}
				key, err := keys.Parse(bytes.Clone(file), pinOf(passphrase))
				if err != nil || !sameKey(key, m.want) {
					t.Fatalf("not the key: %v", err)
				}
				if _, err := keys.Parse(bytes.Clone(file), pinOf("wrong")); err == nil || !strings.Contains(err.Error(), "wrong passphrase") {
					t.Errorf("wrong passphrase: %v", err)
				}
				if _, err := keys.Parse(bytes.Clone(file), nil); !errors.Is(err, keys.ErrNoPIN) {
					t.Errorf("no PIN at all: %v", err)
				}
			})
		}
	}
}

// Passphrases that PKCS#12's UTF-16 and a C string make difficult.
func TestPassphrases(t *testing.T) {
	m := newMaker(t, "rsa:2048")
	for _, pin := range []string{"", "1", "pässwörd", "\U0001F511 key", "\xff\xfe latin\xe9", strings.Repeat("x", token.MaxPINSize)} {
		for _, line := range encryptions {
			t.Run(fmt.Sprintf("%.12q %s", pin, line), func(t *testing.T) {
				if pin == "" && strings.HasPrefix(line, "pkey") {
					t.Skip("openssl refuses to write such a file")
				}
				file, err := os.ReadFile(m.make(pin, line))
				if err != nil {
					t.Fatal(err)
				}
				if key, err := keys.Parse(file, pinOf(pin)); err != nil || !sameKey(key, m.want) {
					t.Errorf("not the key: %v", err)
				}
			})
		}
	}
}

// The real sign-file, given the same key file and KBUILD_SIGN_PIN, is the judge.
func TestEncryptedKeysAgainstSignFile(t *testing.T) {
	signFile := testenv.SignFile(t)
	m := newMaker(t, "rsa:2048")
	certFile, _ := os.ReadFile(m.cert)
	cert, err := certificate.First(certFile)
	if err != nil {
		t.Fatal(err)
	}
	module := bytes.Repeat([]byte("a module\n"), 1000)
	for _, line := range encryptions {
		if strings.Contains(line, "DER") || strings.HasPrefix(line, "pkcs12") {
			continue // sign-file reads only PEM
		}
		t.Run(line, func(t *testing.T) {
			path := m.make(passphrase, line)
			in, out := m.path("m.ko"), m.path("signed.ko")
			os.WriteFile(in, module, 0o600)
			cmd := exec.Command(signFile, "sha256", path, m.cert, in, out)
			cmd.Env = append(os.Environ(), "KBUILD_SIGN_PIN="+passphrase)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sign-file: %v\n%s", err, text)
			}
			t.Setenv("KBUILD_SIGN_PIN", passphrase)
			key, err := keys.Open(t.Context(), path, keys.PINFromEnv("KBUILD_SIGN_PIN"))
			if err != nil {
				t.Fatal(err)
			}
			signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert, Digest: digest.SHA256})
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := signer.Sign(context.Background(), &got, bytes.NewReader(module)); err != nil {
				t.Fatal(err)
			}
			if want := m.read("signed.ko"); !bytes.Equal(got.Bytes(), want) {
				t.Error("not sign-file's bytes")
			}
		})
	}
}

// An encrypted key behind text, a byte order mark and a certificate; a plain key
// with KBUILD_SIGN_PIN set.
func TestEncryptedKeyInBundle(t *testing.T) {
	m := newMaker(t, "rsa:2048")
	path := m.make(passphrase, encryptions[0])
	file, _ := os.ReadFile(path)
	bundle := append([]byte("\xef\xbb\xbfBag Attributes\r\n"), m.read("cert.pem")...)
	bundle = append(bundle, file...)
	bundle = append(bundle, m.read("key.pem")...)
	if key, err := keys.Parse(bundle, pinOf(passphrase)); err != nil || !sameKey(key, m.want) {
		t.Errorf("bundle: %v", err)
	}
	if _, err := keys.Parse(m.read("key.pem"), noPIN(t)); err != nil {
		t.Errorf("plain key: %v", err)
	}
}

func TestPINMessages(t *testing.T) {
	m := newMaker(t, "rsa:2048")
	path := m.make(passphrase, encryptions[0])
	camellia := filepath.Join(m.dir, "camellia.pem")
	m.run(passphrase, "pkcs8", "-topk8", "-in", m.path("key.pem"), "-out", camellia, "-passout", "env:PIN", "-v2", "camellia-256-cbc")
	const name = "KBUILD_SIGN_PIN"
	open := func(path string) string {
		_, err := keys.Open(t.Context(), path, keys.PINFromEnv(name))
		if err == nil {
			return ""
		}
		if strings.Contains(err.Error(), passphrase) {
			t.Errorf("the passphrase is in the message: %v", err)
		}
		return err.Error()
	}
	os.Unsetenv(name)
	if got := open(path); !strings.Contains(got, "set KBUILD_SIGN_PIN") {
		t.Errorf("no PIN: %s", got)
	}
	if got := open(camellia); !strings.Contains(got, "CAMELLIA-256-CBC") || !strings.Contains(got, "not supported") {
		t.Errorf("unsupported cipher: %s", got)
	}
	for pin, want := range map[string]string{
		"wrong": "wrong passphrase", "": "wrong passphrase", passphrase: "",
		strings.Repeat("x", 1024): "longer than 1023 bytes", strings.Repeat("x", 1023): "wrong passphrase",
	} {
		t.Setenv(name, pin)
		if got := open(path); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%.10q: %q, want %q", pin, got, want)
		}
	}
	var prompt string
	keys.Open(t.Context(), path, func(p string) ([]byte, error) { prompt = p; return nil, keys.ErrNoPIN })
	if !strings.Contains(prompt, path) {
		t.Errorf("the prompt %q does not name the key", prompt)
	}
	long := func(string) ([]byte, error) { return bytes.Repeat([]byte("x"), 1024), nil }
	if _, err := keys.Open(t.Context(), path, long); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("1024 bytes from a prompt: %v", err)
	}
}

// The slice that the PINFunc gives away is zero after use, whatever came of it.
func TestPINIsWiped(t *testing.T) {
	m := newMaker(t, "rsa:2048")
	file, _ := os.ReadFile(m.make(passphrase, encryptions[0]))
	for _, text := range []string{passphrase, "wrong"} {
		pin := []byte(text)
		keys.Parse(bytes.Clone(file), func(string) ([]byte, error) { return pin, nil })
		if !bytes.Equal(pin, make([]byte, len(pin))) {
			t.Errorf("%q was left in memory", text)
		}
	}
}

func TestMarshalPEM(t *testing.T) {
	m := newMaker(t, "ec", "-pkeyopt", "ec_paramgen_curve:P-384")
	for _, pin := range []string{passphrase, ""} {
		file, err := keys.MarshalPEM(m.want, []byte(pin))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := keys.Parse(bytes.Clone(file), pinOf(pin)); err != nil || !sameKey(key, m.want) {
			t.Errorf("%q: %v", pin, err)
		}
		os.WriteFile(m.path("ours.pem"), file, 0o600)
		m.run(pin, "pkey", "-in", m.path("ours.pem"), "-passin", "env:PIN", "-noout", "-check")
	}
	if _, err := keys.MarshalPEM(m.want, make([]byte, 1024)); err == nil {
		t.Error("took a passphrase that sign-file does not take")
	}
}

// What a file may ask for is bounded: every one of these is refused before the
// passphrase is asked for, and at once.
func TestHostileEncryption(t *testing.T) {
	for name, line := range map[string]string{
		"iterations":         "pbkdf2 salt 10000001 sha256 aes256 16",
		"iterations huge":    "pbkdf2 salt 99999999999999999999 sha256 aes256 16",
		"iterations 0":       "pbkdf2 salt 0 sha256 aes256 16",
		"iterations below 0": "pbkdf2 salt -5 sha256 aes256 16",
		"iv short":           "pbkdf2 salt 2048 sha256 aes256 8",
		"iv empty":           "pbkdf2 salt 2048 sha256 aes256 0",
		"unknown prf":        "pbkdf2 salt 2048 md5 aes256 16",
		"unknown cipher":     "pbkdf2 salt 2048 sha256 rc4 16",
		"scrypt N":           "scrypt salt 4194304 8 1",
		"scrypt N odd":       "scrypt salt 16383 8 1",
		"scrypt N 1":         "scrypt salt 1 8 1",
		"scrypt N 0":         "scrypt salt 0 8 1",
		"scrypt r":           "scrypt salt 16384 1048576 1",
		"scrypt r huge":      "scrypt salt 2 9223372036854775807 1",
		"scrypt p":           "scrypt salt 16384 8 1048576",
		"scrypt p huge":      "scrypt salt 2 1 9223372036854775807",
		"scrypt overflow":    "scrypt salt 1099511627776 16777216 16777216",
		"scrypt negative":    "scrypt salt -16384 -8 -1",
		"pbes1 iterations":   "pbes1 3 saltsalt 4294967295",
		"pbes1 rc4":          "pbes1 1 saltsalt 2048",
		"pbes1 other":        "pbes1 6 saltsalt 2048",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := keys.Parse(hostile(line), noPIN(t))
			if err == nil {
				t.Error("taken")
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("took %v", d)
			}
			t.Log(err)
		})
	}
}

// TestCostBound measures what is within the bounds: the most memory, and a tenth of
// the most iterations.
func TestCostBound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, line := range []string{"scrypt salt 262144 8 1", "pbkdf2 salt 1000000 sha512 aes256 16", "pbes1 3 saltsalt 1000000"} {
		start := time.Now()
		keys.Parse(hostile(line), pinOf("x"))
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s took %v", line, d)
		}
		t.Log(line, time.Since(start))
	}
}

// FuzzEncrypted: nothing panics or takes long, and a key that comes out is one.
func FuzzEncrypted(f *testing.F) {
	for _, line := range []string{"pbkdf2 salt 2048 sha256 aes256 16", "scrypt salt 1024 8 1", "pbes1 3 saltsalt 2048"} {
		f.Add(hostile(line))
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: hostile(line)}))
	}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		m := &maker{TB: f, openssl: openssl, dir: f.TempDir()}
		m.cert = m.path("cert.pem")
		m.run("", "req", "-new", "-x509", "-nodes", "-subj", "/CN=test", "-keyout", m.path("key.pem"), "-out", m.cert, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
		for _, line := range encryptions {
			m.make("x", line)
			f.Add(m.read("out"))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if expensive(file) {
			return // allowed, and too slow for a fuzzer
		}
		key, err := keys.Parse(file, pinOf("x"))
		if (key == nil) == (err == nil) {
			t.Fatalf("key %v, error %v", key, err)
		}
		if err == nil && key.Public() == nil {
			t.Fatal("a key without a public key")
		}
	})
}
