package trust_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/test/testenv"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key is the path of a test key or its certificate.
func key(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../testdata/keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func readCertificate(t testing.TB, path string) *certificate.Certificate {
	t.Helper()
	c, err := certificate.First(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openssl runs the tool in a folder.
func openssl(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "openssl"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

// judge asks kernel 6.12 whether a ring's certificates verify a module.
func judge(t testing.TB, ring *kernel.Ring, module []byte) *kernel.Verdict {
	t.Helper()
	rules, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	v, err := kernel.NewJudge(rules, ring, kernel.Module).Module(bytes.NewReader(module), int64(len(module)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// vmlinux is an ELF header, code for the x86 filter to work on, a certificate that
// is in no list, and then the built-in list as certs/system_certificates.S lays it
// out.
func vmlinux(t *testing.T, order binary.AppendByteOrder, extra int, listed ...string) []byte {
	image := append([]byte("\x7fELF"), make([]byte, 60)...)
	for i := range 20000 {
		image = append(image, 0xe8, byte(i), byte(i>>8), 0, 0, 0x90, 0x90)
	}
	image = append(image, readCertificate(t, key(t, "rsa3072.pem")).Raw...)
	for len(image)%8 != 0 {
		image = append(image, 0)
	}
	var list []byte
	first := 0
	for i, name := range listed {
		if list = append(list, readCertificate(t, name).Raw...); i == 0 {
			first = len(list)
		}
	}
	size := len(list)
	if extra > 0 {
		list = append(list, make([]byte, extra)...)
		for len(list)%4 != 0 {
			list = append(list, 0)
		}
		list = append(list, 0, 0, 0, 0)
	}
	for len(list)%8 != 0 {
		list = append(list, 0)
	}
	image = append(image, list...)
	image = order.AppendUint64(image, uint64(size))
	image = order.AppendUint64(image, uint64(first))
	return append(image, bytes.Repeat([]byte("\xe8code"), 1000)...)
}

// compress runs a tool of the kernel's build (scripts/Makefile.lib), and appends
// the size as it does.
func compress(t *testing.T, image []byte, tool string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, tool), args...)
	cmd.Stdin = bytes.NewReader(image)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if tool == "gzip" {
		return out // the format has the size at its end
	}
	return binary.LittleEndian.AppendUint32(out, uint32(len(image)))
}

// bzImage wraps a payload as Documentation/arch/x86/boot.rst has it.
func bzImage(payload []byte) []byte {
	const setup, stub = 3, 300
	image := make([]byte, (setup+1)*512+stub)
	copy(image, "MZ")
	image[0x1f1] = setup
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(image[0x248:], stub)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(payload)))
	return slices.Concat(image, payload, make([]byte, 1000))
}

// zboot wraps one as drivers/firmware/efi/libstub/zboot-header.S does.
func zboot(payload []byte) []byte {
	image := make([]byte, 512)
	copy(image, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(image[8:], uint32(len(image)))
	binary.LittleEndian.PutUint32(image[12:], uint32(len(payload)))
	return append(image, payload...)
}

// load writes a file and trusts what is in it.
func load(t *testing.T, content []byte) (*kernel.Ring, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ring := new(kernel.Ring)
	_, err := trust.Load(ring, file)
	return ring, err
}

func TestImages(t *testing.T) {
	rsa, ec := key(t, "rsa2048.pem"), key(t, "p384.pem")
	plain := vmlinux(t, binary.LittleEndian, 0, rsa, ec)
	raw := slices.Clone(plain)
	clear(raw[:4])
	copy(raw[0x38:], "ARM\x64")
	for name, image := range map[string]func(*testing.T) []byte{
		"vmlinux":      func(*testing.T) []byte { return plain },
		"big-endian":   func(t *testing.T) []byte { return vmlinux(t, binary.BigEndian, 0, rsa, ec) },
		"extra space":  func(t *testing.T) []byte { return vmlinux(t, binary.LittleEndian, 4096, rsa, ec) },
		"uncompressed": func(*testing.T) []byte { return bzImage(plain) },
		"gzip":         func(t *testing.T) []byte { return bzImage(compress(t, plain, "gzip", "-n", "-9")) },
		"bzip2":        func(t *testing.T) []byte { return bzImage(compress(t, plain, "bzip2", "-9")) },
		"lzma":         func(t *testing.T) []byte { return bzImage(compress(t, plain, "xz", "--format=lzma", "-9")) },
		"xz": func(t *testing.T) []byte {
			return bzImage(compress(t, plain, "xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB"))
		},
		"lz4":             func(t *testing.T) []byte { return bzImage(compress(t, plain, "lz4", "-l", "-9", "-c")) },
		"zstd":            func(t *testing.T) []byte { return bzImage(compress(t, plain, "zstd", "-22", "--ultra")) },
		"zboot":           func(t *testing.T) []byte { return zboot(compress(t, raw, "zstd", "-19")) },
		"Image.gz, arm64": func(t *testing.T) []byte { return compress(t, raw, "gzip", "-n") },
		"Image, arm64":    func(*testing.T) []byte { return raw },
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := load(t, image(t))
			if err != nil {
				t.Fatal(err)
			}
			if ring.Size() != 2 {
				t.Errorf("%d certificates, want 2", ring.Size())
			}
			if v := judge(t, ring, read(t, "../../testdata/golden/hello-rsa2048-sha256.ko")); !v.Accepted {
				t.Errorf("refused: %s", v.Reason)
			}
		})
	}
}

// TestBadImages end in an error, which says so.
func TestBadImages(t *testing.T) {
	plain := vmlinux(t, binary.LittleEndian, 0, key(t, "rsa2048.pem"))
	packed := bzImage(compress(t, plain, "gzip", "-n"))
	lz4 := compress(t, plain, "lz4", "-l", "-c")
	for name, image := range map[string][]byte{
		"no list":            vmlinux(t, binary.LittleEndian, 0),
		"truncated":          packed[:len(packed)/2],
		"damaged gzip":       changed(packed, 3000, 0),
		"unknown payload":    bzImage([]byte("not a payload")),
		"empty payload":      bzImage(nil),
		"LZ4 cut short":      bzImage(lz4[:20]),
		"LZ4 of nothing":     bzImage(lz4[:4]),
		"LZ4 far match":      bzImage([]byte("\x02\x21\x4c\x18\x05\x00\x00\x00\x10a\xff\xff\x00")),
		"zstd of five bytes": bzImage([]byte("\x28\xb5\x2f\xfd\x00")),
		"zstd magic":         bzImage([]byte("\x28\xb5\x2f\xfd")),
	} {
		t.Run(name, func(t *testing.T) {
			if ring, err := load(t, image); err == nil {
				t.Errorf("no error, and %d certificates", ring.Size())
			}
		})
	}
}

// kernels are what test/kernel/fetch.sh has unpacked of Debian's packages.
func kernels(t *testing.T) map[string]string {
	t.Helper()
	cache := os.Getenv("SIGN_FILE_KERNEL_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache/sign-file/kernels")
	}
	found, err := filepath.Glob(filepath.Join(cache, "*/vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 2 {
		testenv.Missing(t, "two Debian kernels (test/kernel/fetch.sh)")
	}
	images := map[string]string{}
	for _, image := range found {
		release := strings.TrimSpace(string(read(t, filepath.Join(filepath.Dir(image), "release"))))
		images[release] = image
	}
	return images
}

// TestDebianKernels: each module of a kernel package verifies with the certificates
// in the image of the same package, packed or not, and with no other's.
func TestDebianKernels(t *testing.T) {
	images := kernels(t)
	rings := map[string]*kernel.Ring{}
	for release, image := range images {
		for _, file := range []string{"vmlinuz", "vmlinux"} {
			ring := new(kernel.Ring)
			if _, err := trust.Load(ring, filepath.Join(filepath.Dir(image), file)); err != nil {
				t.Fatal(err)
			}
			rings[file+" of "+release] = ring
		}
	}
	for release, image := range images {
		modules, err := filepath.Glob(filepath.Join(filepath.Dir(image), "*.ko"))
		if err != nil || len(modules) == 0 {
			t.Fatalf("%s: no module (%v)", release, err)
		}
		for name, ring := range rings {
			for _, module := range modules {
				if v := judge(t, ring, read(t, module)); v.Accepted != strings.HasSuffix(name, " of "+release) {
					t.Errorf("%s with the %s: accepted %v (%s)", module, name, v.Accepted, v.Reason)
				}
			}
		}
	}
}

// TestSources: what else --trusted takes.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", key(t, "rsa2048.pem"), "-certfile", key(t, "p384.pem"), "-outform", "DER", "-out", "bundle.p7b")
	openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", key(t, "rsa2048.pem"), "-certfile", key(t, "p384.pem"), "-out", "bundle.pem")
	for name, content := range map[string][]byte{
		"PEM":                    slices.Concat(read(t, key(t, "rsa2048.pem")), read(t, key(t, "p384.pem"))),
		"DER, one after another": slices.Concat(read(t, key(t, "rsa2048.x509")), read(t, key(t, "p384.x509"))),
		"PKCS#7, DER":            read(t, filepath.Join(dir, "bundle.p7b")),
		"PKCS#7, PEM":            read(t, filepath.Join(dir, "bundle.pem")),
		"efivarfs' db":           slices.Concat([]byte{0x27, 0, 0, 0}, signatureList(x509List, read(t, key(t, "rsa2048.x509"))), signatureList(x509List, read(t, key(t, "p384.x509")))),
		"EFI signature lists":    slices.Concat(signatureList(x509List, read(t, key(t, "rsa2048.x509"))), signatureList(sha256List, make([]byte, 32)), signatureList(x509List, read(t, key(t, "p384.x509")))),
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := load(t, content)
			if err != nil {
				t.Fatal(err)
			}
			if ring.Size() != 2 {
				t.Errorf("%d certificates, want 2", ring.Size())
			}
		})
	}
	for name, content := range map[string][]byte{"nothing": nil, "text": []byte("hello\n"), "a key": read(t, key(t, "rsa2048.key")), "a dbx": signatureList(sha256List, make([]byte, 32))} {
		if _, err := load(t, content); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// withSerial is the test certificate with another serial number, signed again: one that the
// kernel takes and OpenSSL does not, if the number is not minimal.
func withSerial(t *testing.T, serial string) []byte {
	t.Helper()
	der := cryptobyte.String(readCertificate(t, key(t, "rsa2048.x509")).Raw)
	var outer, tbs, version, old, algorithm cryptobyte.String
	block, _ := pem.Decode(read(t, key(t, "rsa2048.key")))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil || !der.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&tbs, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&version, cbasn1.Tag(0).ContextSpecific().Constructed()) || !tbs.ReadASN1Element(&old, cbasn1.INTEGER) {
		t.Fatal("not the certificate that this test knows: ", err)
	}
	sequence := func(parts ...[]byte) []byte {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
		return b.BytesOrPanic()
	}
	signed := sequence(version, append([]byte{2, byte(len(serial))}, serial...), tbs)
	sum := sha512.Sum512(signed)
	value, err := rsa.SignPKCS1v15(nil, parsed.(*rsa.PrivateKey), crypto.SHA512, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sequence(signed, algorithm, append([]byte{3, 0x82, byte((len(value) + 1) >> 8), byte(len(value) + 1), 0}, value...))
}

// TestOddCertificates: what booted kernels take (leading zeros in a serial number, none at
// all) is trusted, whatever stricter parsers make of it; what they refuse ends nothing. The
// module's signature names the signer by its key identifier.
func TestOddCertificates(t *testing.T) {
	good, module := read(t, key(t, "p384.x509")), read(t, "../../testdata/golden/hello-rsa2048-sha256-k.ko")
	zeros, empty, inner := withSerial(t, "\x00\x00\x01"), withSerial(t, ""), append([]byte("\x30\x82\x01\x00"), bytes.Repeat([]byte{1}, 256)...)
	if _, err := certificate.Parse(zeros); err == nil {
		t.Fatal("the certificate is not odd")
	}
	image := func(list ...[]byte) []byte {
		b := append([]byte("\x7fELF"), make([]byte, 60)...)
		all := slices.Concat(list...)
		b = append(b, all...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, uint64(len(all))), uint64(len(list[0])))
	}
	pemOf := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	for name, c := range map[string]struct {
		content  []byte
		trusted  int
		accepted bool
		noted    string
	}{
		"leading zeros":         {zeros, 1, true, ""},
		"no serial number":      {empty, 1, true, ""},
		"in PEM":                {slices.Concat(pemOf(good), pemOf(zeros)), 2, true, ""},
		"a bad one in PEM":      {slices.Concat(pemOf(good), pemOf(inner), pemOf(zeros)), 2, true, "certificate 2"},
		"among others":          {slices.Concat(good, zeros), 2, true, ""},
		"behind a bad one":      {slices.Concat(inner, zeros), 1, true, "certificate 1"},
		"behind junk":           {slices.Concat(good, []byte("junk"), zeros), 1, false, "behind certificate 1"},
		"a line end":            {slices.Concat(zeros, []byte("\n")), 1, true, ""},
		"built in":              {image(good, zeros), 2, true, ""},
		"built in, bad between": {image(good, inner, zeros), 2, true, "certificate 2"},
		"built in, then junk":   {image(zeros, []byte("junk"), good), 1, true, "no further"},
		"built in, after junk":  {image(good, []byte("junk"), zeros), 1, false, "no further"},
		"built in, too long":    {image(zeros, []byte("\x30\x82\xff\xff"), good), 1, true, "no further"},
		"built in, a short one": {image(zeros, []byte("\x30\x03\x02\x01\x01"), good), 1, true, "certificate 2"},
		"UEFI's db":             {slices.Concat(signatureList(x509List, inner), signatureList(x509List, zeros)), 1, true, "EFI signature list"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			ring := new(kernel.Ring)
			notes, err := trust.Load(ring, file)
			if err != nil {
				t.Fatal(err)
			}
			told := strings.Join(notes, "\n")
			if ring.Size() != c.trusted || (c.noted == "") != (told == "") || !strings.Contains(told, c.noted) {
				t.Errorf("%d certificates and %q, want %d and %q", ring.Size(), told, c.trusted, c.noted)
			}
			if v := judge(t, ring, module); v.Accepted != c.accepted {
				t.Errorf("accepted %v (%s)", v.Accepted, v.Reason)
			}
		})
	}
}

// Types of EFI signature lists (UEFI specification, section 32.4.1).
const (
	x509List   = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
	sha256List = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
)

// signatureList has one entry.
func signatureList(kind string, data []byte) []byte {
	b := []byte(kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(28+16+len(data)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(16+len(data)))
	return slices.Concat(b, make([]byte, 16), data)
}

// FuzzSources: whatever a file holds, it ends in certificates or an error.
func FuzzSources(f *testing.F) {
	f.Add(read(f, key(f, "rsa2048.pem")))
	f.Add(signatureList(x509List, read(f, key(f, "p256.x509"))))
	f.Add(bzImage([]byte("\x02\x21\x4c\x18\x05\x00\x00\x00\x50hello")))
	f.Add(bzImage([]byte("\x02\x21\x4c\x18\x08\x00\x00\x00\x1fa\x01\x00\xff\x00\x10b")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ring := new(kernel.Ring)
		if _, err := trust.Load(ring, file); err == nil && ring.Size() == 0 {
			t.Error("neither a certificate nor an error")
		}
	})
}

// What a module brings with it does not vouch for it: neither a list laid out as a
// kernel's, nor the certificate in its signature.
func TestNoSourceOfTrust(t *testing.T) {
	module := vmlinux(t, binary.LittleEndian, 0, key(t, "rsa2048.pem"))
	if _, err := load(t, module); err != nil {
		t.Fatal(err) // it is the type alone that differs
	}
	for _, order := range [][]byte{{1, 0}, {0, 1}} {
		copy(module[16:], order)
		if ring, err := load(t, module); !errors.Is(err, trust.ErrModule) || ring.Size() != 0 {
			t.Errorf("a module: %v, %d certificates", err, ring.Size())
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("a module"), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl(t, dir, "cms", "-sign", "-binary", "-in", "data", "-outform", "DER", "-out", "data.p7s", "-signer", key(t, "rsa2048.pem"), "-inkey", key(t, "rsa2048.key"))
	if ring, err := load(t, read(t, filepath.Join(dir, "data.p7s"))); !errors.Is(err, trust.ErrMessage) || ring.Size() != 0 {
		t.Errorf("a signature: %v, %d certificates", err, ring.Size())
	}
}

// Images that want more time or memory than there is in them.
func TestHostileImages(t *testing.T) {
	var scanned []byte // each place may begin a list that all that follows is in
	for len(scanned) < 4<<20 {
		scanned = append(scanned, 0x30, 0x82, 0, 4, 0x30, 0, 0, 0)
	}
	bomb := new(bytes.Buffer)
	packer := gzip.NewWriter(bomb)
	for range 300 {
		packer.Write(make([]byte, 1<<20))
	}
	packer.Close()
	for name, c := range map[string]struct {
		image []byte
		says  string
	}{
		"lists":           {append([]byte("\x7fELF"), make([]byte, 60)...), "no list"},
		"many lists":      {append(append([]byte("\x7fELF"), make([]byte, 60)...), scanned...), "too much"},
		"a bomb":          {bomb.Bytes(), "larger than 256 MiB"},
		"LZMA dictionary": {zboot(append([]byte("\x5d\x00\x00\x00\x80"), make([]byte, 64)...)), "dictionary"},
	} {
		if _, err := load(t, c.image); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func changed(b []byte, at int, to byte) []byte {
	b = slices.Clone(b)
	b[at] = to
	return b
}
