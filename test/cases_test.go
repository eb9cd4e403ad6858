package test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

const cases = "../testdata/cases"

// TestCases: small inputs that went wrong for people, and what they must be told. Who is
// right about each of them stands in testdata/cases/README.md.
func TestCases(t *testing.T) {
	trusted := func(name string) string { return "--trusted=" + cases + "/certificates/" + name }
	module := func(name string) string { return cases + "/modules/" + name }
	for _, c := range []struct {
		args   string
		status int
		says   []string
	}{
		{trusted("signer.der") + " " + module("xz-crc64.ko.xz"), 1, []string{"EINVAL", "CRC64", "decompression failed with status 6", "xz --check=crc32"}},
		{"--kernel 6.1 " + trusted("signer.der") + " " + module("xz-crc64.ko.xz"), 0, []string{"verified", "beware", "CRC64"}},
		{trusted("signer.der") + " " + module("xz-dictionary-8m.ko.xz"), 0, []string{"verified"}},
		{trusted("signer.der") + " " + module("short-signature.ko"), 1, []string{"255 bytes instead of 256", "zero byte", "EKEYREJECTED"}},
		{"--usage firmware " + trusted("signer.der") + " " + module("firmware"), 1, []string{"must have signed attributes", "sign it with attributes"}},
		{"--usage firmware " + trusted("signer.der") + " " + module("firmware-attributes"), 0, []string{"verified"}},
		{trusted("leaf.pem") + " " + module("leaf-issuer.ko"), 0, []string{"signed by CN=Leaf", "issuer CN=RootCA, serial 05"}},
		{trusted("leaf.pem") + " " + module("leaf-keyid.ko"), 0, []string{"signed by CN=Leaf", "key identifier C2:AA"}},
		{trusted("same-name.der") + " " + module("same-name-other-key.ko"), 1, []string{"ENOKEY", "the same name", "another key"}},
		{trusted("brainpool.pem") + " " + module("brainpool-signed.ko"), 1, []string{"brainpoolP256r1", "does not take into a keyring", "sign-file keygen"}},
		{trusted("clash-1.pem") + " " + trusted("clash-2.pem") + " " + module("clash-2.ko"), 3, nil},
		{trusted("clash-2.pem") + " " + trusted("clash-1.pem") + " " + module("clash-2.ko"), 3, nil},
		{trusted("clash-2.pem") + " " + module("clash-2.ko"), 0, []string{"verified"}},
		{"--trusted=" + cases + "/self-trust " + cases + "/self-trust/evil.ko", 1, []string{"ENOKEY"}},
	} {
		args := strings.Fields(c.args)
		if args[0] == "--kernel" {
			args = append(args[2:], args[:2]...) // the later one counts
		}
		out, status := verify(t, args...)
		if status != c.status {
			t.Errorf("%s: exit %d, want %d\n%s", c.args, status, c.status, out)
		}
		for _, says := range c.says {
			if !strings.Contains(out, says) {
				t.Errorf("%s: not a word of %q:\n%s", c.args, says, out)
			}
		}
	}
}

// TestUnusableIsNotEnrolled: the warning about a certificate and the advice about what it
// signed say the same.
func TestUnusableIsNotEnrolled(t *testing.T) {
	dir := t.TempDir()
	for name, request := range map[string]string{
		"pss": "-newkey rsa:2048 -sigopt rsa_padding_mode:pss -sha256",
		"md5": "-newkey rsa:2048 -md5",
	} {
		key, cert, ko := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".ko")
		mustRun(t, nil, "openssl", append(strings.Fields("req -x509 -nodes -subj /CN="+name+" -keyout "+key+" -out "+cert), strings.Fields(request)...)...)
		mustRun(t, nil, program(t), "sha256", key, cert, "../testdata/hello.ko", ko)
		out, status := verify(t, "--trusted", cert, ko)
		if status != 1 || !strings.Contains(out, "does not take into a keyring") || strings.Contains(out, "mokutil") {
			t.Errorf("%s: exit %d\n%s", name, status, out)
		}
	}
}

// TestContainerMended: sign writes xz that kernels read, by the tool's own account.
func TestContainerMended(t *testing.T) {
	testenv.Tool(t, "xz")
	for _, path := range []string{os.Getenv("PATH"), t.TempDir()} { // with the tool, and in Go
		ko := filepath.Join(t.TempDir(), "m.ko.xz")
		writeFile(t, ko, string(readFile(t, cases+"/modules/xz-crc64.ko.xz")), 0o644)
		env := []string{"PATH=" + path}
		key, cert := cases+"/keys/signer.pem", cases+"/certificates/signer.der"
		out, err := run(t, env, program(t), "sign", "--unsigned-only", "sha256", key, cert, ko)
		if err != nil || !strings.Contains(out, "warning: "+ko) || !strings.Contains(out, "CRC64") {
			t.Errorf("--unsigned-only: %v\n%s", err, out)
		}
		out = mustRun(t, env, program(t), "sign", "--unsigned-only", "--json", "--quiet", "sha256", key, cert, ko)
		var report struct {
			Problem string `json:"container_problem"`
		}
		if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &report); err != nil || report.Problem == "" {
			t.Errorf("--json: %v\n%s", err, out)
		}
		mustRun(t, env, program(t), "sign", "--replace", "sha256", key, cert, ko)
		if list := mustRun(t, nil, "xz", "--robot", "--list", ko); !strings.Contains(list, "CRC32") || strings.Contains(list, "CRC64") {
			t.Errorf("signed anew, it is\n%s", list)
		}
	}
}

// TestDamagedTrailer: what hides a signature is told, not signed over, and the advice
// brings the file back that the kernel's sign-file made.
func TestDamagedTrailer(t *testing.T) {
	signed := readFile(t, golden+"/hello-rsa2048-sha256.ko")
	key := []string{"sha256", keys + "/rsa2048.key", keys + "/rsa2048.pem"}
	for what, damaged := range map[string][]byte{
		"a line end": append(slices.Clone(signed), '\n'), "padded": append(slices.Clone(signed), make([]byte, 1000)...), "cut": signed[:len(signed)-1],
	} {
		ko := filepath.Join(t.TempDir(), "m.ko")
		writeFile(t, ko, string(damaged), 0o644)
		for _, flags := range [][]string{{"--unsigned-only"}, {}} {
			args := append(append([]string{"sign"}, flags...), append(key, ko)...)
			if out, err := run(t, nil, program(t), args...); err == nil || !strings.Contains(out, "its signature is") {
				t.Errorf("%s, sign %v: %v\n%s", what, flags, err, out)
			}
		}
		if !bytes.Equal(readFile(t, ko), damaged) {
			t.Errorf("%s: the module was changed", what)
		}
		out, status := verify(t, "--trusted="+keys+"/rsa2048.pem", ko)
		if status != 1 || !strings.Contains(out, "its signature is") {
			t.Errorf("%s, verify: exit %d\n%s", what, status, out)
		}
		advice := regexp.MustCompile(`truncate -s \d+`).FindString(out)
		if what == "cut" {
			continue
		}
		mustRun(t, nil, "sh", "-c", advice+" "+ko)
		if !bytes.Equal(readFile(t, ko), signed) {
			t.Errorf("%s: %s does not bring the signed module back", what, advice)
		}
	}
}

// TestFirmwareAdvice follows the advice for a firmware without attributes.
func TestFirmwareAdvice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fw")
	writeFile(t, file, string(readFile(t, "../testdata/value.bin")), 0o644)
	signed := filepath.Join(dir, "signed")
	mustRun(t, nil, program(t), "sha256", keys+"/rsa2048.key", keys+"/rsa2048.pem", file, signed)
	out, _ := verify(t, "--usage", "firmware", "--trusted="+keys+"/rsa2048.pem", signed)
	command := regexp.MustCompile(`\((openssl cms .*), then sign-file (-s .*)\);`).FindStringSubmatch(out)
	if command == nil {
		t.Fatalf("no command:\n%s", out)
	}
	fill := strings.NewReplacer("<x509>", keys+"/rsa2048.pem", "<key>", keys+"/rsa2048.key", "<file>", file, "<message>", file+".der")
	mustRun(t, nil, "sh", "-c", fill.Replace(command[1]))
	mustRun(t, nil, "sh", "-c", program(t)+" "+fill.Replace(command[2]))
	if out, status := verify(t, "--usage", "firmware", "--trusted="+keys+"/rsa2048.pem", file); status != 0 {
		t.Errorf("exit %d\n%s", status, out)
	}
}

// TestVerifyDetached judges bare messages, of all usages, by the kernel's sign-file.
func TestVerifyDetached(t *testing.T) {
	trusted, message := "--trusted="+keys+"/rsa2048.pem", golden+"/rsa2048-sha256.p7s"
	for _, usage := range []string{"module", "map", "bpf"} {
		if out, status := verify(t, trusted, "--usage", usage, "--signature", message, "../testdata/hello.ko"); status != 0 {
			t.Errorf("%s: exit %d\n%s", usage, status, out)
		}
	}
	if out, status := verify(t, trusted, "--signature", message, "../testdata/value.bin"); status != 1 || !strings.Contains(out, "EKEYREJECTED") {
		t.Errorf("another file: exit %d\n%s", status, out)
	}
	inPEM := filepath.Join(t.TempDir(), "m.pem")
	mustRun(t, nil, "openssl", "pkcs7", "-inform", "der", "-in", message, "-out", inPEM)
	for bad, says := range map[string]string{inPEM: "-outform DER", keys + "/rsa2048.pem": "a certificate", filepath.Join(t.TempDir(), "none"): "no such file"} {
		out, err := run(t, nil, program(t), "verify", trusted, "--signature", bad, "../testdata/hello.ko")
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %v\n%s", bad, err, out)
		}
	}
	if out := mustRun(t, nil, program(t), "inspect", message); !strings.Contains(out, "a bare PKCS#7 message") || !strings.Contains(out, "RSA-2048") {
		t.Errorf("inspect:\n%s", out)
	}
}

// TestVerifyDetachedAsAttached: of a module and a message apart, what is said is what the
// kernel's sign-file makes of them with -s, and what is said of that.
func TestVerifyDetachedAsAttached(t *testing.T) {
	dir := t.TempDir()
	empty, short := filepath.Join(dir, "empty"), filepath.Join(dir, "short")
	writeFile(t, empty, "", 0o644)
	writeFile(t, short, "x", 0o644)
	type report struct {
		Accepted, Loads, Taints bool
		Errno, Cause, Reason    string
		LoadErrno               string `json:"load_errno"`
		NoModule                string `json:"no_module"`
	}
	judged := func(file string, flags ...string) (r report) {
		t.Helper()
		out, _ := verify(t, append(append([]string{"--json"}, flags...), file)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r
	}
	module := filepath.Join(dir, "module")
	writeFile(t, module, string(readFile(t, "../testdata/hello.ko")), 0o644)
	for _, file := range []string{module, empty, short} {
		for _, key := range []string{"rsa2048", "p384"} { // a trusted one, and another
			apart, attached := file+".p7s", filepath.Join(dir, "attached")
			mustRun(t, nil, testenv.SignFile(t), "-d", "sha256", keys+"/"+key+".key", keys+"/"+key+".x509", file)
			mustRun(t, nil, testenv.SignFile(t), "-s", apart, "sha256", keys+"/"+key+".x509", file, attached)
			for _, flags := range [][]string{{}, {"--enforce"}, {"--usage", "kexec"}, {"--usage", "ima"}} {
				flags = append(flags, "--kernel", "6.12", "--trusted="+keys+"/rsa2048.pem")
				got, want := judged(file, append(flags, "--signature", apart)...), judged(attached, flags...)
				if got != want {
					t.Errorf("%s, %s, %v:\n%+v, attached:\n%+v", file, key, flags, got, want)
				}
			}
		}
	}
	if out, _ := verify(t, "--kernel", "6.12", "--trusted="+keys+"/rsa2048.pem", "--signature", golden+"/rsa2048-sha256.p7s", "../testdata/hello.ko"); strings.Contains(out, "does not load") || !strings.Contains(out, "rsa2048-sha256.p7s attached: verified") {
		t.Error(out)
	}
}

// TestVerifyDamagedCompressed: a kernel that decompresses by itself refuses what can't be
// decompressed; where kmod does, no kernel sees it.
func TestVerifyDamagedCompressed(t *testing.T) {
	whole := readFile(t, cases+"/modules/xz-dictionary-8m.ko.xz")
	damaged := filepath.Join(t.TempDir(), "damaged.ko.xz")
	writeFile(t, damaged, string(whole[:len(whole)-20]), 0o644)
	out, status := verify(t, "--json", "--kernel", "6.12", "--trusted="+cases+"/certificates/signer.der", damaged)
	for _, part := range []string{`"errno":"EINVAL"`, `"cause":"container"`, `"loads":false`, `"load_errno":"EINVAL"`, "decompression failed with status", "get the file anew"} {
		if status != 1 || !strings.Contains(out, part) {
			t.Errorf("exit %d, no %s: %s", status, part, out)
		}
	}
	if out, status := verify(t, "--kernel", "6.1", "--trusted="+cases+"/certificates/signer.der", damaged); status != 3 {
		t.Errorf("exit %d: %s", status, out)
	}
}

// TestVerifyOddInputs: a configuration and a source of trust as they lie about, and a
// signature with a byte behind it.
func TestVerifyOddInputs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		writeFile(t, filepath.Join(dir, name), content, 0o644)
		return filepath.Join(dir, name)
	}
	const config = "# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_RSA=y\n" +
		"CONFIG_SYSTEM_DATA_VERIFICATION=y\nCONFIG_SYSTEM_TRUSTED_KEYRING=y\n"
	module, trusted := golden+"/hello-rsa2048-sha256.ko", "--trusted="+keys+"/rsa2048.pem"
	plain := write("config", config)
	for _, tool := range []string{"gzip", "xz", "zstd"} {
		packed := write("config."+tool, mustRun(t, nil, tool, "-c", plain))
		mustRun(t, nil, program(t), "verify", trusted, "--config", packed, module)
	}
	mustRun(t, nil, program(t), "verify", trusted, "--config", write("crlf", strings.ReplaceAll(config, "\n", "\r\n")), module)
	_, headless, _ := strings.Cut(config, "\n")
	der := string(readFile(t, keys+"/rsa2048.x509"))
	for _, c := range []struct {
		says  string
		flags []string
	}{
		{"# Linux/<arch> <release>", []string{trusted, "--config", write("headless", headless)}},
		{"base64 -d", []string{"--kernel=6.12", "--trusted", write("base64", base64.StdEncoding.EncodeToString([]byte(der)))}},
		{"xxd -r -p", []string{"--kernel=6.12", "--trusted", write("hex", hex.EncodeToString([]byte(der)))}},
		{"unpack it", []string{"--kernel=6.12", "--trusted", write("cert.gz", mustRun(t, nil, "gzip", "-c", keys+"/rsa2048.pem"))}},
	} {
		if out, err := run(t, nil, program(t), append(append([]string{"verify"}, c.flags...), module)...); err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%v: %v: %s", c.flags, err, out)
		}
	}
	behind := write("behind", string(readFile(t, module))+"\n")
	for _, usage := range []string{"ima", "kexec", "module"} {
		if out, status := verify(t, trusted, "--kernel", "6.12", "--usage", usage, behind); status != 1 || !strings.Contains(out, "1 byte follows") || !strings.Contains(out, "truncate -s") {
			t.Errorf("%s: exit %d: %s", usage, status, out)
		}
	}
}

// TestAttachedMessage: -s says what no kernel will take, and does what it is told.
func TestAttachedMessage(t *testing.T) {
	inPEM := filepath.Join(t.TempDir(), "m.pem")
	mustRun(t, nil, "openssl", "pkcs7", "-inform", "der", "-in", golden+"/rsa2048-sha256.p7s", "-out", inPEM)
	for _, c := range []struct{ message, cert, module, says string }{
		{golden + "/rsa2048-sha256.p7s", keys + "/rsa2048.pem", "../testdata/hello.ko", ""},
		{golden + "/rsa2048-sha256.p7s", "nothing", "../testdata/hello.ko", ""},
		{golden + "/p384-sha384.p7s", keys + "/p384.pem", "../testdata/hello.ko", ""},
		{golden + "/rsa2048-sha256.p7s", keys + "/rsa2048.pem", "../testdata/value.bin", "changed after signing"},
		{golden + "/rsa2048-sha256.p7s", keys + "/rsa4096.pem", "../testdata/hello.ko", "the message is not one by the key of " + keys + "/rsa4096.pem"},
		{inPEM, keys + "/rsa2048.pem", "../testdata/hello.ko", "PEM"},
		{cases + "/modules/short-signature.p7s", cases + "/certificates/signer.der", "../testdata/hello.ko", "255 bytes"},
	} {
		dest := filepath.Join(t.TempDir(), "dest")
		out := mustRun(t, nil, program(t), "-s", c.message, "sha256", c.cert, c.module, dest)
		if c.says == "" && out != "" || !strings.Contains(out, c.says) {
			t.Errorf("%s, %s, %s: said %q, want %q", c.message, c.cert, c.module, out, c.says)
		}
		want := filepath.Join(t.TempDir(), "want")
		mustRun(t, nil, testenv.SignFile(t), "-s", c.message, "sha256", c.cert, c.module, want)
		checkSameBytes(t, dest, want)
	}
}

// TestValueMistakes: what is read as a map value and is none.
func TestValueMistakes(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "hex")
	mustRun(t, nil, program(t), "map", "sign", "--format", "hex", "sha256", keys+"/rsa2048.key", keys+"/rsa2048.pem", "../testdata/value.bin", text)
	dump, js := filepath.Join(dir, "dump"), filepath.Join(dir, "json")
	hex := string(readFile(t, text))
	// As bpftool map dump prints a value, and with -j.
	lines := "key:\n00 00 00 00\nvalue:\n" + hex + "\nFound 1 element\n"
	quoted := `[{"key":["0x00","0x00","0x00","0x00"],"value":["0x` + strings.Join(strings.Fields(hex), `","0x`) + `"]}]`
	for path, content := range map[string]string{dump: lines, js: quoted} {
		writeFile(t, path, content, 0o644)
	}
	for file, says := range map[string]string{
		cases + "/values/little-endian-size": "wrong byte order",
		golden + "/hello-rsa2048-sha256.ko":  "map wrap",
		keys + "/rsa2048.pem":                "a certificate (PEM)",
		golden + "/rsa2048-sha256.p7s":       "a bare PKCS#7 message",
		"../testdata/value.bin":              "",
	} {
		for _, command := range []string{"verify --kernel 6.12 --trusted=" + keys + "/rsa2048.pem", "inspect", "size", "extract"} {
			out, err := run(t, nil, program(t), append(strings.Fields("map "+command), file)...)
			if err == nil || !strings.Contains(out, says) || strings.Contains(out, "sign-file sign ") || strings.Contains(out, "to do: \n") {
				t.Errorf("map %s %s: %v\n%s", command, file, err, out)
			}
		}
	}
	// What was written as text is read as what it spells.
	inC := filepath.Join(dir, "c")
	mustRun(t, nil, program(t), "map", "sign", "--format", "c", "sha256", keys+"/rsa2048.key", keys+"/rsa2048.pem", "../testdata/value.bin", inC)
	for _, file := range []string{text, dump, js, inC} {
		out := mustRun(t, nil, program(t), "map", "verify", "--kernel", "6.12", "--trusted="+keys+"/rsa2048.pem", file)
		if !strings.Contains(out, "verified") || !strings.Contains(out, "is text in hexadecimal") {
			t.Errorf("%s: %s", file, out)
		}
		data := filepath.Join(dir, "data")
		mustRun(t, nil, program(t), "map", "extract", file, data)
		checkSameBytes(t, data, "../testdata/value.bin")
	}
	if out, err := run(t, nil, program(t), "map", "wrap", cases+"/values/little-endian-size", filepath.Join(dir, "w")); err == nil {
		t.Errorf("wrapped: %s", out)
	}
}

// TestCertificateAdvice: the command that is named for a file in <x509>'s place makes of it
// one that the kernel's sign-file takes too.
func TestCertificateAdvice(t *testing.T) {
	key := cases + "/keys/signer.pem"
	for file, says := range map[string]string{
		"trusted.pem": "openssl x509 -in OLD -out NEW", "bundle.p12": "openssl pkcs12 -clcerts -nokeys -in OLD -out NEW",
		"utf16.pem": "iconv -f UTF-16 -t UTF-8 OLD > NEW",
	} {
		old, fresh, dest := cases+"/certificates/"+file, filepath.Join(t.TempDir(), "new.pem"), filepath.Join(t.TempDir(), "dest.ko")
		out, err := run(t, nil, program(t), "sha256", key, old, "../testdata/hello.ko", dest)
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %v\n%s", file, err, out)
			continue
		}
		command := strings.NewReplacer("OLD", old, "NEW", fresh).Replace(says)
		if file == "bundle.p12" {
			command += " -passin pass:pw"
		}
		mustRun(t, nil, "sh", "-c", command)
		mustRun(t, nil, testenv.SignFile(t), "sha256", key, fresh, "../testdata/hello.ko", dest)
	}
	for _, c := range []struct{ key, cert, says string }{
		{cases + "/certificates/signer.der", key, "the two are swapped: the key is " + key},
		{key, key, "it goes in the place of <key>"},
		{key, cases + "/certificates/no-end-line.pem", "without its last line"},
		{key, cases + "/certificates/brainpool.pem", "brainpoolP256r1"},
		{"certs/signing_key.pem", cases + "/certificates/signer.der", "sign-file keygen KEY X509 makes one, mokutil --import X509"},
		{key, "../testdata/hello.ko", "an ELF file"},
	} {
		out, err := run(t, nil, program(t), "sha256", c.key, c.cert, "../testdata/hello.ko", filepath.Join(t.TempDir(), "dest"))
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s, %s: %v\n%s", c.key, c.cert, err, out)
		}
	}
}

// TestAttachMistakes makes with OpenSSL what goes wrong between digest and attach, and
// asks for a word of each; the module stays as it is.
func TestAttachMistakes(t *testing.T) {
	dir := t.TempDir()
	ko := filepath.Join(dir, "m.ko")
	shell := func(line string) {
		t.Helper()
		mustRun(t, nil, "sh", "-c", "cd "+dir+" && "+line)
	}
	for _, name := range []string{"rsa2048", "rsa3072", "p256"} {
		for _, suffix := range []string{".key", ".pem"} {
			writeFile(t, filepath.Join(dir, name+suffix), string(readFile(t, keys+"/"+name+suffix)), 0o600)
		}
	}
	module := readFile(t, "../testdata/hello.ko")
	writeFile(t, ko, string(module), 0o644)
	shell("openssl dgst -sha256 -binary m.ko > d256; openssl dgst -sha512 -binary m.ko > d512; openssl dgst -sha256 -binary d256 > dd; echo other > other; openssl dgst -sha256 -binary other > do" +
		"; openssl dgst -sha256 -hex m.ko | sed 's/.* //' > hex; openssl dgst -sha256 -binary hex > dhex")
	rsa := "openssl pkeyutl -sign -inkey rsa2048.key -in "
	ec := "openssl pkeyutl -sign -inkey p256.key -in "
	for what, c := range map[string]struct{ line, says string }{
		"good":              {rsa + "d256 -pkeyopt digest:sha256 -out sig", ""},
		"base64":            {rsa + "d256 -pkeyopt digest:sha256 | base64 > sig", "base64 -d"},
		"hex":               {rsa + "d256 -pkeyopt digest:sha256 | xxd -p > sig", "xxd -r -p"},
		"a line end":        {"(" + rsa + "d256 -pkeyopt digest:sha256; echo) > sig", "head -c 256"},
		"another hash":      {rsa + "d512 -pkeyopt digest:sha512 -out sig", "--hash sha512"},
		"PSS":               {rsa + "d256 -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -out sig", "RSA-PSS"},
		"hashed twice":      {rsa + "dd -pkeyopt digest:sha256 -out sig", "hashed once more"},
		"hashed as text":    {rsa + "dhex -pkeyopt digest:sha256 -out sig", "hashed once more"},
		"no DigestInfo":     {rsa + "d256 -out sig", "--format digestinfo"},
		"the digest itself": {"cp d256 sig", "the sha256 digest"},
		"in hexadecimal":    {"cp hex sig", "the sha256 digest in hexadecimal"},
		"a message":         {"openssl cms -sign -binary -noattr -nocerts -outform DER -signer rsa2048.pem -inkey rsa2048.key -in m.ko -out sig", "sign-file -s attaches it"},
		"another key":       {"openssl pkeyutl -sign -inkey rsa3072.key -in d256 -pkeyopt digest:sha256 -out sig", "384"},
		"another file":      {rsa + "do -pkeyopt digest:sha256 -out sig", "the right key has signed another file"},
		"a certificate":     {"cp rsa2048.pem sig", "a certificate (PEM)"},
		"empty":             {": > sig", "it is empty"},
		"EC":                {ec + "d256 -out sig", ""},
		"EC, another hash":  {ec + "d512 -out sig", "--hash sha512"},
		"EC, hashed twice":  {ec + "dd -out sig", "hashed once more"},
		"EC, another file":  {ec + "do -out sig", "another key has signed, or something else"},
	} {
		shell(c.line)
		cert := "/rsa2048.pem"
		if strings.HasPrefix(what, "EC") {
			cert = "/p256.pem"
		}
		writeFile(t, ko, string(module), 0o644)
		value := filepath.Join(dir, "value")
		flags := []string{"attach", "--signature", dir + "/sig", "--cert", dir + cert, "--hash", "sha256"}
		out, err := run(t, nil, program(t), append(flags, ko)...)
		valueOut, valueErr := run(t, nil, program(t), append(append([]string{"map"}, flags...), "../testdata/hello.ko", value)...)
		if c.says == "" {
			if err != nil || valueErr != nil {
				t.Errorf("%s: %v, %v\n%s%s", what, err, valueErr, out, valueOut)
			}
			continue
		}
		if err == nil || !strings.Contains(out, c.says) || !bytes.Equal(readFile(t, ko), module) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if valueErr == nil || !strings.Contains(valueOut, c.says) {
			t.Errorf("%s, of a value: %v\n%s", what, valueErr, valueOut)
		}
	}
}

// TestAttachShort: a value that lost its leading zero byte is one number still. OpenSSL
// makes values until one begins with zero.
func TestAttachShort(t *testing.T) {
	dir := t.TempDir()
	key, cert := keys+"/rsa2048.key", keys+"/rsa2048.pem"
	for i := range 5000 {
		data, value := filepath.Join(dir, "data"), filepath.Join(dir, "value")
		writeFile(t, data, strings.Repeat("x", i+1), 0o644)
		message := filepath.Join(dir, "data.p7s")
		mustRun(t, nil, program(t), "-d", "sha256", key, cert, data)
		der := readFile(t, message)
		sig := der[len(der)-256:]
		if sig[0] != 0 {
			continue
		}
		writeFile(t, value, string(bytes.TrimLeft(sig, "\x00")), 0o644)
		want := filepath.Join(dir, "want")
		mustRun(t, nil, testenv.SignFile(t), "sha256", key, cert, data, want)
		out := mustRun(t, nil, program(t), "attach", "--signature", value, "--cert", cert, "--hash", "sha256", data)
		if !strings.Contains(out, "zero byte") {
			t.Errorf("not a word: %s", out)
		}
		checkSameBytes(t, data, want)
		return
	}
	t.Fatal("5000 values without a zero at the beginning")
}

// TestIncludeCert holds messages with certificates against OpenSSL's, and verifies a signer
// that only an embedded intermediate leads to from the trusted root.
func TestIncludeCert(t *testing.T) {
	dir := t.TempDir()
	shell := func(line string) { t.Helper(); mustRun(t, nil, "sh", "-c", "cd "+dir+" && "+line) }
	shell(`printf '[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n[leaf]\nkeyUsage=digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' > ext
		openssl req -x509 -nodes -newkey rsa:2048 -sha256 -subj /CN=Root -keyout root.key -out root.pem -days 9 2>/dev/null
		openssl req -new -nodes -newkey rsa:2048 -subj /CN=Middle -keyout middle.key -out middle.csr 2>/dev/null
		openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile ext -extensions ca -sha256 -days 9 -out middle.pem 2>/dev/null
		openssl req -new -nodes -newkey rsa:2048 -subj /CN=Leaf -keyout leaf.key -out leaf.csr 2>/dev/null
		openssl x509 -req -in leaf.csr -CA middle.pem -CAkey middle.key -CAcreateserial -extfile ext -extensions leaf -sha256 -days 9 -out leaf.pem 2>/dev/null
		cat leaf.pem middle.pem > chain.pem`)
	writeFile(t, dir+"/m.ko", string(readFile(t, "../testdata/hello.ko")), 0o644)
	cms := "openssl cms -sign -binary -noattr -outform DER -signer leaf.pem -inkey leaf.key -md sha256 -in m.ko "
	for file, more := range map[string]string{"leaf.pem": "", "chain.pem": "-certfile middle.pem "} {
		shell(program(t) + " sign -d --quiet --include-cert sha256 leaf.key " + file + " m.ko && " + cms + more + "-out want")
		checkSameBytes(t, dir+"/m.ko.p7s", dir+"/want")
	}
	shell(program(t) + " sign --quiet --include-cert sha256 leaf.key chain.pem m.ko")
	out, status := verify(t, "--trusted", dir+"/root.pem", dir+"/m.ko")
	if status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	if alone, status := verify(t, "--trusted", dir+"/root.pem", golden+"/hello-rsa2048-sha256.ko"); status != 1 {
		t.Errorf("exit %d: %s", status, alone)
	}
}

// TestWouldFit: a value that is too large for its map names keys whose values are not.
func TestWouldFit(t *testing.T) {
	value := filepath.Join(t.TempDir(), "value")
	make := func(key string) (string, error) {
		return run(t, nil, program(t), "map", "sign", "--value-size", "400", "sha256", keys+"/"+key+".key", keys+"/"+key+".pem", "../testdata/value.bin", value)
	}
	if out, err := make("rsa2048"); err == nil || !strings.Contains(out, "ECDSA P-384, ECDSA P-256") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, key := range []string{"p256", "p384"} {
		if out, err := make(key); err != nil {
			t.Errorf("%s does not fit: %s", key, out)
		}
	}
}

// TestOddHashes: what no kernel verifies any more is signed, with a warning.
func TestOddHashes(t *testing.T) {
	for _, hash := range []string{"md5", "ripemd160", "sha512-256", "sha256"} {
		dest := filepath.Join(t.TempDir(), "dest")
		out := mustRun(t, nil, program(t), hash, keys+"/rsa2048.key", keys+"/rsa2048.pem", "../testdata/hello.ko", dest)
		if strings.Contains(out, "warning") != (hash != "sha256") {
			t.Errorf("%s: %q", hash, out)
		}
	}
}
