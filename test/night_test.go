package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestNothingVouchesForItself: neither a signature in any coding nor a module in any wrapping
// is a source of trust for what lies beside it.
func TestNothingVouchesForItself(t *testing.T) {
	hello, key, cert := string(readFile(t, "../testdata/hello.ko")), absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	sign := "openssl cms -sign -binary -noattr -in m.ko -signer " + cert + " -inkey " + key + " "
	for what, line := range map[string]string{
		"DER":                 sign + "-outform DER -out m.ko.p7s",
		"a byte behind":       sign + "-outform DER -out m.ko.p7s && printf '\\0' >> m.ko.p7s",
		"PEM, CMS":            sign + "-outform PEM -out README",
		"PEM, PKCS7":          sign + "-outform DER -out x && openssl pkcs7 -inform DER -in x -out m.ko.sig && rm x",
		"BER":                 sign + "-stream -outform DER -out m.ko.p7s",
		"a gzipped module":    program(t) + " sign --quiet --include-cert sha256 " + key + " " + cert + " m.ko && gzip -k m.ko",
		"a certificate first": "cat " + cert + " m.ko > n && " + program(t) + " sha256 " + key + " " + cert + " n",
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "m.ko"), hello, 0o644)
		mustRun(t, nil, "sh", "-c", "cd "+dir+" && "+line)
		mustRun(t, nil, program(t), "sign", "--replace", "--quiet", "sha256", key, cert, filepath.Join(dir, "m.ko"))
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		sources := []string{dir}
		for _, entry := range entries {
			sources = append(sources, filepath.Join(dir, entry.Name()))
		}
		for _, source := range sources {
			if out, status := verify(t, "--trusted", source, filepath.Join(dir, "m.ko")); status == 0 {
				t.Errorf("%s, --trusted %s: %s", what, filepath.Base(source), out)
			}
		}
	}
	// The evil module of the cases, which is laid out like an image, compressed.
	packed := filepath.Join(t.TempDir(), "evil.ko.gz")
	mustRun(t, nil, "sh", "-c", "gzip -c "+cases+"/self-trust/evil.ko >"+packed)
	if out, status := verify(t, "--trusted", packed, cases+"/self-trust/evil.ko"); status == 0 {
		t.Errorf("%s", out)
	}
}

// TestNoModules: a good signature does not make a module of what is none, as kmod sees too.
func TestNoModules(t *testing.T) {
	dir := t.TempDir()
	hello := readFile(t, "../testdata/hello.ko")
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"cut.ko":     {hello[:5000], "cut"},
		"header.ko":  {hello[:40], "cut"},
		"program.ko": {readFile(t, "/bin/true"), "no relocatable ELF file"},
		"text.ko":    {bytes.Repeat([]byte("text"), 100), "no ELF file"},
		"whole.ko":   {hello, ""},
	} {
		path := filepath.Join(dir, name)
		writeFile(t, path, string(c.content), 0o644)
		mustRun(t, nil, program(t), "sha256", keys+"/rsa2048.key", keys+"/rsa2048.pem", path)
		out, _ := verify(t, "--json", "--trusted="+keys+"/rsa2048.pem", path)
		var v struct {
			Loads     bool
			NoModule  string `json:"no_module"`
			LoadErrno string `json:"load_errno"`
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatal(err)
		}
		if v.Loads != (c.says == "") || !strings.Contains(v.NoModule, c.says) || c.says != "" && v.LoadErrno != "ENOEXEC" {
			t.Errorf("%s: %s", name, out)
		}
		if _, err := run(t, nil, "modinfo", path); (err == nil) != (c.says == "") && name != "program.ko" {
			t.Errorf("modinfo says otherwise of %s: %v", name, err)
		}
	}
}

// TestWrongSuffix: a name that says another compression than the file has.
func TestWrongSuffix(t *testing.T) {
	// kmod and kernels go by what they see: 6.12 reads xz by itself, but for this checksum.
	for name, c := range map[string]struct{ make, strip, verify string }{
		"plain.ko.xz":   {"cat", "not compressed", "not compressed"},
		"xz.ko.gz":      {"xz -c", "end with .ko.xz", "CRC64"},
		"zst.ko.xz":     {"zstd -qc", "end with .ko.zst", "end with .ko.zst"},
		"nothing.ko.xz": {"true", "empty", "empty"},
	} {
		testenv.Tool(t, strings.Fields(c.make)[0])
		path := filepath.Join(t.TempDir(), name)
		mustRun(t, nil, "sh", "-c", c.make+" <"+golden+"/hello-rsa2048-sha256.ko >"+path)
		for _, args := range [][]string{{"strip", path}, {"verify", "--kernel", "6.12", "--trusted=" + keys + "/rsa2048.pem", path}} {
			out, err := run(t, nil, program(t), args...)
			says := map[string]string{"strip": c.strip, "verify": c.verify}[args[0]]
			if err == nil || !strings.Contains(out, says) || strings.Contains(out, "truncate") {
				t.Errorf("%s, %s: %v\n%s", name, args[0], err, out)
			}
		}
	}
}

// TestIssuerIsNotSigner: an authority's certificate where the signer's own is wanted, and
// one of another name.
func TestIssuerIsNotSigner(t *testing.T) {
	out, status := verify(t, "--trusted="+keys+"/odd/ca.pem", golden+"/hello-issued-by-ca-sha256.ko")
	if _, err := os.Stat(golden + "/hello-issued-by-ca-sha256.ko"); err != nil {
		ko := filepath.Join(t.TempDir(), "m.ko")
		mustRun(t, nil, program(t), "sha256", keys+"/rsa2048.key", keys+"/odd/issued-by-ca.pem", "../testdata/hello.ko", ko)
		out, status = verify(t, "--trusted="+keys+"/odd/ca.pem", ko)
	}
	if status != 1 || !strings.Contains(out, "has issued that of the signer") || !strings.Contains(out, "--include-cert") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// TestUndecidedWithoutKeys: what needs no key is decided without one, and what does is not
// refused for a key that may be there.
func TestUndecidedWithoutKeys(t *testing.T) {
	if _, err := os.Stat("/boot/vmlinuz-" + strings.TrimSpace(mustRun(t, nil, "uname", "-r"))); err == nil {
		t.Skip("this machine's kernel image is readable")
	}
	for file, status := range map[string]int{"../testdata/hello.ko": 1, cases + "/modules/xz-crc64.ko.xz": 1, golden + "/hello-rsa2048-sha256.ko": 3} {
		if out, got := verify(t, file); got != status {
			t.Errorf("%s: exit %d, want %d\n%s", file, got, status, out)
		}
	}
}

// TestMistypedWords: the first word is judged before any file is.
func TestMistypedWords(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{"signn sha256 k.pem c.der m.ko", "did you mean sign?"}, {"verifyy a b c", "did you mean verify?"}, {"explian a b c", "did you mean explain?"},
		{"stp.ko sha256 k c", `no command "stp.ko"`}, {"../testdata/hello.ko a b", "the hash algorithm comes first"},
	} {
		out, err := run(t, nil, program(t), strings.Fields(c.line)...)
		if first, _, _ := strings.Cut(out, "\n"); err == nil || !strings.Contains(first, c.says) {
			t.Errorf("%s: %v\n%s", c.line, err, out)
		}
	}
	for _, flag := range []string{"--help", "--version"} {
		help := mustRun(t, nil, program(t), "--help")
		if !strings.Contains(help, flag) {
			t.Errorf("no %s in\n%s", flag, help)
		}
		mustRun(t, nil, program(t), flag)
	}
	if help := mustRun(t, nil, program(t), "--help"); strings.Contains(help, ", -h") || strings.Contains(help, ", -v") {
		t.Errorf("--help lists what does not work:\n%s", help)
	}
	mustRun(t, nil, program(t), "help", "version")
}

// TestReferenceIsThere: the advice for who has no key is none for who has one.
func TestReferenceIsThere(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/key.ref", "sign-file key reference\nkey exec:./none\n", 0o600)
	out, err := run(t, nil, program(t), "sha256", dir+"/key.ref", absolute(t, keys+"/rsa2048.pem"), "../testdata/hello.ko", dir+"/out.ko")
	if err == nil || !strings.Contains(out, dir+"/none") || strings.Contains(out, "keygen") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTerminatedBetweenNames: a signal that comes when the new file has its temporary name,
// and not yet its own, leaves none behind.
func TestTerminatedBetweenNames(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "strace")
	for _, verb := range []string{"strip m.ko n.ko", "strip .", "attach --signature sig --cert KEY.x509 --hash sha256 plain.ko", "sign --replace sha256 KEY.key KEY.x509 ."} {
		dir := t.TempDir()
		key := absolute(t, keys+"/rsa2048")
		for _, name := range []string{"m.ko", "n.ko"} {
			mustRun(t, nil, "cp", golden+"/hello-rsa2048-sha256.ko", filepath.Join(dir, name))
		}
		mustRun(t, nil, "cp", "../testdata/hello.ko", filepath.Join(dir, "plain.ko"))
		mustRun(t, nil, "openssl", "dgst", "-sha256", "-sign", key+".key", "-out", filepath.Join(dir, "sig"), "../testdata/hello.ko")
		args := append([]string{"-C", dir, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:signal=SIGTERM", program(t)},
			strings.Fields(strings.ReplaceAll(verb, "KEY", key))...)
		// It may have been done before it heard of the signal.
		if out, err := run(t, nil, "env", args...); out != "" && !strings.Contains(out, "left as they were") && !strings.Contains(out, " 0 failed") {
			t.Errorf("%s: %v\n%s", verb, err, out)
		}
		checkNames(t, dir, "m.ko", "n.ko", "plain.ko", "sig")
	}
}
