package test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.mozilla.org/pkcs7"

	"sign-file/test/testenv"
)

// Every message that the program makes, read by programs and libraries that know
// nothing of it.

// readable are the hashes that both kinds of key sign with everywhere.
var readable = []string{"sha1", "sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}

func TestReaders(t *testing.T) {
	t.Parallel()
	module := readFile(t, "../testdata/hello.ko")
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096", "p224", "p256", "p384", "p521"} {
		hashes := readable
		if strings.HasPrefix(name, "rsa") {
			hashes = append(slices.Clone(readable), "sha512-224", "sha512-256", "ripemd160", "md5")
		}
		for _, hash := range hashes {
			for _, flag := range []string{"-d", "-dk"} {
				t.Run(strings.Join([]string{name, hash, flag}, " "), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "hello.ko")
					writeFile(t, path, string(module), 0o644)
					mustRun(t, nil, program(t), flag, hash, "../testdata/keys/"+name+".key", "../testdata/keys/"+name+".x509", path)
					message := readFile(t, path+".p7s")
					if err := verifyMessage(t, message, module, "../testdata/keys/"+name+".pem", hash); err != nil {
						t.Error(err)
					}
					mozilla := slices.Contains([]string{"sha1", "sha256", "sha384", "sha512"}, hash) && flag == "-d" && name != "p224"
					if mozilla {
						verifyMozilla(t, message, module, name)
					}
				})
			}
		}
	}
}

// verifyMozilla reads a message with go.mozilla.org/pkcs7. It knows neither key
// identifiers nor SHA-3, and Go no P-224 certificate's signature.
func verifyMozilla(t *testing.T, message, module []byte, name string) {
	t.Helper()
	parsed, err := pkcs7.Parse(message)
	if err != nil {
		t.Error(err)
		return
	}
	block, _ := pem.Decode(readFile(t, "../testdata/keys/"+name+".pem"))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Certificates = append(parsed.Certificates, certificate)
	parsed.Content = module
	if err := parsed.Verify(); err != nil {
		t.Errorf("pkcs7: %v", err)
	}
}

// kmod shows whom depmod and people see as the signer.
func TestModinfo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hello.ko")
	for _, name := range []string{"rsa2048", "rsa4096", "p256", "p384"} {
		for _, hash := range []string{"sha256", "sha384", "sha512"} {
			mustRun(t, nil, program(t), hash, "../testdata/keys/"+name+".key", "../testdata/keys/"+name+".x509", "../testdata/hello.ko", path)
			for field, want := range map[string]string{"sig_id": "PKCS#7", "sig_hashalgo": hash, "signer": name + ": test key known to everyone"} {
				if got := modinfo(t, field, path); got != want {
					t.Errorf("%s, %s: modinfo shows %s %q, want %q", name, hash, field, got, want)
				}
			}
		}
	}
}

// The 2022 series' own selftest (tools/testing/selftests/bpf/prog_tests/
// map_value_sig.c of the series): values of 1024 bytes, data "test0" to "test4".
func TestSeriesSelftest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pair := newKeyPair(t, dir, "-nodes")
	verify := func(value string) (string, error) {
		return run(t, nil, program(t), "map", "verify", "--kernel", "6.12", "--trusted", pair.cert, value)
	}
	var values []string
	for _, data := range []string{"test0", "test1", "test2", "test3", "test4"} {
		input, value := filepath.Join(dir, data), filepath.Join(dir, data+".value")
		writeFile(t, input, data, 0o644)
		mustRun(t, nil, program(t), "map", "sign", "--value-size", "1024", "sha256", pair.key, pair.cert, input, value)
		// The series' own way: sign-file, and the file's size before it.
		judged := filepath.Join(dir, data+".judged")
		checkSeriesValue(t, readFile(t, value), input, judged, pair)
		if size := mustRun(t, nil, program(t), "map", "size", value); size != "5\n" {
			t.Errorf("bpf_map_verified_data_size gives 5, not %q", size)
		}
		values = append(values, value)
	}
	mustRun(t, nil, program(t), append([]string{"map", "verify", "--kernel", "6.12", "--trusted", pair.cert}, values...)...)

	good := readFile(t, values[0])
	for name, c := range map[string]struct {
		damage func(value []byte)
		errno  string
	}{
		"invalid size":      {func(v []byte) { copy(v, "\x00\x00\x04\x00") }, "EINVAL"},
		"invalid signature": {func(v []byte) { copy(v, "\x00\x00\x00\x05"); v[8] = 0 }, "ENOENT"},
		"damaged data":      {func(v []byte) { v[4] ^= 1 }, "EKEYREJECTED"},
		"damaged value":     {func(v []byte) { v[4+5+400] ^= 1 }, "EKEYREJECTED"},
	} {
		value := bytes.Clone(good)
		c.damage(value)
		path := filepath.Join(dir, "damaged")
		writeFile(t, path, string(value), 0o644)
		if out, err := verify(path); err == nil || !strings.Contains(out, c.errno) {
			t.Errorf("%s: %v, want %s\n%s", name, err, c.errno, out)
		}
	}
}

func checkSeriesValue(t *testing.T, value []byte, input, judged string, pair keyPair) {
	t.Helper()
	writeFile(t, judged, string(readFile(t, input)), 0o644)
	mustRun(t, nil, testenv.SignFile(t), "sha256", pair.key, pair.cert, judged)
	signed := readFile(t, judged)
	want := append([]byte{0, 0, byte(len(signed) >> 8), byte(len(signed))}, signed...)
	want = append(want, make([]byte, 1024-len(want))...)
	if !bytes.Equal(value, want) {
		t.Errorf("%s: not the value that the series' selftest makes", input)
	}
}

// What bpftool puts into a map is the value.
func TestBpftool(t *testing.T) {
	t.Parallel()
	dir := mount(t, "bpf", "")
	work := t.TempDir()
	// An RSA key makes the same value each time.
	args := []string{"sha256", "../testdata/keys/rsa2048.key", "../testdata/keys/rsa2048.x509", "../testdata/value.bin"}
	sign := func(format string) string {
		return mustRun(t, nil, program(t), append([]string{"map", "sign", "--value-size", "1024", "--format", format}, args...)...)
	}
	raw := sign("raw")
	pin := filepath.Join(dir, "policy")
	if out, err := run(t, nil, "bpftool", "map", "create", pin, "type", "array", "key", "4", "value", "1024", "entries", "1", "name", "policy"); err != nil {
		testenv.Missing(t, "the right to make a BPF map: "+out)
	}
	update := slices.Concat([]string{"map", "update", "pinned", pin, "key", "hex", "00", "00", "00", "00", "value", "hex"}, strings.Fields(sign("hex")))
	mustRun(t, nil, "bpftool", update...)
	dump := mustRun(t, nil, "bpftool", "map", "lookup", "pinned", pin, "key", "hex", "00", "00", "00", "00")
	_, dump, _ = strings.Cut(dump, "value:")
	if held, err := hex.DecodeString(strings.Join(strings.Fields(dump), "")); err != nil || string(held) != raw {
		t.Errorf("the map holds %d bytes that are not the value's %d: %v", len(held), len(raw), err)
	}
	// And so is what a C compiler puts into a program.
	source, object := filepath.Join(work, "value.c"), filepath.Join(work, "value")
	array := sign("c")
	writeFile(t, source, "#include <stdio.h>\n"+array+"int main(void) { fwrite(value, 1, sizeof value, stdout); return 0; }\n", 0o644)
	mustRun(t, nil, "gcc", "-Wall", "-Werror", "-o", object, source)
	if compiled := mustRun(t, nil, object); compiled != raw {
		t.Errorf("the C array has %d bytes that are not the value's %d", len(compiled), len(raw))
	}
}
