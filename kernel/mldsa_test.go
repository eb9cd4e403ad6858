package kernel_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/cms"
	"sign-file/internal/scheme"
	"sign-file/kernel"
	"sign-file/kernel/trust"
)

// mldsaJudge is a kernel 7.0 that trusts one key, built with ML-DSA and perhaps with
// more options.
func mldsaJudge(t *testing.T, usage kernel.Usage, name string, options ...string) *kernel.Judge {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	text := "# Linux/x86 7.0.0 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_CRYPTO_MLDSA=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\n"
	for _, option := range options {
		text += "CONFIG_" + option + "=y\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := kernel.OfConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	var ring kernel.Ring
	if _, err := trust.Load(&ring, key(t, name+".x509")); err != nil {
		t.Fatal(err)
	}
	return kernel.NewJudge(rules, &ring, usage)
}

// TestMLDSA holds what sign-file made with ML-DSA keys against the rules of Linux
// 7.0: attributes in no module, unless it's built to let them through, but in a map
// value.
func TestMLDSA(t *testing.T) {
	messages, err := filepath.Glob("../testdata/golden/mldsa*.p7s")
	if err != nil || len(messages) < 24 {
		t.Fatalf("%d golden messages, want 24 at least (%v)", len(messages), err)
	}
	data := read(t, "../testdata/hello.ko")
	for _, path := range messages {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			message, signer := read(t, path), name[:len("mldsa44")]
			want := syscall.Errno(0)
			if strings.Contains(name, "-attributes") {
				want = syscall.EKEYREJECTED
			}
			check(t, onMessage(t, mldsaJudge(t, kernel.Module, signer), message, data), want)
			check(t, onMessage(t, mldsaJudge(t, kernel.Module, signer, "PKCS7_WAIVE_AUTHATTRS_REJECTION_FOR_MLDSA"), message, data), 0)
			value := mldsaJudge(t, kernel.MapValue, signer)
			check(t, onMessage(t, value, message, data), 0)
			check(t, onMessage(t, value, message, changed(data, 100, data[100]^1)), syscall.EKEYREJECTED)
			// Debian's 7.3 knows the names and has no ML-DSA; 6.18 doesn't know them.
			check(t, onMessage(t, judge(t, "7.3", kernel.MapValue), message, data), syscall.ENOKEY)
			check(t, onMessage(t, judge(t, "6.18", kernel.MapValue), message, data), syscall.ENOPKG)
		})
	}
}

// TestMLDSARefused: messages that OpenSSL may take, and the kernel does not.
func TestMLDSARefused(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	for _, test := range []struct {
		name, golden, ring string
		change             func(*cms.SignerInfo)
		want               syscall.Errno
	}{
		{"damaged signature", "mldsa65-sha512", "mldsa65", func(s *cms.SignerInfo) { s.Signature[9] ^= 1 }, syscall.EKEYREJECTED},
		{"cut signature", "mldsa65-sha512", "mldsa65", func(s *cms.SignerInfo) { s.Signature = s.Signature[1:] }, syscall.EKEYREJECTED},
		{"damaged attributes", "mldsa65-sha512-attributes", "mldsa65", func(s *cms.SignerInfo) { s.SignedAttributes[len(s.SignedAttributes)-1] ^= 1 }, syscall.EKEYREJECTED},
		{"another key", "mldsa65-sha512", "mldsa44", func(*cms.SignerInfo) {}, syscall.ENOKEY},
		{"another size named", "mldsa65-sha512", "mldsa65", func(s *cms.SignerInfo) { s.Algorithm.OID[8] = 17 }, syscall.EKEYREJECTED},
		{"RSA named", "mldsa65-sha512", "mldsa65", func(s *cms.SignerInfo) { s.Algorithm.OID = scheme.OIDRSA() }, syscall.EKEYREJECTED},
		{"SLH-DSA", "mldsa65-sha512", "mldsa65", func(s *cms.SignerInfo) { s.Algorithm.OID[8] = 20 }, syscall.ENOPKG},
	} {
		t.Run(test.name, func(t *testing.T) {
			signed, err := cms.Parse(golden(t, test.golden+".p7s"))
			if err != nil {
				t.Fatal(err)
			}
			test.change(&signed.Signers[0])
			message, err := signed.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			check(t, onMessage(t, mldsaJudge(t, kernel.MapValue, test.ring), message, data), test.want)
		})
	}
}

// TestMLDSACertificate: the kernel checks a certificate that signs itself.
func TestMLDSACertificate(t *testing.T) {
	j := mldsaJudge(t, kernel.Module, "mldsa87")
	der := read(t, key(t, "mldsa87.x509"))
	for name, c := range map[string]struct {
		der  []byte
		want syscall.Errno
	}{
		"good":              {der, 0},
		"damaged signature": {changed(der, -2000, der[len(der)-2000]^1), syscall.EKEYREJECTED},
		"damaged key":       {changed(der, 1000, der[1000]^1), syscall.EKEYREJECTED},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := j.Certificate(c.der)
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, c.want)
		})
	}
}
