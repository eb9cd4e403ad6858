package signfile_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/signfile"
)

// hello is a module, and what it is signed with.
func hello(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// certificateOf makes a certificate of a key.
func certificateOf(t testing.TB, key crypto.Signer) *certificate.Certificate {
	t.Helper()
	name, err := certificate.ParseName("/CN=test")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c, err := certificate.SelfSigned(key, name, certificate.Purpose{}, digest.SHA256, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"EC": ec, "RSA": key}
}

// scribbler writes to the digest that it is given, before it signs or after.
type scribbler struct {
	crypto.Signer
	after bool
}

func (s scribbler) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if !s.after {
		slices.Reverse(digest)
	}
	signature, err := s.Signer.Sign(random, digest, opts)
	clear(digest)
	return signature, err
}

// TestScribblingKey: what is checked is the content's digest, whatever the key makes of the
// bytes that it was given.
func TestScribblingKey(t *testing.T) {
	for name, key := range newKeys(t) {
		c := certificateOf(t, key)
		options := signfile.Options{Key: scribbler{key, false}, Certificate: c}
		if err := signfile.Sign(t.Context(), io.Discard, bytes.NewReader(hello(t)), options); !errors.Is(err, certificate.ErrSignature) {
			t.Errorf("%s: %v, want an error about the signature", name, err)
		}
		options.Key = scribbler{key, true}
		if err := signfile.Sign(t.Context(), io.Discard, bytes.NewReader(hello(t)), options); err != nil {
			t.Errorf("%s, cleared after signing: %v", name, err)
		}
	}
}

// TestCancelled: no verb signs for a context that has ended, and the file stays.
func TestCancelled(t *testing.T) {
	key := newKeys(t)["EC"]
	options := signfile.Options{Key: key, Certificate: certificateOf(t, key)}
	signer, err := signfile.NewSigner(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "m.ko")
	for name, verb := range map[string]func() error{
		"SignFile":        func() error { return signfile.SignFile(ctx, path, options) },
		"Signer.SignFile": func() error { return signer.SignFile(ctx, path, signfile.Output{}) },
		"Message": func() error {
			_, err := signer.Message(ctx, make([]byte, 64))
			return err
		},
		"AttachModule": func() error {
			m, err := signfile.OpenRaw(path)
			if err != nil {
				return err
			}
			defer m.Close()
			return signfile.AttachModule(ctx, m, path, strings.NewReader("message"))
		},
	} {
		if err := os.WriteFile(path, hello(t), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := verb(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want %v", name, err, context.Canceled)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, hello(t)) {
			t.Errorf("%s has changed the module", name)
		}
	}
}

// endless is a message that does not end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestEndlessMessage: what is appended is bounded, and the module stays.
func TestEndlessMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.ko")
	if err := os.WriteFile(path, hello(t), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := signfile.OpenRaw(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := signfile.AttachModule(t.Context(), m, path, endless{}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v", err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, hello(t)) {
		t.Error("the module was changed")
	}
}

// limited takes so many bytes, and then fewer than it is given, without an error.
type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	return n, nil
}

// TestShortWriter: a part of a module is no success.
func TestShortWriter(t *testing.T) {
	key := newKeys(t)["EC"]
	options := signfile.Options{Key: key, Certificate: certificateOf(t, key)}
	for _, limit := range []int{0, 10, len(hello(t)), len(hello(t)) + 10} {
		err := signfile.Sign(t.Context(), &limited{limit}, bytes.NewReader(hello(t)), options)
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%d bytes: %v, want %v", limit, err, io.ErrShortWrite)
		}
	}
}

// TestSumLength: a sum of another hash makes a signature that nothing verifies.
func TestSumLength(t *testing.T) {
	for name, key := range newKeys(t) {
		signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: certificateOf(t, key)})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 32, 63, 65} {
			if message, err := signer.Message(t.Context(), make([]byte, size)); err == nil {
				t.Errorf("%s: a message of %d bytes for a sum of %d", name, len(message), size)
			}
		}
	}
}

// denying is a service that does not sign, and counts how often it was asked.
type denying struct {
	crypto.Signer
	asked int
}

func (d *denying) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	d.asked++
	return nil, errors.New("denied")
}

// TestAskedOnce: a service that refuses a usual hash is not asked in another way, which
// would be a second entry in its log.
func TestAskedOnce(t *testing.T) {
	key := newKeys(t)["RSA"]
	service := &denying{Signer: key}
	err := signfile.Sign(t.Context(), io.Discard, bytes.NewReader(hello(t)), signfile.Options{Key: service, Certificate: certificateOf(t, key), Digest: digest.SHA256})
	if err == nil || service.asked != 1 {
		t.Errorf("asked %d times: %v", service.asked, err)
	}
}

// TestCertificateIsItsBytes: fields of a certificate that were changed, or made by hand,
// don't get into a message.
func TestCertificateIsItsBytes(t *testing.T) {
	key := newKeys(t)["EC"]
	c := certificateOf(t, key)
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: c})
	if err != nil {
		t.Fatal(err)
	}
	want, err := signer.Detach(t.Context(), bytes.NewReader(hello(t)))
	if err != nil {
		t.Fatal(err)
	}
	clear(c.Raw)
	clear(c.Issuer)
	got, err := signer.Detach(t.Context(), bytes.NewReader(hello(t)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(issuerIn(t, got), issuerIn(t, want)) {
		t.Error("the message names another signer")
	}
	if _, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: &certificate.Certificate{}}); err == nil {
		t.Error("a certificate of nothing was taken")
	}
}

func issuerIn(t *testing.T, message []byte) []byte {
	t.Helper()
	m, err := cms.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	return m.Signers[0].ID.Issuer
}

// TestZeroSigner: a Signer that nobody made is an error, and no panic.
func TestZeroSigner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.ko")
	if err := os.WriteFile(path, hello(t), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*signfile.Signer{nil, {}} {
		_, detach := s.Detach(t.Context(), bytes.NewReader(nil))
		_, digest := s.Digest(t.Context(), bytes.NewReader(nil))
		for _, err := range []error{s.Sign(t.Context(), io.Discard, bytes.NewReader(nil)), detach, digest, s.SignFile(t.Context(), path, signfile.Output{})} {
			if err == nil {
				t.Error("no error")
			}
		}
	}
	var m signfile.Module
	if _, err := m.Find(); err == nil || m.Path() != "" {
		t.Errorf("a zero Module: %v", err)
	}
}

// TestSignedAlready: a library signs a module once, unless it is told otherwise.
func TestSignedAlready(t *testing.T) {
	key := newKeys(t)["EC"]
	options := signfile.Options{Key: key, Certificate: certificateOf(t, key)}
	path := filepath.Join(t.TempDir(), "m.ko")
	if err := os.WriteFile(path, hello(t), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := signfile.SignFile(t.Context(), path, options); err != nil {
		t.Fatal(err)
	}
	if err := signfile.SignFile(t.Context(), path, options); !errors.Is(err, signfile.ErrSigned) {
		t.Errorf("%v, want %v", err, signfile.ErrSigned)
	}
}

// TestOneOutput: two modules never become one file.
func TestOneOutput(t *testing.T) {
	dir, key := t.TempDir(), newKeys(t)["EC"]
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: certificateOf(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	var items []signfile.Item
	for _, name := range []string{"a/m.ko", "b/m.ko"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, hello(t), 0o644); err != nil {
			t.Fatal(err)
		}
		items = append(items, signfile.Item{Path: path})
	}
	failed := 0
	signer.SignMany(t.Context(), items, signfile.Many{Jobs: 1, OutputDir: filepath.Join(dir, "out")}, func(r signfile.Result) {
		if r.Err != nil {
			failed++
		}
	})
	if failed != 1 {
		t.Errorf("%d failures, want one", failed)
	}
}
