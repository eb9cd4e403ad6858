package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	testKey  = "../../testdata/keys/rsa2048.key"
	testCert = "../../testdata/keys/rsa2048.x509"
)

// shop is a folder with a module in it, and what the real sign-file makes of it.
type shop struct {
	*testing.T
	dir           string
	hello, signed []byte
	message       string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, dir: t.TempDir(), hello: read(t, "../../testdata/hello.ko"), signed: read(t, "../../testdata/golden/hello-rsa2048-sha256.ko")}
	s.message = string(read(t, "../../testdata/golden/rsa2048-sha256.p7s"))
	write(t, s.path("m.ko"), string(s.hello))
	return s
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

// does runs a command line, in which @ is the folder and KEY the hash, key and
// certificate, and asks for its exit code.
func (s *shop) does(exit int, line string) outcome {
	s.Helper()
	line = strings.ReplaceAll(line, "KEY", "sha256 "+testKey+" "+testCert)
	got := invoke(s.T, strings.Fields(strings.ReplaceAll(line, "@", s.dir+"/"))...)
	if got.exit != exit {
		s.Errorf("%s: exit %d, want %d\n%s%s", line, got.exit, exit, got.out, got.err)
	}
	return got
}

func (s *shop) holds(name string, want []byte) {
	s.Helper()
	if got := read(s.T, s.path(name)); !bytes.Equal(got, want) {
		s.Errorf("%s: %d bytes that are not the %d wanted", name, len(got), len(want))
	}
}

func (s *shop) says(got outcome, what string) {
	s.Helper()
	if !strings.Contains(got.out+got.err, what) {
		s.Errorf("nothing says %q\n%s%s", what, got.out, got.err)
	}
}

// The kernel's command line, held against the real sign-file's bytes.
func TestClassicBytes(t *testing.T) {
	s := newShop(t)
	s.does(0, "KEY @m.ko @out.ko")
	s.holds("out.ko", s.signed)
	s.does(0, "-d KEY @m.ko")
	s.holds("m.ko.p7s", []byte(s.message))
	s.does(0, "-p KEY @m.ko")
	s.holds("m.ko", s.signed)
	s.says(s.does(0, "KEY @m.ko"), "warning: "+s.path("m.ko")+": is signed already")
	write(t, s.path("m.ko"), string(s.hello))
	s.does(0, "-s @m.ko.p7s sha256 none @m.ko")
	s.holds("m.ko", s.signed)
	write(t, s.path("junk"), "junk")
	s.says(s.does(0, "-s @junk sha256 none @m.ko @junk.ko"), "is no PKCS#7 message")
	s.does(1, "KEY @none")
	s.does(1, "-s @none sha256 none @m.ko")
}

func TestSignVerb(t *testing.T) {
	s := newShop(t)
	s.says(s.does(0, "sign KEY "+s.dir), "1 signed, 0 skipped, 0 failed")
	s.holds("m.ko", s.signed)
	s.says(s.does(1, "sign KEY @m.ko"), "is signed already (--replace")
	s.says(s.does(0, "sign --unsigned-only --json KEY @m.ko"), `"result":"skipped"`)
	s.does(0, "sign --replace -q KEY @m.ko")
	s.holds("m.ko", s.signed)
	write(t, s.path("list"), s.path("m.ko")+"\n")
	s.does(0, "sign --replace --sync --output-dir @out --from @list KEY")
	s.holds("out/m.ko", s.signed)
	s.does(0, "sign -d --replace KEY @m.ko")
	s.holds("m.ko.p7s", []byte(s.message))
	s.does(2, "sign --replace --unsigned-only KEY @m.ko")
	s.does(2, "sign -0 KEY @m.ko")
	s.does(1, "sign KEY @out/none")
	if err := os.Mkdir(s.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.says(s.does(1, "sign KEY @empty"), "no module in this directory")
	s.does(0, "sign --allow-empty KEY @empty")
}

func TestTakingApart(t *testing.T) {
	s := newShop(t)
	write(t, s.path("s.ko"), string(s.signed))
	s.does(0, "extract @s.ko @message")
	s.holds("message", []byte(s.message))
	s.does(0, "extract --data @s.ko @data")
	s.holds("data", s.hello)
	s.does(2, "extract --data --signature @s.ko")
	s.does(1, "extract @m.ko")
	s.says(s.does(0, "inspect @s.ko @m.ko"), "RSA-2048")
	s.says(s.does(0, "verify --kernel 6.12 --trusted "+testCert+" @s.ko"), ": verified: ")
	s.says(s.does(1, "verify --kernel 6.12 --enforce --json --trusted ../../testdata/keys/p256.x509 @s.ko"), `"errno":"ENOKEY"`)
	s.says(s.does(3, "verify --kernel 6.12 --trusted "+testCert+" @s.ko @none"), "no such file")
	s.does(2, "verify --kernel six --trusted "+testCert+" @s.ko")
	s.does(2, "verify --usage nosuch --trusted "+testCert+" @s.ko")
	s.does(0, "strip @s.ko")
	s.holds("s.ko", s.hello)
	s.does(1, "strip @s.ko")
}

func TestElsewhere(t *testing.T) {
	s := newShop(t)
	write(t, s.path("value"), s.message[len(s.message)-256:])
	s.does(0, "attach --hash sha256 --cert "+testCert+" --signature @value @m.ko @out.ko")
	s.holds("out.ko", s.signed)
	s.says(s.does(1, "attach --hash sha512 --cert "+testCert+" --signature @value @m.ko"), "does not verify")
	s.holds("m.ko", s.hello)
	s.says(s.does(0, "digest --format json sha256 @m.ko"), `"digestinfo":"3031`)
	s.does(0, "digest --format hex --cert ../../testdata/keys/mldsa44.x509 sha512 @m.ko")
	s.does(2, "digest --format digestinfo --cert ../../testdata/keys/mldsa44.x509 sha512 @m.ko")
	s.does(2, "digest --format nosuch sha256 @m.ko")
}

func TestMapVerbs(t *testing.T) {
	s := newShop(t)
	s.does(0, "map sign --value-size 8192 KEY @m.ko @value")
	value := read(t, s.path("value"))
	if !bytes.Equal(value[4:4+len(s.signed)], s.signed) || len(value) != 8192 {
		t.Errorf("a value of %d bytes that does not hold the signed file", len(value))
	}
	s.does(0, "map wrap --value-size 8192 ../../testdata/golden/hello-rsa2048-sha256.ko @wrapped")
	s.holds("wrapped", value)
	write(t, s.path("bare"), s.message[len(s.message)-256:])
	s.does(0, "map attach --value-size 8192 --hash sha256 --cert "+testCert+" --signature @bare @m.ko @attached")
	s.holds("attached", value)
	s.says(s.does(0, "map size @value"), "5248\n")
	s.says(s.does(0, "map inspect @value"), "tail")
	s.says(s.does(0, "map inspect --json @value"), `"tail_is_zero":true`)
	s.does(0, "map verify --kernel 6.12 --trusted "+testCert+" @value")
	for part, want := range map[string][]byte{"data": s.hello, "signature": []byte(s.message), "signed": s.signed, "tail": value[4+len(s.signed):]} {
		s.does(0, "map extract --"+part+" @value @part")
		s.holds("part", want)
	}
	s.does(2, "map extract --data --tail @value")
	s.does(2, "map sign --value-size -1 KEY @m.ko")
	s.does(1, "map sign --value-size 100 KEY @m.ko")
	s.does(2, "map nosuch")
	s.does(2, "map")
}

func TestKeygenVerb(t *testing.T) {
	s := newShop(t)
	s.does(0, "keygen --type ec:p256 @key.pem @cert.der")
	if info, err := os.Stat(s.path("key.pem")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	s.does(0, "sha256 @key.pem @cert.der @m.ko")
	s.does(0, "verify --kernel 6.12 --trusted @cert.der @m.ko")
	s.says(s.does(1, "keygen --type ec:p256 @key.pem"), "--force")
	s.does(0, "keygen --type ec:p256 --force @key.pem")
	s.does(2, "keygen --type ec:p256 @a @a")
	s.does(2, "keygen --type nosuch @a")
	s.does(2, "keygen --days 0 @a")
	s.does(2, "keygen --subject nosuch @a")
	t.Setenv(pinVariable, "a passphrase")
	s.does(0, "keygen --type ec:p256 --encrypt @locked.pem @locked.der")
	write(t, s.path("n.ko"), "a module")
	s.does(0, "sha256 @locked.pem @locked.der @n.ko")
	t.Setenv(pinVariable, "another")
	s.does(1, "sha256 @locked.pem @locked.der @n.ko")
}

// TestUnusualKeys: a key that no kernel takes signs, as with the kernel's sign-file, and not
// without a word; one that kernels take gets none.
func TestUnusualKeys(t *testing.T) {
	s := newShop(t)
	const warning = "no kernel verifies a signature by this key"
	pair := func(bits int) string {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n"}, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2e9, 0)}
		// Of another's signature: a kernel learns only from a module that the key is none of its sizes.
		issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		parent := &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), issuer)
		if err != nil {
			t.Fatal(err)
		}
		file := write(t, s.path(fmt.Sprint(bits)+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
		return file + " " + write(t, s.path(fmt.Sprint(bits)+".x509"), string(der))
	}
	for pair, warned := range map[string]bool{
		"../../testdata/keys/p224.key ../../testdata/keys/p224.x509": true,
		"../../testdata/keys/p521.key ../../testdata/keys/p521.x509": false,
		pair(2000): true, pair(3000): true, pair(4104): true, pair(1024): false, pair(1536): false,
	} {
		for _, line := range []string{"sha256 " + pair + " @m.ko @d.ko", "sign --output-dir @o sha256 " + pair + " @m.ko", "map sign sha256 " + pair + " @m.ko @v"} {
			if got := s.does(0, line); strings.Contains(got.err, warning) != warned {
				t.Errorf("%s\n%s", line, got.err)
			}
		}
	}
}

// TestReasons: what is wrong is said in words that lead on.
func TestReasons(t *testing.T) {
	s := newShop(t)
	if err := os.Mkdir(s.path("tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, s.path("a.ko.gz"), "no gzip")
	write(t, s.path("b.ko.xz"), "no xz")
	write(t, s.path("c.ko.gz"), "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b")
	for line, want := range map[string]string{
		"KEY @tree":    "is a directory (sign-file sign takes directories)",
		"-d KEY @tree": "is a directory",
		"sha256 exec:" + s.path("none") + " " + testCert + " @m.ko": "none: no such file or directory\n",
		"sign KEY @a.ko.gz": "it is not compressed as its name says",
		"sign KEY @b.ko.xz": "it is not compressed as its name says",
		"sign KEY @c.ko.gz": "it is cut",
	} {
		if got := s.does(1, line); !strings.Contains(got.err, want) {
			t.Errorf("%s: %q, want %q", line, got.err, want)
		}
	}
}
