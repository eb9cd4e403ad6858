package kernel_test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sign-file/kernel"
)

// keyMaker makes each kind of key once.
type keyMaker struct {
	t   *testing.T
	dir string
}

// selfSigned has OpenSSL make a key, with options of openssl genpkey, and a
// certificate, with options of openssl req.
func (m keyMaker) selfSigned(genpkey, options string) []byte {
	m.t.Helper()
	file := strings.ReplaceAll(genpkey, " ", "")
	if _, err := os.Stat(filepath.Join(m.dir, file)); err != nil {
		openssl(m.t, m.dir, strings.Fields("genpkey -out "+file+" -algorithm "+genpkey)...)
	}
	openssl(m.t, m.dir, append(strings.Fields("req -x509 -new -key "+file+" -subj /CN=test -outform DER -out der"), strings.Fields(options)...)...)
	return read(m.t, filepath.Join(m.dir, "der"))
}

func der(t *testing.T, name string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, key(t, name)))
	if block == nil {
		t.Fatalf("%s: no PEM", name)
	}
	return block.Bytes
}

// TestCertificates is the table of section 1.6: what add_key("asymmetric") returned.
func TestCertificates(t *testing.T) {
	const noPackage, invalid, noEntry = syscall.ENOPKG, syscall.EINVAL, syscall.ENOENT
	rsa := func(bits string) string { return "RSA -pkeyopt rsa_keygen_bits:" + bits }
	ec := func(curve string) string { return "EC -pkeyopt ec_paramgen_curve:" + curve }
	m := keyMaker{t, t.TempDir()}
	good := m.selfSigned(rsa("2048"), "-sha256")
	cases := []struct {
		name           string
		der            []byte
		k61, k612, k70 syscall.Errno
		fips           syscall.Errno // of 6.12
	}{
		{"RSA-512", m.selfSigned(rsa("512"), "-sha256"), 0, 0, 0, invalid},
		{"RSA-1024", m.selfSigned(rsa("1024"), "-sha256"), 0, 0, 0, invalid},
		{"RSA-1536", m.selfSigned(rsa("1536"), "-sha256"), 0, 0, 0, invalid},
		{"RSA-2048", good, 0, 0, 0, 0},
		{"RSA-2056", m.selfSigned(rsa("2056"), "-sha256"), invalid, invalid, invalid, invalid},
		{"RSA-3072", der(t, "rsa3072.pem"), 0, 0, 0, 0},
		{"RSA-4096", der(t, "rsa4096.pem"), 0, 0, 0, 0},
		{"RSA, e=3", m.selfSigned(rsa("2048")+" -pkeyopt rsa_keygen_pubexp:3", "-sha256"), 0, 0, 0, invalid},
		{"P-256", der(t, "p256.pem"), noEntry, 0, 0, 0},
		{"P-384", der(t, "p384.pem"), noEntry, 0, 0, 0},
		{"P-521", der(t, "p521.pem"), noPackage, 0, 0, 0},
		{"P-224", der(t, "p224.pem"), noPackage, noPackage, noPackage, noPackage},
		{"secp256k1", m.selfSigned(ec("secp256k1"), "-sha256"), noPackage, noPackage, noPackage, noPackage},
		{"brainpool", m.selfSigned(ec("brainpoolP256r1"), "-sha256"), noPackage, noPackage, noPackage, noPackage},
		{"Ed25519", m.selfSigned("ED25519", ""), noPackage, noPackage, noPackage, noPackage},
		{"RSA-PSS key", m.selfSigned("RSA-PSS -pkeyopt rsa_keygen_bits:2048", ""), noPackage, noPackage, noPackage, noPackage},
		{"RSA-PSS signature", m.selfSigned(rsa("2048"), "-sha256 -sigopt rsa_padding_mode:pss"), noPackage, noPackage, noPackage, noPackage},
		{"MD5", m.selfSigned(rsa("2048"), "-md5"), 0, noPackage, noPackage, noPackage},
		{"SHA-1", m.selfSigned(rsa("2048"), "-sha1"), 0, 0, 0, 0},
		{"SHA-3", m.selfSigned(rsa("2048"), "-sha3-256"), noPackage, 0, 0, 0},
		{"expired", der(t, "odd/expired.pem"), 0, 0, 0, 0},
		{"bytes behind it", append(slices.Clone(good), 0, 0, 0), 0, 0, 0, 0},
		{"bad self-signature", changed(good, -100, good[len(good)-100]^1), invalid, invalid, invalid, invalid},
		{"nothing", nil, invalid, invalid, invalid, invalid},
		{"65536 bytes", append(slices.Clone(good), make([]byte, 65536-len(good))...), syscall.EMSGSIZE, syscall.EMSGSIZE, syscall.EMSGSIZE, syscall.EMSGSIZE},
		{"a mebibyte", make([]byte, 1<<20), invalid, invalid, invalid, invalid},
		{"truncated", good[:len(good)-1], syscall.EBADMSG, syscall.EBADMSG, syscall.EBADMSG, syscall.EBADMSG},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for release, want := range map[string]syscall.Errno{"6.1": c.k61, "6.12": c.k612, "6.18": c.k612, "7.3": c.k70} {
				check(t, onCertificate(t, judge(t, release, kernel.Module), c.der), want)
			}
			rules := judge(t, "6.12", kernel.Module).Kernel()
			rules.FIPS = true
			check(t, onCertificate(t, trusting(t, rules, kernel.Module), c.der), c.fips)
		})
	}
}

func onCertificate(t *testing.T, j *kernel.Judge, der []byte) *kernel.Verdict {
	t.Helper()
	v, err := j.Certificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// authority makes certificates that sign each other.
type authority struct {
	t   *testing.T
	dir string
}

// ca makes a root.
func (a authority) ca(name string) {
	a.t.Helper()
	openssl(a.t, a.dir, "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-sha256", "-subj", "/CN="+name, "-keyout", name+".key", "-out", name+".pem")
}

// issue makes a certificate of an issuer, with an authority key identifier that
// names the issuer as it's told to.
func (a authority) issue(name, issuer, keyIdentifier string) {
	a.t.Helper()
	a.issueWith("sha256", name, issuer, keyIdentifier)
}

func (a authority) issueWith(hash, name, issuer, keyIdentifier string) {
	a.t.Helper()
	extensions := "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=" + keyIdentifier + "\n"
	if err := os.WriteFile(filepath.Join(a.dir, name+".ext"), []byte(extensions), 0o600); err != nil {
		a.t.Fatal(err)
	}
	openssl(a.t, a.dir, "req", "-newkey", "rsa:1024", "-nodes", "-sha256", "-subj", "/CN="+name, "-keyout", name+".key", "-out", name+".csr")
	openssl(a.t, a.dir, "x509", "-req", "-in", name+".csr", "-CA", issuer+".pem", "-CAkey", issuer+".key", "-CAcreateserial",
		"-"+hash, "-extfile", name+".ext", "-out", name+".pem")
}

func (a authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

// signer are options of openssl cms, with the named certificates in the message:
// the signer's own is the first, or there are none.
func (a authority) signer(name string, embedded ...string) []string {
	options := []string{"-noattr", "-signer", a.path(name), "-inkey", filepath.Join(a.dir, name+".key")}
	if len(embedded) == 0 {
		return append(options, "-nocerts")
	}
	if embedded[0] != name {
		a.t.Fatal("OpenSSL embeds the signer's certificate with the others")
	}
	var others []byte // in one file: only the last -certfile counts
	for _, e := range embedded[1:] {
		others = append(others, read(a.t, a.path(e))...)
	}
	if others == nil {
		return options
	}
	file := filepath.Join(a.t.TempDir(), "others")
	if err := os.WriteFile(file, others, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return append(options, "-certfile", file)
}
