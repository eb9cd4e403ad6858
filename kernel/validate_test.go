package kernel_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"sign-file/kernel"
	"sign-file/kernel/trust"
)

// TestChains is section 1.4: embedded certificates are followed up to one that is
// trusted, or whose issuer is. OpenSSL embeds the signer's own.
func TestChains(t *testing.T) {
	data := []byte("the signed data")
	for _, identifier := range []string{"keyid", "keyid,issuer:always"} {
		t.Run(identifier, func(t *testing.T) {
			a := authority{t, t.TempDir()}
			a.ca("root")
			a.issue("middle", "root", identifier)
			a.issue("leaf", "middle", identifier)
			whole := signCMS(t, data, a.signer("leaf", "leaf", "middle", "root")...)
			for _, c := range []struct {
				name    string
				message []byte
				trusted []string
				want    syscall.Errno
			}{
				{"leaf alone, leaf trusted", signCMS(t, data, a.signer("leaf")...), []string{"leaf"}, 0},
				{"leaf alone, issuer trusted", signCMS(t, data, a.signer("leaf")...), []string{"middle", "root"}, syscall.ENOKEY},
				{"leaf embedded, issuer trusted", signCMS(t, data, a.signer("leaf", "leaf")...), []string{"middle"}, 0},
				{"leaf embedded, root trusted", signCMS(t, data, a.signer("leaf", "leaf")...), []string{"root"}, syscall.ENOKEY},
				{"two embedded, root trusted", signCMS(t, data, a.signer("leaf", "leaf", "middle")...), []string{"root"}, 0},
				{"all embedded, root trusted", whole, []string{"root"}, 0},
				{"all embedded, middle trusted", whole, []string{"middle"}, 0},
				{"all embedded, leaf trusted", whole, []string{"leaf"}, 0},
				{"all embedded, nobody trusted", whole, nil, syscall.ENOKEY},
				{"a root signs, embedded and unknown", signCMS(t, data, a.signer("root", "root")...), nil, syscall.ENOKEY},
			} {
				t.Run(c.name, func(t *testing.T) {
					var trusted []string
					for _, name := range c.trusted {
						trusted = append(trusted, a.path(name))
					}
					check(t, onMessage(t, judge(t, "6.12", kernel.Module, trusted...), c.message, data), c.want)
				})
			}
			// With a certificate of the signer at hand tampering shows without any trust.
			check(t, onMessage(t, judge(t, "6.12", kernel.Module), whole, []byte("other data")), syscall.EKEYREJECTED)
		})
	}
}

// TestBadChain: an embedded chain with a signature that is wrong is refused, even
// where the signer itself is trusted.
func TestBadChain(t *testing.T) {
	data := []byte("the signed data")
	a := authority{t, t.TempDir()}
	a.ca("root")
	a.issue("leaf", "root", "keyid")
	message := signCMS(t, data, a.signer("leaf", "leaf", "root")...)
	leaf, _ := pem.Decode(read(t, a.path("leaf")))
	at := bytes.Index(message, leaf.Bytes)
	if at < 0 {
		t.Fatal("the leaf is not embedded")
	}
	message[at+len(leaf.Bytes)-1] ^= 1
	v := onMessage(t, judge(t, "6.12", kernel.Module, a.path("leaf")), message, data)
	if v.Accepted || v.Errno == syscall.ENOKEY {
		t.Errorf("accepted %v, %s", v.Accepted, v.Name())
	}
}

// TestUndigested: what certificates that come along are signed with the kernel has to have.
// The errnos are those of Linux 6.12.117 without CONFIG_CRYPTO_SHA512, of modules whose
// certificates were made the same way.
func TestUndigested(t *testing.T) {
	data := []byte("the signed data")
	a := authority{t, t.TempDir()}
	a.ca("root")
	a.issueWith("sha512", "leaf", "root", "keyid")
	a.issue("middle", "root", "keyid")
	a.issueWith("sha512", "leaf of middle", "middle", "keyid")
	a.issueWith("sha512", "strong middle", "root", "keyid")
	a.issue("leaf of strong", "strong middle", "keyid")
	for _, c := range []struct {
		name     string
		embedded []string
		trusted  string
		want     syscall.Errno
	}{
		{"leaf", []string{"leaf"}, "root", syscall.EKEYREJECTED},
		{"leaf, trusted itself", []string{"leaf"}, "leaf", 0},
		{"middle", []string{"leaf of strong", "strong middle"}, "root", syscall.EKEYREJECTED},
		{"leaf of a middle", []string{"leaf of middle", "middle"}, "root", syscall.EINVAL},
	} {
		message := signCMS(t, data, a.signer(c.embedded[0], c.embedded...)...)
		for _, usage := range []kernel.Usage{kernel.Module, kernel.MapValue, kernel.BPF} {
			for options, want := range map[string]syscall.Errno{"CONFIG_CRYPTO_SHA512=y\n": 0, "CONFIG_CRYPTO_SHA512=m\n": c.want, "": c.want} {
				rules := configured(t, "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_KEYS=y\nCONFIG_SYSTEM_DATA_VERIFICATION=y\nCONFIG_CRYPTO_SHA256=y\n"+options)
				rules.NoAutoload = true
				v := onMessage(t, trusting(t, rules, usage, a.path(c.trusted)), message, data)
				check(t, v, want)
				if want != 0 && v.Cause != "unsupported-crypto" {
					t.Errorf("%s: cause %s", c.name, v.Cause)
				}
			}
		}
	}
}

// TestSeveralSigners is section 1.4: those whose key is known must verify, the
// others are passed over, and one must be left.
func TestSeveralSigners(t *testing.T) {
	data := []byte("the signed data")
	message := signCMS(t, data, slices.Concat([]string{"-noattr", "-nocerts"}, by(t, "rsa2048"), by(t, "p256"))...)
	rsa, ec := key(t, "rsa2048.pem"), key(t, "p256.pem")
	check(t, onMessage(t, judge(t, "6.12", kernel.Module, rsa, ec), message, data), 0)
	check(t, onMessage(t, judge(t, "6.12", kernel.Module, rsa), message, data), 0)
	check(t, onMessage(t, judge(t, "6.12", kernel.Module, ec), message, data), 0)
	check(t, onMessage(t, judge(t, "6.12", kernel.Module, key(t, "rsa4096.pem")), message, data), syscall.ENOKEY)

	v := onMessage(t, judge(t, "6.12", kernel.Module, rsa, ec), message, data)
	if len(v.Signers) != 2 {
		t.Errorf("%d signers verified, want 2", len(v.Signers))
	}
	// One bad signature of a known key spoils the good one of the other.
	value := v.Signers[0].Value
	message[bytes.Index(message, value)+len(value)-1] ^= 1
	check(t, onMessage(t, judge(t, "6.12", kernel.Module, rsa, ec), message, data), syscall.EKEYREJECTED)
}

// TestNamesAreRaw: an issuer that reads the same in another string type is another.
func TestNamesAreRaw(t *testing.T) {
	file := golden(t, "hello-rsa2048-sha256.ko")
	at := bytes.LastIndex(file, []byte("\x0c\x09sign-file"))
	if at < 0 {
		t.Fatal("no UTF8String in the issuer")
	}
	check(t, onModule(t, judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem")), changed(file, at, 0x13)), syscall.ENOKEY)
}

// TestBlacklistedCertificate is what section 1.4 says of "tbs:".
func TestBlacklistedCertificate(t *testing.T) {
	data := []byte("the signed data")
	a := authority{t, t.TempDir()}
	a.ca("root")
	a.issue("leaf", "root", "keyid")
	dir := t.TempDir()
	openssl(t, dir, "req", "-x509", "-new", "-key", filepath.Join(a.dir, "root.key"), "-sha512", "-subj", "/CN=strong", "-out", "strong.pem")
	tbs := func(path string) []byte {
		block, _ := pem.Decode(read(t, path))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c.RawTBSCertificate
	}
	ring := func(listed []byte, trusted ...string) *kernel.Ring {
		r := new(kernel.Ring)
		r.Add(certificates(t, trusted...)...)
		if err := r.Blacklist("tbs:" + hex.EncodeToString(listed)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	leafHash := sha256.Sum256(tbs(a.path("leaf")))
	message := signCMS(t, data, a.signer("leaf", "leaf")...)
	for _, release := range []string{"6.1", "6.12", "7.3"} {
		check(t, onMessage(t, newJudge(t, release, kernel.Module, ring(leafHash[:], a.path("root"))), message, data), syscall.EKEYREJECTED)
		j := newJudge(t, release, kernel.Module, ring(leafHash[:], a.path("leaf")))
		if len(j.Unusable()) != 1 {
			t.Errorf("%s: %d certificates refused, want 1", release, len(j.Unusable()))
		}
	}
	// The hash of the entry is that of the certificate's signature, in 7.3 SHA-256.
	strong := filepath.Join(dir, "strong.pem")
	long, short := sha512.Sum512(tbs(strong)), sha256.Sum256(tbs(strong))
	for _, c := range []struct {
		release string
		listed  []byte
		refused int
	}{{"6.12", long[:], 1}, {"6.12", short[:], 0}, {"7.3", long[:], 0}, {"7.3", short[:], 1}} {
		if j := newJudge(t, c.release, kernel.Module, ring(c.listed, strong)); len(j.Unusable()) != c.refused {
			t.Errorf("%s with a hash of %d bytes: %d certificates refused, want %d", c.release, len(c.listed), len(j.Unusable()), c.refused)
		}
	}
}

// TestBlacklistFile: the kernel's build takes such files.
func TestBlacklistFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write := func(text string) error {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return trust.LoadBlacklist(new(kernel.Ring), file)
	}
	if err := write("# comment\n\"tbs:00ff\", \n\nbin:" + hex.EncodeToString(make([]byte, 32)) + "\n"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"00ff", "tbs:", "tbs:0", "tbs:FF", "x509:00", "tbs:" + hex.EncodeToString(make([]byte, 65))} {
		if err := write(bad); err == nil {
			t.Errorf("%q taken for an entry", bad)
		}
	}
}

// TestOddIdentifiers: what names no signer, or another way than the version says.
func TestOddIdentifiers(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	byID, byKeyID := golden(t, "rsa2048-sha256.p7s"), golden(t, "rsa2048-sha256-k.p7s")
	j := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem"))
	versions := func(message []byte) (signed, signer int) {
		version := []byte{0x02, 0x01, message[bytes.Index(message, []byte{0x02, 0x01})+2]}
		return bytes.Index(message, version), bytes.LastIndex(message[:len(message)-300], version)
	}
	signed, signer := versions(byID)
	for _, v := range []byte{0, 2, 4} {
		check(t, onMessage(t, j, changed(byID, signed+2, v), data), syscall.EINVAL)
		check(t, onMessage(t, j, changed(byID, signer+2, v), data), syscall.EINVAL)
	}
	check(t, onMessage(t, j, changed(byID, signed+2, 3), data), syscall.EBADMSG)
	check(t, onMessage(t, j, changed(byID, signer+2, 3), data), syscall.EBADMSG)
	// Versions of the other way of naming: what is looked for is then empty.
	signed, signer = versions(byKeyID)
	check(t, onMessage(t, j, changed(changed(byKeyID, signed+2, 1), signer+2, 1), data), syscall.EINVAL)
}
