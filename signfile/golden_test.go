package signfile_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/keys"
	"sign-file/signfile"
)

// golden is a message of testdata/golden, which the real sign-file made of hello.ko.
type golden struct {
	pair, hash string // the names of key and hash
	useKeyID   bool
	message    []byte
}

// readGolden returns every message whose key is RSA or ECDSA. Those of odd
// certificates are made with the key rsa2048.
func readGolden(t *testing.T) map[string]golden {
	t.Helper()
	paths, err := filepath.Glob("../testdata/golden/*.p7s")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden messages: %v", err)
	}
	all := map[string]golden{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".p7s")
		rest, useKeyID := strings.CutSuffix(name, "-k")
		pair, hash, _ := strings.Cut(rest, "-")
		switch {
		case strings.HasPrefix(pair, "mldsa"):
			continue // TestMLDSAGolden has them
		case !strings.HasPrefix(pair, "rsa") && pair[0] != 'p':
			pair, hash = "odd/"+strings.TrimSuffix(rest, "-sha256"), "sha256"
		}
		all[name] = golden{pair, hash, useKeyID, read(t, path)}
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// options are those that the message was made with.
func (g golden) options(t *testing.T) signfile.Options {
	t.Helper()
	name := g.pair
	if strings.HasPrefix(name, "odd/") {
		name = "rsa2048"
	}
	key, err := keys.Open(context.Background(), "../testdata/keys/"+name+".key", nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.First(read(t, "../testdata/keys/"+g.pair+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	algorithm, err := digest.Lookup(g.hash)
	if err != nil {
		t.Fatal(err)
	}
	return signfile.Options{Key: key, Certificate: cert, Digest: algorithm, UseKeyID: g.useKeyID}
}

// replay signs with what another program has signed. ECDSA signatures are random, so
// that only this shows that all around them is the same.
type replay struct {
	crypto.Signer
	signature []byte
}

func (r replay) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return r.signature, nil }

func newReplay(t *testing.T, key crypto.Signer, message []byte) replay {
	t.Helper()
	parsed, err := cms.Parse(message)
	if err != nil {
		t.Fatal(err)
	}
	return replay{key, parsed.Signers[0].Signature}
}

func TestGoldenMessages(t *testing.T) {
	module := read(t, "../testdata/hello.ko")
	for name, g := range readGolden(t) {
		options := g.options(t)
		if g.pair[0] == 'p' {
			options.Key = newReplay(t, options.Key, g.message)
		}
		signer, err := signfile.NewSigner(options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		message, err := signer.Detach(context.Background(), bytes.NewReader(module))
		if err != nil || !bytes.Equal(message, g.message) {
			t.Errorf("%s: %v; %d bytes, not the %d of the real sign-file", name, err, len(message), len(g.message))
		}
	}
}

func TestGoldenModules(t *testing.T) {
	module, once := read(t, "../testdata/hello.ko"), read(t, "../testdata/golden/hello-rsa2048-sha256.ko")
	for name, c := range map[string]struct {
		golden
		module []byte
	}{
		"hello-rsa2048-sha256":       {golden{pair: "rsa2048", hash: "sha256"}, module},
		"hello-rsa2048-sha256-k":     {golden{pair: "rsa2048", hash: "sha256", useKeyID: true}, module},
		"hello-rsa2048-sha256-twice": {golden{pair: "rsa2048", hash: "sha256"}, once},
		"hello-rsa4096-sha512":       {golden{pair: "rsa4096", hash: "sha512"}, module},
		"hello-p256-sha256":          {golden{pair: "p256", hash: "sha256"}, module},
	} {
		want, options := read(t, "../testdata/golden/"+name+".ko"), c.options(t)
		if c.pair == "p256" {
			options.Key = newReplay(t, options.Key, want[len(module):len(want)-trailerSize])
		}
		signer, err := signfile.NewSigner(options)
		if err != nil {
			t.Fatal(err)
		}
		var signed bytes.Buffer
		if err := signer.Sign(context.Background(), &signed, bytes.NewReader(c.module)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(signed.Bytes(), want) {
			t.Errorf("%s: %d bytes, not the %d of the real sign-file", name, signed.Len(), len(want))
		}
	}
}

// trailerSize is that of struct module_signature and the marker.
const trailerSize = 12 + 28

// liar signs wrongly in one of several ways, as a faulty token would, from its nth
// signature on.
type liar struct {
	crypto.Signer
	lie  func(signature []byte) []byte
	from int
	n    *int
}

func (l liar) Sign(random io.Reader, toSign []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := l.Signer.Sign(random, toSign, opts)
	if *l.n++; *l.n > l.from {
		signature = l.lie(signature)
	}
	return signature, err
}

// Nothing that is signed wrongly is written.
func TestLyingKey(t *testing.T) {
	lies := map[string]func([]byte) []byte{
		"flipped bit": func(s []byte) []byte { s[len(s)/2] ^= 1; return s },
		"empty":       func([]byte) []byte { return nil },
		"short":       func(s []byte) []byte { return s[:len(s)-1] },
		"long":        func(s []byte) []byte { return append(s, 0) },
		"zeros":       func(s []byte) []byte { return make([]byte, len(s)) },
		"ones":        func(s []byte) []byte { return bytes.Repeat([]byte{0xff}, len(s)) },
	}
	for _, pair := range []string{"rsa2048", "p256", "p521"} {
		other := golden{pair: map[string]string{"rsa2048": "rsa3072", "p256": "p384", "p521": "p256"}[pair], hash: "sha256"}.options(t).Key
		sum := bytes.Repeat([]byte{7}, 32)
		lies["another key"] = func([]byte) []byte { s, _ := other.Sign(nil, sum, crypto.SHA256); return s }
		lies["another digest"] = func([]byte) []byte {
			s, _ := golden{pair: pair, hash: "sha256"}.options(t).Key.Sign(nil, sum, crypto.SHA256)
			return s
		}
		for name, lie := range lies {
			for _, from := range []int{0, 1} {
				options := golden{pair: pair, hash: "sha256"}.options(t)
				options.Key = liar{options.Key, lie, from, new(int)}
				checkLies(t, pair+", "+name, options, from)
			}
		}
	}
}

func checkLies(t *testing.T, name string, options signfile.Options, honest int) {
	t.Helper()
	signer, err := signfile.NewSigner(options)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.ko")
	content := []byte("a module")
	for n := range honest + 1 {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		err := signer.SignFile(context.Background(), path, signfile.Output{Message: true, Existing: signfile.SignAgain})
		if lied := n >= honest; lied != (err != nil) {
			t.Errorf("%s, signature %d: %v", name, n, err)
		}
		if err != nil && (!bytes.Equal(read(t, path), content) || n == 0 && exists(path+".p7s")) {
			t.Errorf("%s: something was written", name)
		}
		var out bytes.Buffer
		*options.Key.(liar).n = n
		if err := signer.Sign(context.Background(), &out, bytes.NewReader(content)); err == nil && n >= honest {
			t.Errorf("%s: signed to a writer", name)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// A certificate that does not belong to the key is found before anything is signed.
func TestMismatch(t *testing.T) {
	for _, names := range [][2]string{{"rsa2048", "rsa3072"}, {"rsa2048", "p256"}, {"p256", "p384"}, {"p521", "rsa4096"}} {
		options := golden{pair: names[0], hash: "sha256"}.options(t)
		options.Certificate = golden{pair: names[1], hash: "sha256"}.options(t).Certificate
		if _, err := signfile.NewSigner(options); err == nil || !strings.Contains(err.Error(), "does not belong") {
			t.Errorf("%v: %v", names, err)
		}
	}
}

// Hashes that ECDSA has no identifier for (reference: OpenSSL refuses them too).
func TestECDSAHashes(t *testing.T) {
	for _, hash := range []string{"md5", "ripemd160", "sm3", "sha512-224", "sha512-256"} {
		if _, err := signfile.NewSigner(golden{pair: "p256", hash: hash}.options(t)); err == nil {
			t.Errorf("%s: taken", hash)
		}
	}
}

// fullDisk takes n bytes.
type fullDisk struct{ n int }

var errFull = errors.New("full")

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.n -= len(b); d.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriterFails(t *testing.T) {
	signer, err := signfile.NewSigner(golden{pair: "rsa2048", hash: "sha256"}.options(t))
	if err != nil {
		t.Fatal(err)
	}
	module := make([]byte, 1000)
	for _, room := range []int{0, 999, 1000, 1442} {
		if err := signer.Sign(context.Background(), &fullDisk{room}, bytes.NewReader(module)); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
	if !slices.ContainsFunc([]int{1443, 1500}, func(room int) bool {
		return signer.Sign(context.Background(), &fullDisk{room}, bytes.NewReader(module)) == nil
	}) {
		t.Error("no room is enough")
	}
}
