package kernel

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/test/kernel/vector"
	"sign-file/test/testenv"
)

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// openSSL are ways to sign that sign-file does not take, as options of openssl cms.
func openSSL(t testing.TB) map[string][]string {
	rsa, ca := by(t, "rsa2048"), by(t, "rsa3072")
	return map[string][]string{
		"without attributes":     append(rsa, "-noattr", "-nocerts"),
		"by key identifier":      append(rsa, "-noattr", "-nocerts", "-keyid"),
		"attributes":             append(rsa, "-nocerts", "-nosmimecap"),
		"S/MIME capabilities":    append(rsa, "-nocerts"),
		"with certificate":       append(rsa, "-noattr"),
		"unknown, with its own":  append(ca, "-noattr"),
		"unknown, attributes":    append(ca, "-nocerts", "-nosmimecap"),
		"attached":               append(rsa, "-noattr", "-nocerts", "-nodetach"),
		"PSS":                    append(rsa, "-noattr", "-nocerts", "-keyopt", "rsa_padding_mode:pss"),
		"known, then unknown":    slices.Concat(rsa, ca, []string{"-noattr", "-nocerts"}),
		"unknown, then known":    slices.Concat(ca, rsa, []string{"-noattr", "-nocerts"}),
		"two known":              slices.Concat(rsa, by(t, "p384"), []string{"-noattr", "-nocerts"}),
		"two with certificates":  slices.Concat(rsa, ca, []string{"-noattr"}),
		"P-384 with certificate": append(by(t, "p384"), "-noattr"),
		"P-384 with attributes":  append(by(t, "p384"), "-nocerts", "-nosmimecap"),
		"of another type":        append(rsa, "-noattr", "-nocerts", "-econtent_type", "1.2.3.4"),
	}
}

// by are the options that name a signer.
func by(t testing.TB, name string) []string {
	t.Helper()
	path, err := filepath.Abs("../../testdata/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clip([]string{"-signer", path + ".pem", "-inkey", path + ".key"})
}

// signCMS has OpenSSL sign data and returns the message.
func signCMS(t testing.TB, data []byte, options ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"cms", "-sign", "-binary", "-md", "sha256", "-in", "data", "-outform", "DER", "-out", "p7"}
	cmd := exec.Command(testenv.Tool(t, "openssl"), append(arguments, options...)...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
	return read(t, filepath.Join(dir, "p7"))
}

// golden asks about all that the real sign-file made: every key with every digest.
func (b *bench) golden(ring string) {
	files, err := filepath.Glob("../../testdata/golden/*.p7s")
	if err != nil || len(files) == 0 {
		b.Fatalf("no golden messages: %v", err)
	}
	data := read(b.T, "../../testdata/hello.ko")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".p7s")
		v := vector.Vector{Name: name, Kind: vector.Detached, Data: data, Signature: read(b.T, file), Keyring: ring}
		b.message(v)
		v.Name, v.Patches = name+", data changed", []vector.Patch{{Offset: 100, XOR: 1}}
		b.message(v)
	}
}

// cms asks about what OpenSSL makes, of good data and of changed data.
func (b *bench) cms() {
	data := read(b.T, "../../testdata/value.bin")
	options := openSSL(b.T)
	for _, name := range sorted(options) {
		message := signCMS(b.T, data, options[name]...)
		for _, ring := range []string{"rsa2048", everyone, "nobody"} {
			v := vector.Vector{Name: name + " by " + ring, Kind: vector.Detached, Data: data, Signature: message, Keyring: ring}
			b.message(v)
			v.Name, v.Patches = v.Name+", data changed", []vector.Patch{{Offset: 0, XOR: 1}}
			b.message(v)
		}
		after := slices.Concat(message, []byte{0, 1, 2})
		b.message(vector.Vector{Name: name + ", bytes after", Kind: vector.Detached, Data: data, Signature: after, Keyring: everyone})
		b.message(vector.Vector{Name: name + ", cut", Kind: vector.Detached, Data: data, Signature: message[:len(message)-1], Keyring: everyone})
	}
}

// value lays a map value out by hand.
func value(size int, file []byte, tail int) []byte {
	v := binary.BigEndian.AppendUint32(nil, uint32(size))
	return slices.Concat(v, file, bytes.Repeat([]byte{0xaa}, tail))
}

// values asks about map values of every shape.
func (b *bench) values() {
	data := read(b.T, "../../testdata/value.bin")
	good := sign(b.T, data, "rsa2048", "sha256", false)
	files := map[string][]byte{
		"good": good, "unsigned": data, "empty": nil, "one byte": sign(b.T, []byte{7}, "rsa2048", "sha256", false),
		"unknown": sign(b.T, data, "rsa3072", "sha256", false), "ECDSA": sign(b.T, data, "p256", "sha256", false),
		"by key identifier": sign(b.T, data, "rsa2048", "sha512", true),
		"signed twice":      sign(b.T, good, "rsa2048", "sha256", false),
		"large":             sign(b.T, bytes.Repeat(data, 20000), "rsa4096", "sha256", false),
		"no data":           attach(nil, detach(b.T, nil, "rsa2048", "sha256", false)),
		"message too long":  attach(data, make([]byte, 65536)),
		"marker alone":      []byte(marker), "trailer alone": good[len(data):],
	}
	addTrailers(files, good)
	for _, name := range sorted(files) {
		for _, tail := range []int{0, 1, 100} {
			v := value(len(files[name]), files[name], tail)
			b.message(vector.Vector{Name: fmt.Sprint(name, ", tail ", tail), Kind: vector.Value, Data: v, Keyring: "rsa2048"})
		}
	}
	for _, size := range []int{0, 1, 12, 28, 29, 40, 41, len(good) - 1, len(good) + 1, len(good) + 64, len(good) + 65, 1 << 31, 1<<32 - 1} {
		b.message(vector.Vector{Name: fmt.Sprint("size ", size), Kind: vector.Value, Data: value(size, good, 64), Keyring: "rsa2048"})
	}
	for _, length := range []int{0, 1, 3, 4, 5, 32, 33, 44, 45, 100} {
		b.message(vector.Vector{Name: fmt.Sprint("length ", length), Kind: vector.Value, Data: value(len(good), good, 0)[:length], Keyring: "rsa2048"})
	}
}

// system asks the kernel's own keyrings about a module that Debian signed, and
// about one of ours.
func (b *bench) system() {
	debian := b.kernel.Module(b.T, "dummy")
	plain := strip(b.T, debian)
	for name, file := range map[string][]byte{
		"Debian's own": debian, "in db": sign(b.T, plain, "rsa2048", "sha256", false),
		"in db, ECDSA": sign(b.T, plain, "p384", "sha256", false), "unknown": sign(b.T, plain, "rsa3072", "sha256", false),
	} {
		for system := range b.systems {
			v := vector.Vector{Name: fmt.Sprint(name, " by keyring ", system), Kind: vector.Value, Data: value(len(file), file, 8), System: system}
			b.message(v)
			v.Name, v.Patches = v.Name+", changed", []vector.Patch{{Offset: 1000, XOR: 4}}
			b.message(v)
		}
	}
}
