package certificate_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/test/testenv"
)

// cms makes a message of a file with openssl cms, which writes BER with -stream.
func cms(t testing.TB, signer string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.p7b")
	args = append([]string{"cms", "-sign", "-binary", "-nodetach", "-in", "../testdata/hello.ko", "-out", path,
		"-signer", "../testdata/keys/" + signer + ".pem", "-inkey", "../testdata/keys/" + signer + ".key"}, args...)
	if out, err := exec.Command(testenv.Tool(t, "openssl"), args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func berBundles(t testing.TB) map[string][]byte {
	more := []string{"-stream", "-certfile", "../testdata/keys/p384.pem"}
	return map[string][]byte{
		"DER file": cms(t, "rsa2048", append(more, "-outform", "DER")...),
		"PEM":      cms(t, "rsa2048", append(more, "-outform", "PEM")...),
	}
}

// TestBundleBER: a bundle that OpenSSL wrote as a stream has the certificates that
// were put into it.
func TestBundleBER(t *testing.T) {
	all := files(t)
	want := [][]byte{all["../testdata/keys/rsa2048.x509"], all["../testdata/keys/p384.x509"]}
	for name, bundle := range berBundles(t) {
		t.Run(name, func(t *testing.T) {
			if der := bytes.HasPrefix(bundle, []byte("\x30\x80")); der != (name == "DER file") {
				t.Fatalf("not what the test is about: %x", bundle[:2])
			}
			got, err := certificate.All(bundle)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("%d certificates, want %d", len(got), len(want))
			}
			for _, c := range got {
				if !slices.ContainsFunc(want, func(der []byte) bool { return bytes.Equal(der, c.Raw) }) {
					t.Errorf("a certificate of %s that is none of those", certificate.FormatName(c.Subject))
				}
			}
			if _, err := certificate.First(bundle); err == nil || !strings.Contains(err.Error(), "2 certificates") {
				t.Errorf("one certificate of two: %v", err)
			}
		})
	}
}

// TestBundleOfOne: such a bundle is as good as its certificate, in every form.
func TestBundleOfOne(t *testing.T) {
	want := files(t)["../testdata/keys/p256.x509"]
	for name, args := range map[string][]string{
		"BER":      {"-stream", "-outform", "DER"},
		"BER, PEM": {"-stream", "-outform", "PEM"},
		"DER":      {"-outform", "DER"},
		"PEM":      {"-outform", "PEM"},
	} {
		got, err := certificate.First(cms(t, "p256", args...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(got.Raw, want) {
			t.Errorf("%s: another certificate", name)
		}
	}
	if _, err := certificate.First(cms(t, "p256", "-outform", "DER", "-nocerts")); err == nil {
		t.Error("a certificate of a bundle without one")
	}
}

// TestBundleOfUnknownCurve: a certificate that crypto/x509, and so package pkcs7,
// refuses does not make a bundle unreadable.
func TestBundleOfUnknownCurve(t *testing.T) {
	cert, bundle := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "bundle.p7b")
	for _, args := range [][]string{
		{"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1", "-nodes", "-keyout", os.DevNull, "-subj", "/CN=brainpool", "-out", cert},
		{"crl2pkcs7", "-nocrl", "-certfile", cert, "-certfile", "../testdata/keys/p384.pem", "-outform", "DER", "-out", bundle},
	} {
		if out, err := exec.Command(testenv.Tool(t, "openssl"), args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	file, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := certificate.All(file); err != nil || len(all) != 2 {
		t.Errorf("%d certificates, error %v", len(all), err)
	}
}

// TestBundleHostile: package pkcs7, which reads BER, would need minutes and more for
// some of these, and gigabytes of stack for others.
func TestBundleHostile(t *testing.T) {
	signedData := "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	open := func(n int, content string) []byte {
		return []byte("\x30\x80" + signedData + strings.Repeat("\x30\x80", n) + content + strings.Repeat("\x00\x00", n+1))
	}
	for name, bundle := range map[string][]byte{
		"nested":          open(400_000, "\x05\x00"),
		"nested, no end":  []byte("\x30\x80" + signedData + strings.Repeat("\x30\x80", 400_000)),
		"nested too deep": open(64, "\x05\x00"),
		// Each ends before what is in it, which pkcs7 then reads once more.
		"overlapping":         open(1, strings.Repeat("\x30\x02\x30\x7f", 64)+strings.Repeat("\x05\x00", 64)),
		"many elements":       open(1, strings.Repeat("\x05\x01\x05", 300_000)),
		"long":                open(1, "\x04\x83\x20\x00\x00"+strings.Repeat("\x00", 2<<20)),
		"primitive, open":     open(1, "\x04\x80\x00\x00"),
		"length of 5 bytes":   open(1, "\x04\x85\x00\x00\x00\x00\x01\x00"),
		"high tag":            open(1, "\x3f\xff\xff\xff"),
		"only the identifier": []byte("\x30\x80" + signedData),
		"empty":               open(0, "\xa0\x80\x00\x00\x00\x00"),
	} {
		if all, err := certificate.All(bundle); err == nil {
			t.Errorf("%s: %d certificates", name, len(all))
		}
		if _, err := certificate.First(bundle); err == nil {
			t.Errorf("%s: a certificate", name)
		}
	}
}

func FuzzAll(f *testing.F) {
	for _, bundle := range berBundles(f) {
		f.Add(bundle)
	}
	f.Add(cms(f, "p256", "-outform", "DER"))
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := certificate.All(file)
		if (len(all) == 0) != (err != nil) {
			t.Errorf("%d certificates, error %v", len(all), err)
		}
		if c, err := certificate.First(file); (c == nil) != (err != nil) {
			t.Errorf("certificate %v, error %v", c, err)
		}
	})
}
