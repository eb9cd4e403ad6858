package kernel_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/kernel"
)

// TestKeyringsOfUsages: who verifies what with which keyring. Modules and messages against
// .builtin and .platform are put to booted kernels in test/kernel; the others are from source.
func TestKeyringsOfUsages(t *testing.T) {
	const ok, noKey = 0, syscall.ENOKEY
	module := golden(t, "hello-rsa2048-sha256.ko")
	debian, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		usage                       kernel.Usage
		only                        kernel.Keyring
		builtin, machine, platform_ syscall.Errno
	}{
		{kernel.Module, "", ok, ok, ok},
		{kernel.MapValue, "", ok, ok, noKey},
		{kernel.BPF, kernel.Secondary, ok, ok, noKey},
		{kernel.BPF, kernel.Builtin, ok, noKey, noKey},
		{kernel.BPF, kernel.Platform, noKey, noKey, ok},
		{kernel.Kexec, "", ok, ok, ok},
		{kernel.IMA, "", noKey, noKey, noKey},
	} {
		for keyring, want := range map[kernel.Keyring]syscall.Errno{kernel.Named: ok, kernel.Builtin: c.builtin, kernel.Machine: c.machine, kernel.Platform: c.platform_} {
			var ring kernel.Ring
			ring.AddTo(keyring, certificates(t, key(t, "rsa2048.pem"))...)
			v, err := kernel.NewJudgeOf(debian, &ring, c.usage, c.only).Module(strings.NewReader(string(module)), int64(len(module)))
			switch {
			case err != nil:
				t.Errorf("usage %d, %s: %v", c.usage, keyring, err)
			case v.Errno != want || v.Accepted && v.Signers[0].Keyring != keyring:
				t.Errorf("usage %d, %s: %v %s, want %v", c.usage, keyring, v.Errno, v.Reason, want)
			case want == noKey && !strings.Contains(v.Reason, string(keyring)):
				t.Errorf("usage %d, %s: %s", c.usage, keyring, v.Reason)
			}
		}
	}
}

// TestOtherReaders: those who read the trailer otherwise have errnos of their own, from
// s390_verify_sig and ima_read_modsig (Linux 6.1).
func TestOtherReaders(t *testing.T) {
	module := golden(t, "hello-rsa2048-sha256.ko")
	bad := func(at int, b byte) []byte {
		changed := append([]byte(nil), module...)
		changed[len(changed)-40+at] = b
		return changed
	}
	for _, c := range map[string]struct {
		file       []byte
		kexec, ima syscall.Errno
	}{
		"good":           {module, 0, 0},
		"unsigned":       {module[:5248], syscall.EKEYREJECTED, syscall.ENOENT},
		"another type":   {bad(2, 1), syscall.EKEYREJECTED, syscall.ENOPKG},
		"a field is set": {bad(0, 1), syscall.EBADMSG, syscall.EBADMSG},
		"too long":       {bad(8, 255), syscall.EKEYREJECTED, syscall.EBADMSG},
	} {
		for usage, want := range map[kernel.Usage]syscall.Errno{kernel.Kexec: c.kexec, kernel.IMA: c.ima} {
			check(t, onModule(t, judge(t, "6.12", usage, key(t, "rsa2048.pem")), c.file), want)
		}
	}
}

// TestRevoked: Debian's kernels have no list of revoked certificates. Others ask for it since
// 6.6 whatever the keyring, and before only where they look into .platform
// (verify_pkcs7_message_sig, from source). A booted 6.12.117 with such a list built in, and
// the signer's certificate in .builtin_trusted_keys and in the list, returns EKEYREJECTED.
func TestRevoked(t *testing.T) {
	const ok, noKey, rejected, undecided = syscall.Errno(0), syscall.ENOKEY, syscall.EKEYREJECTED, syscall.EAGAIN
	const platform, list, debian = "CONFIG_INTEGRITY_PLATFORM_KEYRING=y\n", "CONFIG_SYSTEM_REVOCATION_LIST=y\n", "CONFIG_CC_VERSION_TEXT=\"gcc (Debian 14)\"\n"
	module := golden(t, "hello-rsa2048-sha256.ko")
	certs := certificates(t, key(t, "rsa2048.pem"))
	const nowhere = kernel.Keyring("nowhere")
	for _, c := range []struct {
		config  string
		keyring kernel.Keyring
		since66 syscall.Errno
		before  syscall.Errno
	}{
		{debian + platform, kernel.Platform, ok, ok},
		{debian + platform + list, kernel.Platform, rejected, rejected},
		{debian + platform + list, kernel.Builtin, rejected, ok},
		{debian + platform + list, kernel.Named, rejected, undecided},
		{debian + platform + list, nowhere, rejected, rejected},
		{platform + list, kernel.Builtin, rejected, ok},
		{platform + list, nowhere, rejected, undecided},
		{list, kernel.Named, rejected, ok},
		{list, nowhere, rejected, noKey},
		{"# CONFIG_SYSTEM_BLACKLIST_KEYRING is not set\n", kernel.Named, ok, ok},
	} {
		for release, want := range map[string]syscall.Errno{"6.1.100": c.before, "6.5": c.before, "6.6": c.since66, "6.12": c.since66, "7.3": c.since66} {
			rules := configuredAs(t, release, "CONFIG_CRYPTO_SHA256=y\nCONFIG_MODULE_SIG=y\n"+c.config)
			var ring kernel.Ring
			if c.keyring != nowhere {
				ring.AddTo(c.keyring, certs...)
			}
			ring.Revoke(certs[0].Raw)
			v, err := kernel.NewJudge(rules, &ring, kernel.Module).Module(strings.NewReader(string(module)), int64(len(module)))
			got := undecided
			if err == nil {
				got = v.Errno
			}
			if got != want || got == rejected && v.Cause != "blacklisted" {
				t.Errorf("%s, %q, %s: %v %v, want %v", release, c.config, c.keyring, got, err, want)
			}
		}
	}
	// Whose kernels have the patch for .platform, no option tells.
	rules := configured(t, "CONFIG_INTEGRITY_PLATFORM_KEYRING=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_MODULE_SIG=y\n")
	var ring kernel.Ring
	ring.AddTo(kernel.Platform, certs...)
	if v, err := kernel.NewJudge(rules, &ring, kernel.Module).Module(strings.NewReader(string(module)), int64(len(module))); err == nil {
		t.Errorf("%+v", v)
	}
}

// TestLockdown: kernel_lockdown(7) with an unsigned module, from source (module_sig_check).
func TestLockdown(t *testing.T) {
	rules, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	rules.Lockdown = true
	v := onModule(t, trusting(t, rules, kernel.Module), golden(t, "hello-rsa2048-sha256.ko")[:5248])
	if v.Loads || v.LoadErrno != syscall.EPERM {
		t.Errorf("%+v", v)
	}
}

// TestNoModules: what such a kernel, 6.18.44, returned for init_module of any file.
func TestNoModules(t *testing.T) {
	rules := configured(t, "# CONFIG_MODULES is not set\nCONFIG_CRYPTO_SHA256=y\n")
	signed := golden(t, "hello-rsa2048-sha256.ko")
	for name, file := range map[string][]byte{"signed": signed, "unsigned": signed[:5248], "empty": nil} {
		v := onModule(t, trusting(t, rules, kernel.Module, key(t, "rsa2048.pem")), file)
		if v.Loads || v.Taints || v.LoadErrno != syscall.ENOSYS || v.Accepted != (name == "signed") {
			t.Errorf("%s: %+v", name, v)
		}
	}
	check(t, onModule(t, trusting(t, rules, kernel.IMA, key(t, "rsa2048.pem")), signed), 0)
}

// TestMissingUsages: what a configuration has no check for is not verified. The errno is that
// of kernel/bpf/helpers.c and of its stub, from source.
func TestMissingUsages(t *testing.T) {
	const whole = "CONFIG_CC_VERSION_TEXT=\"gcc (Debian 14)\"\nCONFIG_CRYPTO_SHA256=y\n"
	const bpf = "CONFIG_KEYS=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_SYSTEM_DATA_VERIFICATION=y\n"
	const undecided, none = syscall.EAGAIN, syscall.EOPNOTSUPP
	module := golden(t, "hello-rsa2048-sha256.ko")
	message, data := golden(t, "rsa2048-sha256.p7s"), content(t)
	for _, c := range []struct {
		options string
		usage   kernel.Usage
		want    syscall.Errno
	}{
		{whole + bpf, kernel.MapValue, 0},
		{whole + bpf, kernel.BPF, 0},
		{whole, kernel.BPF, syscall.ENOSYS},
		{whole + "CONFIG_KEYS=y\nCONFIG_BPF_SYSCALL=y\n", kernel.MapValue, none},
		{"# CONFIG_BPF_SYSCALL is not set\nCONFIG_CRYPTO_SHA256=y\n", kernel.BPF, syscall.ENOSYS},
		{"CONFIG_CRYPTO_SHA256=y\n", kernel.BPF, 0}, // a fragment
		{whole, kernel.IMA, undecided},
		{whole + "CONFIG_IMA_APPRAISE_MODSIG=y\n", kernel.IMA, 0},
		{"# CONFIG_IMA_APPRAISE_MODSIG is not set\nCONFIG_CRYPTO_SHA256=y\n", kernel.IMA, undecided},
		{whole + "CONFIG_KEXEC_SIG=y\n", kernel.Kexec, undecided}, // of x86
		{whole, kernel.Module, 0},
	} {
		j := trusting(t, configured(t, c.options), c.usage, key(t, "rsa2048.pem"))
		for what, ask := range map[string]func() (*kernel.Verdict, error){
			"file":    func() (*kernel.Verdict, error) { return j.Module(bytes.NewReader(module), int64(len(module))) },
			"message": func() (*kernel.Verdict, error) { return j.Message(message, data) },
		} {
			v, err := ask()
			got := undecided
			if err == nil {
				got = v.Errno
			}
			if got != c.want || (got == none || got == syscall.ENOSYS) && v.Cause != "not-built" {
				t.Errorf("%q, usage %d, %s: %v %v, want %v", c.options, c.usage, what, got, err, c.want)
			}
		}
		if v, err := j.Certificate(certificates(t, key(t, "rsa2048.pem"))[0].Raw); err != nil || !v.Accepted {
			t.Errorf("a certificate: %+v, %v", v, err)
		}
	}
}

// TestFIPSByRelease: the exponent is looked at since 6.5, and fips=1 means nothing without
// CONFIG_CRYPTO_FIPS. Booted with fips=1, 6.1.176, 6.12.117 and 7.3.4 answer so.
func TestFIPSByRelease(t *testing.T) {
	dir := t.TempDir()
	certificate := func(bits, exponent string) []byte {
		openssl(t, dir, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:"+bits, "-pkeyopt", "rsa_keygen_pubexp:"+exponent, "-out", "key")
		openssl(t, dir, "req", "-x509", "-new", "-key", "key", "-sha256", "-subj", "/CN=x", "-out", "pem")
		return certificates(t, filepath.Join(dir, "pem"))[0].Raw
	}
	three, short := certificate("2048", "3"), certificate("1024", "65537")
	for _, c := range []struct {
		release, options string
		three, short     syscall.Errno
	}{
		{"6.1", "", 0, syscall.EINVAL},
		{"6.4", "", 0, syscall.EINVAL},
		{"6.5", "", syscall.EINVAL, syscall.EINVAL},
		{"6.12", "", syscall.EINVAL, syscall.EINVAL},
		{"7.3", "CONFIG_CRYPTO_FIPS=y\n", syscall.EINVAL, syscall.EINVAL},
		{"7.3", "# CONFIG_CRYPTO_FIPS is not set\n", 0, 0},
		{"6.12", "CONFIG_CC_VERSION_TEXT=\"gcc\"\n", 0, 0},
	} {
		rules := configuredAs(t, c.release, "CONFIG_CRYPTO_SHA256=y\n"+c.options)
		rules.FIPS = true
		for der, want := range map[string]syscall.Errno{string(three): c.three, string(short): c.short} {
			v, err := kernel.NewJudge(rules, nil, kernel.Module).Certificate([]byte(der))
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, want)
		}
	}
}

// TestRevokedIssuer: what a revoked certificate has issued is refused, as the list is used
// like a keyring of trusted ones.
func TestRevokedIssuer(t *testing.T) {
	data := []byte("the signed data")
	a := authority{t, t.TempDir()}
	a.ca("root")
	a.issue("leaf", "root", "keyid")
	message := signCMS(t, data, a.signer("leaf", "leaf")...)
	rules := configured(t, "CONFIG_CRYPTO_SHA256=y\nCONFIG_MODULE_SIG=y\n")
	for revoked, want := range map[string]syscall.Errno{"root": syscall.EKEYREJECTED, "leaf": syscall.EKEYREJECTED, "": 0} {
		var ring kernel.Ring
		ring.Add(certificates(t, a.path("root"))...)
		if revoked != "" {
			ring.ReadImage(certificates(t, a.path(revoked))[0].Raw) // and so the kernel has the list
		}
		check(t, onMessage(t, kernel.NewJudge(rules, &ring, kernel.Module), message, data), want)
	}
}

// TestUnread: lists that a configuration names are told, unless the image was read.
func TestUnread(t *testing.T) {
	rules := configured(t, "CONFIG_SYSTEM_REVOCATION_LIST=y\nCONFIG_SYSTEM_REVOCATION_KEYS=\"certs/revoked.pem\"\nCONFIG_SYSTEM_BLACKLIST_HASH_LIST=\"\"\n")
	var ring kernel.Ring
	if got := kernel.NewJudge(rules, &ring, kernel.Module).Unread(); len(got) != 1 || got[0] != `CONFIG_SYSTEM_REVOCATION_KEYS="certs/revoked.pem"` {
		t.Errorf("%q", got)
	}
	ring.ReadImage()
	if got := kernel.NewJudge(rules, &ring, kernel.Module).Unread(); got != nil {
		t.Errorf("with the image: %q", got)
	}
}

// configured is a kernel of 6.12 with a configuration.
func configured(t *testing.T, options string) *kernel.Kernel {
	t.Helper()
	return configuredAs(t, "6.12.1", options)
}

func configuredAs(t *testing.T, release, options string) *kernel.Kernel {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte("# Linux/x86 "+release+" Kernel Configuration\n"+options), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := kernel.OfConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestBetween: what came and went between 6.1 and 6.12, from the kernel's history. How such a
// kernel is built only its configuration tells: ECDSA is not decided without it.
func TestBetween(t *testing.T) {
	const ok, noPackage, noKey, undecided = syscall.Errno(0), syscall.ENOPKG, syscall.ENOKEY, syscall.EAGAIN
	const ecdsa = "CONFIG_CRYPTO_ECDSA=y\nCONFIG_CRYPTO_SHA512=y\n"
	for _, c := range []struct {
		release, options string
		want             map[string]syscall.Errno
	}{
		{"6.2", "", map[string]syscall.Errno{"rsa2048-md5": ok, "rsa2048-sha1": ok, "rsa2048-sha3-256": noPackage, "rsa2048-sha512": ok, "p384-sha384": undecided}},
		{"6.6", "", map[string]syscall.Errno{"rsa2048-md5": ok, "rsa2048-sha1": ok, "rsa2048-sha3-256": noPackage, "p521-sha512": noKey}},
		{"6.7", "", map[string]syscall.Errno{"rsa2048-md5": noPackage, "rsa2048-sha1": undecided, "rsa2048-sha3-256": ok, "rsa2048-sha256": ok}},
		{"6.7.11", "", map[string]syscall.Errno{"rsa2048-sha1": noPackage}},
		{"6.7.12", "", map[string]syscall.Errno{"rsa2048-sha1": ok}},
		{"6.8.0-31-generic", "", map[string]syscall.Errno{"rsa2048-md5": noPackage, "rsa2048-sha1": undecided}},
		{"6.8.2", "", map[string]syscall.Errno{"rsa2048-sha1": noPackage}},
		{"6.8.3", "", map[string]syscall.Errno{"rsa2048-sha1": ok}},
		{"6.9", "", map[string]syscall.Errno{"rsa2048-sha1": ok, "rsa2048-md5": noPackage, "p521-sha512": noKey}},
		{"6.9", ecdsa, map[string]syscall.Errno{"p384-sha384": ok, "p521-sha512": noKey}},
		{"6.10", "", map[string]syscall.Errno{"p521-sha512": undecided}},
		{"6.11", ecdsa, map[string]syscall.Errno{"p384-sha384": ok, "p521-sha512": ok, "rsa2048-md5": noPackage}},
	} {
		for file, want := range c.want {
			name, _, _ := strings.Cut(file, "-")
			j := judge(t, c.release, kernel.MapValue, key(t, name+".pem"))
			if c.options != "" {
				j = trusting(t, configuredAs(t, c.release, c.options), kernel.MapValue, key(t, name+".pem"))
			}
			v, err := j.Message(golden(t, file+".p7s"), content(t))
			got := undecided
			if err == nil {
				got = v.Errno
			}
			if got != want {
				t.Errorf("%s, %s: %v %v, want %v", c.release, file, got, err, want)
			}
		}
	}
}

// content is what the golden messages are about.
func content(t *testing.T) *io.SectionReader {
	t.Helper()
	b, err := os.ReadFile("../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}
