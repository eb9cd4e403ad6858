package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// asExtractCert is our program, called as the kernel's other tool.
func asExtractCert(t *testing.T) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "extract-cert")
	if err := os.Symlink(program(t), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// TestExtractCert holds our extract-cert against the kernel's: exit status, output file and
// what KBUILD_VERBOSE prints. Where the real one fails ours may be kinder to the output.
func TestExtractCert(t *testing.T) {
	real := testenv.ExtractCert(t)
	ours := asExtractCert(t)
	dir := t.TempDir()
	sources, _ := filepath.Glob(keys + "/*.pem")
	odd, _ := filepath.Glob(keys + "/odd/*")
	files, _ := filepath.Glob(keys + "/*.x509")
	sources = append(append(append(sources, odd...), files...), cases+"/certificates/leaf.pem", cases+"/certificates/no-end-line.pem", "", dir+"/missing", dir)
	two := filepath.Join(dir, "two.pem")
	writeFile(t, two, string(readFile(t, keys+"/rsa2048.pem"))+"text\n"+string(readFile(t, keys+"/p384.pem")), 0o644)
	late := filepath.Join(dir, "late.pem")
	writeFile(t, late, string(readFile(t, keys+"/rsa2048.pem"))+"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644)
	whole, key := string(readFile(t, keys+"/rsa2048.pem")), string(readFile(t, keys+"/p384.key"))
	for name, text := range map[string]string{
		"cut off": whole + whole[:300], "within another": whole + "-----BEGIN CERTIFICATE-----\n" + whole, "cut key": whole + key[:100],
		"cut key before": key[:100] + "\n" + whole, "another end": strings.Replace(whole, "END CERT", "END X", 1), "no base64": strings.Replace(whole, "MII", "M!I", 1),
		"no line": "-----BEGIN nonsense\n" + whole, "CRLF": strings.ReplaceAll(whole, "\n", "\r\n"), "key before": key + whole, "one line": strings.ReplaceAll(whole, "\n", ""),
		"indented": "  -----BEGIN CERTIFICATE-----\n" + whole,
	} {
		path := filepath.Join(dir, name)
		writeFile(t, path, text, 0o644)
		sources = append(sources, path)
	}
	sources = append(sources, two, late, "../testdata/hello.ko", "/dev/null")
	agreed := 0
	for _, source := range sources {
		if strings.HasPrefix(source, "pkcs11:") {
			continue
		}
		for _, verbose := range []string{"KBUILD_VERBOSE=", "KBUILD_VERBOSE=1", "KBUILD_VERBOSE=x"} {
			var got [2]string
			var failed [2]bool
			var content [2][]byte
			for i, tool := range []string{real, ours} {
				dest := filepath.Join(t.TempDir(), "dest")
				out, err := run(t, []string{verbose}, tool, source, dest)
				got[i], failed[i] = out, err != nil
				content[i], _ = os.ReadFile(dest)
			}
			switch {
			case failed[0] != failed[1]:
				t.Errorf("%q: the real one fails %v, ours %v\n%s%s", source, failed[0], failed[1], got[0], got[1])
			case failed[0]:
				if !strings.HasPrefix(got[1], "extract-cert: ") || len(content[1]) > 0 {
					t.Errorf("%q: says %q, and wrote %d bytes", source, got[1], len(content[1]))
				}
			case !bytes.Equal(content[0], content[1]) || got[0] != got[1]:
				t.Errorf("%q, %s: %d bytes %q, want %d bytes %q", source, verbose, len(content[1]), got[1], len(content[0]), got[0])
			default:
				agreed++
			}
		}
	}
	if agreed < 30 {
		t.Errorf("only %d sources were read", agreed)
	}
	for _, args := range [][]string{{}, {"one"}, {"one", "two", "three"}, {"--help"}} {
		want, wantErr := run(t, nil, real, args...)
		if out, err := run(t, nil, ours, args...); out != want || err.Error() != wantErr.Error() {
			t.Errorf("%v: %v %q, want %v %q", args, err, out, wantErr, want)
		}
	}
}

// TestExtractCertToken reads the certificate of a token, with KBUILD_SIGN_PIN.
func TestExtractCertToken(t *testing.T) {
	h := newSoftHSM(t)
	mustRun(t, h.env, "pkcs11-tool", "--module", h.module, "--token-label", "vault", "--login", "--pin", tokenPIN,
		"--write-object", keys+"/rsa2048.x509", "--type", "cert", "--label", "c", "--id", "01")
	dest := filepath.Join(t.TempDir(), "dest")
	mustRun(t, h.withPIN(), asExtractCert(t), "pkcs11:token=vault;object=c?module-path="+h.module, dest)
	checkSameBytes(t, dest, keys+"/rsa2048.x509")
}
