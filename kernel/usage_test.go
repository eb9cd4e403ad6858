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

// TestRevoked: Debian's kernels have no list of revoked certificates, and others look at it
// where they verify with .platform.
func TestRevoked(t *testing.T) {
	module := golden(t, "hello-rsa2048-sha256.ko")
	certs := certificates(t, key(t, "rsa2048.pem"))
	for _, c := range []struct {
		config  string
		keyring kernel.Keyring
		want    syscall.Errno
		decided bool
	}{
		{"", kernel.Platform, 0, true},
		{"CONFIG_SYSTEM_REVOCATION_LIST=y\n", kernel.Platform, syscall.EKEYREJECTED, true},
		{"CONFIG_SYSTEM_REVOCATION_LIST=y\n", kernel.Builtin, 0, false},
	} {
		rules := configured(t, "CONFIG_CC_VERSION_TEXT=\"gcc (Debian 14)\"\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_MODULE_SIG=y\n"+c.config)
		var ring kernel.Ring
		ring.AddTo(c.keyring, certs...)
		ring.Revoke(certs[0].Raw)
		v, err := kernel.NewJudge(rules, &ring, kernel.Module).Module(strings.NewReader(string(module)), int64(len(module)))
		if (err == nil) != c.decided || err == nil && v.Errno != c.want {
			t.Errorf("%q, %s: %+v, %v", c.config, c.keyring, v, err)
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

// configured is a kernel of 6.12 with a configuration.
func configured(t *testing.T, options string) *kernel.Kernel {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte("# Linux/x86 6.12.1 Kernel Configuration\n"+options), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := kernel.OfConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestBetween: what 6.1 and 6.12 answer differently is not decided for those between them;
// what both answer alike is.
func TestBetween(t *testing.T) {
	for file, decided := range map[string]bool{"rsa2048-sha256": true, "rsa2048-sha512": true, "rsa2048-md5": false, "rsa2048-sha1": false, "rsa2048-sha3-256": false, "p521-sha512": false, "p384-sha384": false} {
		name, _, _ := strings.Cut(file, "-")
		for _, release := range []string{"6.1", "6.8", "6.12"} {
			j := judge(t, release, kernel.MapValue, key(t, name+".pem"))
			_, err := j.Message(golden(t, file+".p7s"), content(t))
			if got := err == nil; got != (decided || release != "6.8") {
				t.Errorf("%s, %s: %v", release, file, err)
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
