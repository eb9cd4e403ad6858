package kernel

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/internal/compressed"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
	"sign-file/test/kernel/vector"
	"sign-file/test/testenv"
	"sign-file/test/vm"
)

const marker = "~Module signature appended~\n"

func sprint(a ...any) string { return fmt.Sprint(a...) }

// signer signs with a test key as the program does.
func signer(t testing.TB, key, hash string, useKeyID bool) *signfile.Signer {
	t.Helper()
	private, err := keys.Parse(testKey(t, key+".key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.First(testKey(t, key+".x509"))
	if err != nil {
		t.Fatal(err)
	}
	algorithm, err := digest.Lookup(hash)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signfile.NewSigner(signfile.Options{Key: private, Certificate: c, Digest: algorithm, UseKeyID: useKeyID})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// detach returns the message alone.
func detach(t testing.TB, data []byte, key, hash string, useKeyID bool) []byte {
	t.Helper()
	message, err := signer(t, key, hash, useKeyID).Detach(context.Background(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// sign returns the whole signed file.
func sign(t testing.TB, data []byte, key, hash string, useKeyID bool) []byte {
	t.Helper()
	var signed bytes.Buffer
	if err := signer(t, key, hash, useKeyID).Sign(context.Background(), &signed, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return signed.Bytes()
}

// attach lays a signed file out by hand.
func attach(data, message []byte) []byte {
	info := binary.BigEndian.AppendUint32([]byte{0, 0, 2, 0, 0, 0, 0, 0}, uint32(len(message)))
	return bytes.Join([][]byte{data, message, info, []byte(marker)}, nil)
}

// strip cuts Debian's signature off a module of the kernel's.
func strip(t testing.TB, module []byte) []byte {
	t.Helper()
	if !bytes.HasSuffix(module, []byte(marker)) {
		t.Fatal("the kernel's own module is not signed")
	}
	end := len(module) - len(marker)
	size := int(binary.BigEndian.Uint32(module[end-4 : end]))
	return module[: end-12-size : end-12-size]
}

// moduleCompressed is MODULE_INIT_COMPRESSED_FILE.
const moduleCompressed = 4

// load puts modules to the kernel. Those that are loaded without a good signature
// have to be good modules all the same, or the answer would be the loader's.
func (b *bench) load(judge *kernel.Judge) {
	debian := b.kernel.Module(b.T, "dummy")
	plain := strip(b.T, debian)
	good := sign(b.T, plain, "rsa2048", "sha256", false)
	files := map[string][]byte{
		"Debian's own":       debian,
		"unsigned":           plain,
		"unknown key":        sign(b.T, plain, "rsa3072", "sha256", false),
		"signed twice":       sign(b.T, good, "rsa2048", "sha256", false),
		"of unknown, inside": sign(b.T, sign(b.T, plain, "rsa3072", "sha256", false), "rsa2048", "sha256", false),
		"of known, inside":   sign(b.T, good, "rsa3072", "sha256", false),
		"another's content":  attach(append(bytes.Clone(plain), 0), detach(b.T, plain, "rsa2048", "sha256", false)),
		"another's, unknown": attach(append(bytes.Clone(plain), 0), detach(b.T, plain, "rsa3072", "sha256", false)),
		"Debian's, grown":    attach(append(bytes.Clone(plain), 0), debian[len(plain):len(debian)-len(marker)-12]),
		"newline after":      append(bytes.Clone(good), '\n'),
		"63 bytes":           good[len(good)-63:],
		"marker alone":       []byte(marker),
		"trailer alone":      good[len(plain):],
		"no message":         attach(plain, nil),
		"message of zeros":   attach(plain, make([]byte, 100)),
		"message too long":   attach(plain, make([]byte, 65536)),
	}
	for _, hash := range []string{"sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512", "sm3"} {
		for _, useKeyID := range []bool{false, true} {
			files[sprint("rsa2048 ", hash, " -k ", useKeyID)] = sign(b.T, plain, "rsa2048", hash, useKeyID)
		}
		if hash != "sm3" {
			files["p384 "+hash] = sign(b.T, plain, "p384", hash, false)
		}
	}
	for name, options := range openSSL(b.T) {
		files["openssl "+name] = attach(plain, signCMS(b.T, plain, options...))
	}
	addTrailers(files, good)
	for _, name := range sorted(files) {
		b.ask(vector.Vector{Name: name, Kind: vector.Module, Data: files[name]}, judge)
	}
}

// loadELF loads modules whose ELF header, or first or last section header, is not as it should
// be, all of them signed: the signature comes first, and the kernel looks at few of the fields.
func (b *bench) loadELF() {
	plain := strip(b.T, b.kernel.Module(b.T, "dummy"))
	table, count := binary.LittleEndian.Uint64(plain[40:]), uint64(binary.LittleEndian.Uint16(plain[60:]))
	change := func(what string, at uint64, size int, values ...uint64) {
		for _, value := range values {
			changed := bytes.Clone(plain)
			copy(changed[at:], binary.LittleEndian.AppendUint64(nil, value)[:size])
			b.trials = append(b.trials, trial{
				Vector: vector.Vector{Name: fmt.Sprintf("ELF: %s is %#x", what, value), Kind: vector.Module, Data: sign(b.T, changed, "rsa2048", "sha256", false)},
				judge:  b.enforced,
			})
		}
	}
	end := uint64(len(plain))
	change("EI_CLASS", 4, 1, 0, 1, 3)
	change("EI_DATA", 5, 1, 0, 2, 3)
	change("EI_VERSION", 6, 1, 0)
	change("e_type", 16, 2, 0, 2, 3)
	change("e_version", 20, 4, 0)
	change("e_phoff", 32, 8, end)
	change("e_shoff", 40, 8, 0, 64, table+64, end-64, end, 1<<63)
	change("e_ehsize", 52, 2, 0)
	change("e_shentsize", 58, 2, 0, 40, 65)
	change("e_shnum", 60, 2, 0, 1, 2, count-1, count+1, 0xffff)
	change("e_shstrndx", 62, 2, 0, count-2, count, 0xffff)
	change("sh_type of 0", table+4, 4, 1, 8)
	change("sh_addr of 0", table+16, 8, 1)
	change("sh_offset of 0", table+24, 8, 1)
	change("sh_size of 0", table+32, 8, 1)
	for n := uint64(1); n < count; n += 3 {
		header := table + 64*n
		change(fmt.Sprint("sh_offset of ", n), header+24, 8, end, 1<<63)
		change(fmt.Sprint("sh_size of ", n), header+32, 8, end)
	}
	names := uint64(binary.LittleEndian.Uint16(plain[62:]))
	for n := range count {
		if n == names {
			header := table + 64*n
			change("the end of section names", binary.LittleEndian.Uint64(plain[header+24:])+binary.LittleEndian.Uint64(plain[header+32:])-1, 1, 1)
		}
		if series := b.kernel.Series; series == "6.12" || series == "6.18" {
			continue // not decided: 6.12.117 asks for the type, and 6.18.15 does not
		}
		if header := table + 64*n; binary.LittleEndian.Uint32(plain[header+4:]) == 3 {
			change(fmt.Sprint("sh_type of strings ", n), header+4, 4, 1)
		}
	}
}

// addTrailers changes each field of struct module_signature, and the marker.
func addTrailers(files map[string][]byte, good []byte) {
	at := len(good) - len(marker) - 12
	for field := range 8 {
		for _, value := range []byte{1, 2, 3, 255} {
			if good[at+field] != value {
				b := bytes.Clone(good)
				b[at+field] = value
				files[fmt.Sprintf("field %d is %d", field, value)] = b
			}
		}
	}
	size := binary.BigEndian.Uint32(good[at+8:])
	for _, other := range []uint32{0, 1, size - 1, size + 1, size * 2, uint32(at - 1), uint32(at), uint32(at + 1), uint32(len(good)), 1 << 31, 1<<32 - 1} {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint32(b[at+8:], other)
		files[fmt.Sprintf("sig_len is %d for %d", int64(other)-int64(size), size)] = b
	}
	b := bytes.Clone(good)
	b[len(b)-2] ^= 1
	files["marker broken"] = b
}

// loadCompressed loads compressed modules: through kmod, which decompresses what the
// kernel doesn't, and with finit_module where the kernel decompresses by itself: xz or
// nothing in Debian's, the rest is TestDecompress's.
func (b *bench) loadCompressed() {
	features := b.addKmod()
	option := map[string]string{".ko.xz": "XZ", ".ko.zst": "ZSTD", ".ko.gz": "GZIP"}
	feature := map[string]string{".ko.xz": "+XZ", ".ko.zst": "+ZSTD", ".ko.gz": "+ZLIB"}
	config := read(b.T, b.kernel.Config())
	has := func(name string) bool { return bytes.Contains(config, []byte("\nCONFIG_MODULE_"+name+"=y\n")) }
	plain := strip(b.T, b.kernel.Module(b.T, "dummy"))
	for _, suffix := range sorted(option) {
		itself := has("DECOMPRESS") && has("COMPRESS_"+option[suffix])
		kmod := strings.Contains(features, feature[suffix])
		b.Logf("%s: who decompresses %s: the kernel %v, kmod %v", b.kernel.Release, suffix, itself, kmod)
		for _, key := range []string{"rsa2048", "rsa3072"} {
			signed := sign(b.T, plain, key, "sha256", false)
			v := vector.Vector{Name: key + suffix, Kind: vector.Insmod, Data: compress(b.T, signed, suffix), Suffix: suffix}
			if kmod {
				b.trials = append(b.trials, trial{Vector: v, judge: b.enforced, inside: signed})
			}
			if itself {
				v.Kind, v.Flags = vector.Module, moduleCompressed
				b.trials = append(b.trials, trial{Vector: v, judge: b.enforced, inside: signed})
			}
		}
		if itself {
			b.loadContainers(suffix, sign(b.T, plain, "rsa2048", "sha256", false))
		}
	}
}

// loadContainers loads a good module, compressed in all the ways that people compress
// it: the kernel reads some of them.
func (b *bench) loadContainers(suffix string, signed []byte) {
	for what, data := range containers(b.T, suffix, signed) {
		v := vector.Vector{Name: what + suffix, Kind: vector.Module, Data: data, Flags: moduleCompressed}
		b.trials = append(b.trials, trial{Vector: v, judge: b.enforced, inside: signed})
	}
	for what, data := range damaged(compress(b.T, signed, suffix)) {
		v := vector.Vector{Name: what + suffix, Kind: vector.Module, Data: data, Flags: moduleCompressed}
		t := trial{Vector: v, judge: b.enforced}
		if _, err := t.foretell(); err == nil { // a window may be too large for us, or the file another's
			b.trials = append(b.trials, t)
		}
	}
}

// damaged are versions of a compressed file that kmod does not decompress, or not as the
// kernel does: cut, with something behind it, with a bit changed.
func damaged(file []byte) map[string][]byte {
	made := map[string][]byte{"twice": slices.Concat(file, file)}
	for _, behind := range []string{"\x00", "\x00\x00\x00", "\x00\x00\x00\x00", "junk", "\x50\x2a\x4d\x18\x01\x00\x00\x00x"} {
		made[fmt.Sprintf("%x behind", behind)] = append(slices.Clone(file), behind...)
	}
	for _, cut := range []int{1, 4, 8, 12, 20, 40, 100, len(file) / 2, len(file) - 12} {
		made[fmt.Sprintf("%d bytes cut off", cut)] = slices.Clone(file[:len(file)-cut])
	}
	for at := 6; at < len(file); at += max(1, min(at, len(file)-at)/4) { // most of them at the ends
		made[fmt.Sprintf("bit in byte %d", at)] = slices.Clone(file)
		made[fmt.Sprintf("bit in byte %d", at)][at] ^= 1 << (at % 8)
	}
	return made
}

// containers compresses by tools with options that the kernel's build does not use.
func containers(t testing.TB, suffix string, module []byte) map[string][]byte {
	t.Helper()
	made := map[string][]byte{}
	with := func(tool string, options ...string) {
		cmd := exec.Command(testenv.Tool(t, tool), append(options, "-c")...)
		cmd.Stdin = bytes.NewReader(module)
		data, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v", tool, options, err)
		}
		made[fmt.Sprint(options)] = data
	}
	switch suffix {
	case ".ko.xz":
		for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
			with("xz", "--check="+check)
		}
		for _, filter := range []string{"--x86", "--arm64", "--sparc", "--arm", "--x86=start=4096", "--delta"} {
			with("xz", "--check=crc32", filter, "--lzma2")
		}
		with("xz", "--check=crc32", "--x86", "--delta", "--lzma2")
		with("xz", "--check=crc32", "-0")
		with("xz", "--check=crc32", "-9e")
		with("xz", "--check=crc32", "--lzma2=dict=8MiB")
		with("xz", "--check=crc32", "--block-size=4096")
		with("xz", "--check=crc32", "-T2", "--block-size=8192")
	case ".ko.zst":
		with("zstd", "-1")
		with("zstd", "--no-check")
		with("zstd", "--ultra", "-22", "--long=27")
	case ".ko.gz":
		with("gzip", "-1")
		for what, header := range map[string]gzip.Header{
			"name": {Name: "dummy.ko"}, "comment": {Comment: "dummy"}, "extra": {Extra: []byte("dummy")},
			"name and comment": {Name: "dummy.ko", Comment: "dummy"},
		} {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			w.Header = header
			if _, err := w.Write(module); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			made[what] = packed.Bytes()
		}
	}
	return made
}

// addKmod puts this machine's kmod and its libraries into the virtual one, and
// returns what it was built with.
func (b *bench) addKmod() (features string) {
	kmod := testenv.Tool(b.T, "kmod")
	output, err := exec.Command(testenv.Tool(b.T, "ldd"), kmod).Output()
	if err != nil {
		b.Fatalf("ldd %s: %v", kmod, err)
	}
	b.files = append(b.files, vm.File{Name: "kmod", Data: read(b.T, kmod)})
	for _, word := range strings.Fields(string(output)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		name := filepath.Base(word)
		if strings.HasPrefix(name, "ld-linux") {
			name = vector.Loader
		}
		b.files = append(b.files, vm.File{Name: name, Data: read(b.T, word)})
	}
	version, err := exec.Command(kmod, "--version").Output()
	if err != nil {
		b.Fatalf("%s --version: %v", kmod, err)
	}
	return string(version)
}

// compress writes a module as the kernel's build does.
func compress(t testing.TB, module []byte, suffix string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dummy.ko")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	format, ok := compressed.Of("dummy" + suffix)
	if !ok {
		t.Fatalf("no format %s", suffix)
	}
	var out bytes.Buffer
	if err := format.Compress(context.Background(), &out, f); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
