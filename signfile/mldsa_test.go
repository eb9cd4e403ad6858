package signfile_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/keys"
	"sign-file/signfile"
	"sign-file/test/testenv"
)

const mldsaTestdata = "../testdata"

// mldsaOptions are those of a key in testdata.
func mldsaOptions(t *testing.T, name string, algorithm *digest.Algorithm) signfile.Options {
	t.Helper()
	key, err := keys.Open(context.Background(), filepath.Join(mldsaTestdata, "keys", name+".key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(mldsaTestdata, "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.First(file)
	if err != nil {
		t.Fatal(err)
	}
	return signfile.Options{Key: key, Certificate: cert, Digest: algorithm}
}

func mldsaModule(t *testing.T) []byte {
	t.Helper()
	module, err := os.ReadFile(filepath.Join(mldsaTestdata, "hello.ko"))
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func mldsaDetach(t *testing.T, o signfile.Options, module []byte) []byte {
	t.Helper()
	signer, err := signfile.NewSigner(o)
	if err != nil {
		t.Fatal(err)
	}
	message, err := signer.Detach(context.Background(), bytes.NewReader(module))
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// TestMLDSAGolden: the same bytes as sign-file's around the signature, which is
// random, in all that it made of ML-DSA keys.
func TestMLDSAGolden(t *testing.T) {
	golden, err := filepath.Glob(filepath.Join(mldsaTestdata, "golden", "mldsa*.p7s"))
	if err != nil || len(golden) < 24 {
		t.Fatalf("%d golden messages, want 24 at least (%v)", len(golden), err)
	}
	for _, path := range golden {
		name, useKeyID := strings.CutSuffix(strings.TrimSuffix(filepath.Base(path), ".p7s"), "-k")
		t.Run(filepath.Base(path), func(t *testing.T) {
			name, attributes := strings.CutSuffix(name, "-attributes")
			key, hash, _ := strings.Cut(name, "-")
			algorithm, err := digest.Lookup(hash)
			if err != nil {
				t.Fatal(err)
			}
			o := mldsaOptions(t, key, algorithm)
			o.UseKeyID, o.SignedAttributes = useKeyID, attributes
			got := mldsaDetach(t, o, mldsaModule(t))
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(withoutSignature(t, got), withoutSignature(t, want)) {
				t.Errorf("not the bytes around the signature that sign-file wrote:\n%x\nwant\n%x", withoutSignature(t, got), withoutSignature(t, want))
			}
		})
	}
}

// withoutSignature puts zeros in a message's signature, which is its end.
func withoutSignature(t *testing.T, message []byte) []byte {
	t.Helper()
	signed, err := cms.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	signature := signed.Signers[0].Signature
	head, ok := bytes.CutSuffix(message, signature)
	if !ok {
		t.Fatal("the signature does not end the message")
	}
	return append(bytes.Clone(head), make([]byte, len(signature))...)
}

// TestMLDSAForOpenSSL has OpenSSL verify both encodings: the message if it knows how
// to, and the bare signature over the module, which 3.5 knows too.
func TestMLDSAForOpenSSL(t *testing.T) {
	openssl := testenv.NewOpenSSL(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
			t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	module := filepath.Join(mldsaTestdata, "hello.ko")
	for _, name := range []string{"mldsa44", "mldsa65", "mldsa87"} {
		cert := filepath.Join(mldsaTestdata, "keys", name+".pem")
		o := mldsaOptions(t, name, digest.SHA512)
		plain := mldsaDetach(t, o, mldsaModule(t))
		signed, err := cms.Parse(plain)
		if err != nil {
			t.Fatal(err)
		}
		run("pkeyutl", "-verify", "-rawin", "-certin", "-inkey", cert, "-in", module,
			"-sigfile", write(name+".sig", signed.Signers[0].Signature))
		o.SignedAttributes = true
		run("cms", "-verify", "-binary", "-inform", "DER", "-in", write(name+".p7s", mldsaDetach(t, o, mldsaModule(t))),
			"-content", module, "-certfile", cert, "-noverify", "-nointern", "-out", os.DevNull)
	}
}

func TestMLDSAOptions(t *testing.T) {
	o := mldsaOptions(t, "mldsa65", digest.SHA256)
	o.SignedAttributes = true
	if _, err := signfile.NewSigner(o); err == nil || !strings.Contains(err.Error(), "only sha512") {
		t.Errorf("attributes with SHA-256: error is %v", err)
	}
	o = mldsaOptions(t, "rsa2048", digest.SHA512)
	o.SignedAttributes = true
	if _, err := signfile.NewSigner(o); err == nil || !strings.Contains(err.Error(), "are for ML-DSA keys") {
		t.Errorf("attributes with RSA: error is %v", err)
	}
	o = mldsaOptions(t, "mldsa65", digest.SHA512)
	o.Certificate = mldsaOptions(t, "mldsa87", digest.SHA512).Certificate
	if _, err := signfile.NewSigner(o); err == nil || !strings.Contains(err.Error(), "ML-DSA-65) does not belong to the certificate (ML-DSA-87)") {
		t.Errorf("another key's certificate: error is %v", err)
	}
}

// mistaken is a key that signs something else, as a faulty token might.
type mistaken struct{ crypto.Signer }

func (m mistaken) Sign(random io.Reader, mu []byte, opts crypto.SignerOpts) ([]byte, error) {
	other := bytes.Clone(mu)
	other[0] ^= 1
	return m.Signer.Sign(random, other, opts)
}

// TestMLDSANothingWrong: a wrong signature leaves nothing behind.
func TestMLDSANothingWrong(t *testing.T) {
	for _, attributes := range []bool{false, true} {
		o := mldsaOptions(t, "mldsa44", digest.SHA512)
		o.Key, o.SignedAttributes = mistaken{o.Key}, attributes
		signer, err := signfile.NewSigner(o)
		if err != nil {
			t.Fatal(err)
		}
		message, err := signer.Detach(context.Background(), bytes.NewReader(mldsaModule(t)))
		if message != nil || !errors.Is(err, certificate.ErrSignature) {
			t.Errorf("attributes %v: a wrong signature gives a message of %d bytes and error %v", attributes, len(message), err)
		}
	}
}
