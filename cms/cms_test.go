package cms_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/cms"
)

// golden returns the messages that the real sign-file has made.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../testdata/golden/*.p7s")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden messages: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if all[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestParseGolden(t *testing.T) {
	for name, message := range golden(t) {
		parsed, err := cms.Parse(message)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := parsed.Marshal(); err != nil || !bytes.Equal(again, message) {
			t.Errorf("%s: %v; marshals to %d other bytes", name, err, len(again))
		}
		if len(parsed.Signers) != 1 || parsed.Signers[0].ID.ByKeyID() != strings.HasSuffix(name, "-k.p7s") {
			t.Errorf("%s: signers %+v", name, parsed.Signers)
		}
	}
}

// checkParse holds whatever is parsed against the promise that it encodes to the same
// bytes.
func checkParse(t *testing.T, message []byte) {
	t.Helper()
	parsed, err := cms.Parse(message)
	if err != nil {
		return
	}
	if again, err := parsed.Marshal(); err != nil || !bytes.Equal(again, message) {
		t.Errorf("%x\nis parsed and marshals to %v\n%x", message, err, again)
	}
}

// Every truncation is an error; every flipped bit is one, or stays what it is.
func TestParseDamaged(t *testing.T) {
	all := golden(t)
	for _, name := range []string{"rsa2048-sha256.p7s", "p384-sha384-k.p7s", "rsa3072-sha3-512.p7s"} {
		message, ok := all[name]
		if !ok {
			t.Fatalf("no %s", name)
		}
		for n := range message {
			if _, err := cms.Parse(message[:n]); err == nil {
				t.Errorf("%s: the first %d bytes are taken for a message", name, n)
			}
			for bit := range 8 {
				damaged := bytes.Clone(message)
				damaged[n] ^= 1 << bit
				checkParse(t, damaged)
			}
		}
		if _, err := cms.Parse(append(slices.Clip(message), 0)); err == nil {
			t.Errorf("%s: a byte behind it is not noticed", name)
		}
	}
}

func TestParseHostile(t *testing.T) {
	for name, message := range map[string][]byte{
		"nothing":           nil,
		"one byte":          {0x30},
		"empty sequence":    {0x30, 0},
		"indefinite length": {0x30, 0x80, 0, 0},
		"huge length":       {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"longer length":     {0x30, 0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		"deep nesting":      bytes.Repeat([]byte{0x30, 0x80}, 100_000),
		"64 KiB of zeros":   make([]byte, 65535),
		"larger":            make([]byte, 1<<20),
		"text":              []byte("-----BEGIN PKCS7-----\n"),
	} {
		if _, err := cms.Parse(message); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, message := range golden(f) {
		if len(message) < 1000 {
			f.Add(message)
		}
	}
	f.Fuzz(checkParse)
}
