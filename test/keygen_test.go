package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// variable is what differs between two certificates of one genkey file: numbers of
// the key, the serial number, dates, and identifiers in hex.
var variable = regexp.MustCompile(`(?m)^ +([0-9a-fA-F]{2}:)*[0-9a-fA-F]{2}:?\n|^ +Not (Before|After) ?:.*\n|keyid:|([0-9A-F]{2}:){19}[0-9A-F]{2}`)

func certificateText(t *testing.T, form, path string) string {
	t.Helper()
	return certificateTextBy(t, "openssl", form, path)
}

func certificateTextBy(t *testing.T, openssl, form, path string) string {
	t.Helper()
	return variable.ReplaceAllString(mustRun(t, nil, openssl, "x509", "-in", path, "-inform", form, "-noout", "-text"), "")
}

// TestKeygenCertificates holds certificates against those that openssl req makes of
// the kernel's genkey file: the same text, extensions in the same order.
func TestKeygenCertificates(t *testing.T) {
	for kind, newkey := range map[string][]string{
		"rsa:2048": {"-newkey", "rsa:2048"},
		"rsa:4096": {"-newkey", "rsa:4096"},
		"ec:p256":  {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"},
		"ec:p384":  {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"},
		"ec:p521":  {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"},
	} {
		t.Run(kind, func(t *testing.T) {
			ours, theirs := t.TempDir(), t.TempDir()
			pair := keyPair{filepath.Join(ours, "key.pem"), filepath.Join(ours, "cert.x509")}
			mustRun(t, nil, program(t), "keygen", "--subject", "/CN="+signer, "--hash", "sha256", "--type", kind, pair.key, pair.cert)
			want := newKeyPair(t, theirs, append([]string{"-nodes"}, newkey...)...)
			if got, want := certificateText(t, "DER", pair.cert), certificateText(t, "DER", want.cert); got != want {
				t.Errorf("openssl reads\n%s\nand in its own\n%s", got, want)
			}
			if got, want := certificateText(t, "PEM", pair.key), certificateText(t, "DER", pair.cert); got != want {
				t.Error("the certificates in the two files differ")
			}
			mustRun(t, nil, "openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", pair.key, pair.key)
			mustRun(t, nil, "openssl", "pkey", "-in", pair.key, "-noout", "-check")
			checkSignsAlike(t, ours, pair, strings.HasPrefix(kind, "rsa:"))
		})
	}
}

// checkSignsAlike signs with the real sign-file and with ours, by issuer and serial
// number and by key identifier.
func checkSignsAlike(t *testing.T, dir string, pair keyPair, deterministic bool) {
	t.Helper()
	module := filepath.Join("..", "testdata", "hello.ko")
	for _, k := range [][]string{nil, {"-k"}} {
		judged, signed := filepath.Join(dir, "judged.ko"), filepath.Join(dir, "signed.ko")
		args := append(k, "sha512", pair.key, pair.cert, module)
		mustRun(t, nil, testenv.SignFile(t), append(args, judged)...)
		mustRun(t, nil, program(t), append(args, signed)...)
		if deterministic {
			checkSameBytes(t, signed, judged)
		}
		mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", pair.cert, judged)
	}
}

// The hashes that CONFIG_MODULE_SIG_HASH can name. OpenSSL 3.0 does not verify its own
// certificates that are signed with ECDSA and SHA-3.
func TestKeygenHashes(t *testing.T) {
	for _, hash := range []string{"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"} {
		for _, kind := range []string{"rsa:2048", "ec:p384"} {
			if kind == "ec:p384" && strings.HasPrefix(hash, "sha3-") {
				continue
			}
			key := filepath.Join(t.TempDir(), "key.pem")
			mustRun(t, nil, program(t), "keygen", "--type", kind, "--hash", hash, key)
			mustRun(t, nil, "openssl", "verify", "-check_ss_sig", "-CAfile", key, key)
		}
	}
}

func TestKeygenSubject(t *testing.T) {
	for _, subject := range []string{
		"/CN=Build key", `/C=DE/O=Größe \/ Maß/CN=a=b\\c`, "/O=x/OU=y/ST=s/L=l/emailAddress=k@example.org",
	} {
		key, judged := filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "judged.pem")
		mustRun(t, nil, program(t), "keygen", "--type=ec:p256", "--subject", subject, "--days", "20", key)
		mustRun(t, nil, "openssl", "req", "-new", "-x509", "-utf8", "-subj", subject, "-key", key, "-out", judged)
		name := func(file string) string {
			return mustRun(t, nil, "openssl", "x509", "-in", file, "-noout", "-subject", "-issuer", "-nameopt", "show_type,sep_comma_plus,utf8")
		}
		if got, want := name(key), name(judged); got != want {
			t.Errorf("%s: %s, want %s", subject, got, want)
		}
	}
	for _, bad := range []string{"CN=x", "/", "/CN=", "/XX=y", "/C=DEU", "/CN=" + strings.Repeat("x", 65), "/CN=a//CN=b"} {
		key := filepath.Join(t.TempDir(), "key.pem")
		if out, err := run(t, nil, program(t), "keygen", "--type=ec:p256", "--subject", bad, key); err == nil {
			t.Errorf("took %q: %s", bad, out)
		}
		if _, err := os.Lstat(key); err == nil {
			t.Errorf("%q: left a file", bad)
		}
	}
}

// TestKeygenPurpose: what OpenSSL reads of --ca and --eku, and that names tell keys apart.
func TestKeygenPurpose(t *testing.T) {
	seen := map[string]bool{}
	for flags, want := range map[string][]string{
		"":                              {"CA:FALSE", "Digital Signature\n"},
		"--ca":                          {"CA:TRUE", "Digital Signature, Certificate Sign\n"},
		"--eku codesign":                {"CA:FALSE", "Code Signing\n"},
		"--eku modules":                 {"1.3.6.1.4.1.2312.16.1.2\n"},
		"--eku codesign --eku 1.2.3.40": {"Code Signing, 1.2.3.40\n"},
	} {
		key := filepath.Join(t.TempDir(), "key.pem")
		mustRun(t, nil, program(t), append(append([]string{"keygen", "--type=ec:p256"}, strings.Fields(flags)...), key)...)
		text := mustRun(t, nil, "openssl", "x509", "-in", key, "-noout", "-text")
		for _, want := range want {
			if !strings.Contains(text, want) {
				t.Errorf("%q: no %q in\n%s", flags, want, text)
			}
		}
		mustRun(t, nil, "openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", key, key)
		subject := mustRun(t, nil, "openssl", "x509", "-in", key, "-noout", "-subject")
		if seen[subject] || !strings.Contains(subject, "module signing key ") {
			t.Errorf("%q: %s", flags, subject)
		}
		seen[subject] = true
	}
	for _, bad := range []string{"", "toast", "9.9", "1", "1..2", "1.2.99999999999"} {
		if out, err := run(t, nil, program(t), "keygen", "--eku", bad, filepath.Join(t.TempDir(), "key.pem")); err == nil {
			t.Errorf("--eku %q: %s", bad, out)
		}
	}
}

// TestKeygenFiles: private keys stay private, and no file is lost.
func TestKeygenFiles(t *testing.T) {
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.x509")
	keygen := func(args ...string) (string, error) {
		return run(t, nil, program(t), append([]string{"keygen", "--type=ec:p256"}, args...)...)
	}
	writeFile(t, cert, "precious", 0o644)
	if out, err := keygen(key, cert); err == nil || !strings.Contains(out, "--force") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Lstat(key); err == nil || string(readFile(t, cert)) != "precious" {
		t.Error("wrote a file though the other exists")
	}
	writeFile(t, key, "readable by all", 0o666)
	if out, err := keygen("--force", key, cert); err != nil {
		t.Fatal(out)
	}
	for file, want := range map[string]os.FileMode{key: 0o600, cert: 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v", file, info.Mode(), want)
		}
	}
	if out, err := keygen("--force", key, filepath.Join(dir, ".", "key.pem")); err == nil {
		t.Errorf("key and certificate in one place: %s", out)
	}
	old := readFile(t, key)
	if out, err := keygen("--force", key, mkdir(t, filepath.Join(dir, "folder"))); err == nil {
		t.Errorf("replaced a folder: %s", out)
	}
	if string(readFile(t, key)) != string(old) {
		t.Error("lost the key, though the certificate could not be written")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "folder"), link); err != nil {
		t.Fatal(err)
	}
	if out, err := keygen("--force", key, link+"/../key.pem"); err == nil || string(readFile(t, key)) != string(old) {
		t.Errorf("the certificate took the place of the key: %s", out)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("leftovers: %v", entries)
	}
}

func TestKeygenEncrypted(t *testing.T) {
	dir := t.TempDir()
	pair := keyPair{filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.x509")}
	if out, err := run(t, nil, program(t), "keygen", "--type=rsa:2048", "--encrypt", pair.key); err == nil || !strings.Contains(out, "KBUILD_SIGN_PIN") {
		t.Errorf("no passphrase, no terminal: %v: %s", err, out)
	}
	pin := "KBUILD_SIGN_PIN=" + passphrase
	mustRun(t, []string{pin}, program(t), "keygen", "--type=rsa:2048", "--encrypt", pair.key, pair.cert)
	mustRun(t, []string{pin}, "openssl", "pkey", "-in", pair.key, "-passin", "env:KBUILD_SIGN_PIN", "-noout", "-check")
	if out, err := run(t, nil, "openssl", "pkey", "-in", pair.key, "-passin", "pass:wrong", "-noout"); err == nil {
		t.Errorf("opens with another passphrase: %s", out)
	}
	signed, module := filepath.Join(dir, "signed.ko"), filepath.Join("..", "testdata", "hello.ko")
	mustRun(t, []string{pin}, program(t), "sha512", pair.key, pair.cert, module, signed)
	checkSigned(t, signed, module, "sha512", pair, pin)
}
