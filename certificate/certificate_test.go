package certificate_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/test/testenv"
)

// files returns testdata's certificates, each in DER.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	paths, _ := filepath.Glob("../testdata/keys/*.x509")
	if len(paths) == 0 {
		t.Fatal("no certificates")
	}
	all := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = b
	}
	return all
}

// openssl prints one field of a certificate.
func openssl(t *testing.T, path string, field ...string) string {
	t.Helper()
	args := append([]string{"x509", "-in", path, "-noout"}, field...)
	out, err := exec.Command(testenv.Tool(t, "openssl"), args...).CombinedOutput()
	if err != nil {
		t.Skipf("openssl x509 %s: %v", path, err) // of a kind that only a newer one reads
	}
	return strings.TrimSpace(string(out))
}

// What names the signer is what OpenSSL reads in the certificate.
func TestParse(t *testing.T) {
	for path, der := range files(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := certificate.First(der)
			if err != nil {
				t.Fatal(err)
			}
			serial := strings.TrimPrefix(openssl(t, path, "-serial"), "serial=")
			if got := strings.ReplaceAll(certificate.FormatSerial(c.Serial), ":", ""); strings.TrimLeft(got, "0") != strings.TrimLeft(serial, "0") {
				t.Errorf("serial %s, OpenSSL reads %s", got, serial)
			}
			subject := strings.TrimPrefix(openssl(t, path, "-subject", "-nameopt", "RFC2253,-dn_rev"), "subject=")
			if got := strings.ReplaceAll(certificate.FormatName(c.Subject), ", ", ","); got != subject {
				t.Errorf("subject %q, OpenSSL reads %q", got, subject)
			}
			id := openssl(t, path, "-ext", "subjectKeyIdentifier")
			if !strings.Contains(id, certificate.FormatKeyID(c.SubjectKeyID)) {
				t.Errorf("key identifier %s, OpenSSL reads %s", certificate.FormatKeyID(c.SubjectKeyID), id)
			}
			if !bytes.Contains(der, c.Issuer) || !bytes.Contains(der, c.Serial) {
				t.Error("issuer or serial is not what stands in the file")
			}
		})
	}
}

// checkParse holds what is parsed against the promise that its parts are the file's.
func checkParse(t *testing.T, der []byte) {
	c, err := certificate.Parse(der)
	if err != nil {
		return
	}
	for name, part := range map[string][]byte{"issuer": c.Issuer, "serial": c.Serial, "key identifier": c.SubjectKeyID} {
		if !bytes.Contains(der, part) {
			t.Errorf("%x: %s %x is not in it", der, name, part)
		}
	}
	// None of these may panic on whatever a certificate says.
	certificate.FormatName(c.Issuer)
	certificate.FormatName(c.Subject)
	certificate.FormatSerial(c.Serial)
	if key, err := c.PublicKey(); err == nil {
		certificate.KeyName(key)
	}
}

func TestParseDamaged(t *testing.T) {
	for path, der := range files(t) {
		if len(der) > 1500 {
			continue
		}
		for n := range der {
			if _, err := certificate.Parse(der[:n]); err == nil {
				t.Errorf("%s: its first %d bytes are taken for a certificate", path, n)
			}
			damaged := bytes.Clone(der)
			damaged[n] ^= 0x11
			checkParse(t, damaged)
		}
	}
}

func TestReadHostile(t *testing.T) {
	for name, file := range map[string][]byte{
		"nothing":       nil,
		"text":          []byte("nothing to see\n"),
		"empty PEM":     []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		"PEM of text":   []byte("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"),
		"huge length":   {0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30},
		"deep nesting":  bytes.Repeat([]byte{0x30, 0x81}, 100_000),
		"private key":   []byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
		"begin, no end": []byte("-----BEGIN CERTIFICATE-----\nMIIB"),
	} {
		if _, err := certificate.First(file); err == nil {
			t.Errorf("%s: taken for a certificate", name)
		}
		if _, err := certificate.All(file); err == nil {
			t.Errorf("%s: taken for certificates", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, der := range files(f) {
		f.Add(der)
	}
	f.Fuzz(checkParse)
}
