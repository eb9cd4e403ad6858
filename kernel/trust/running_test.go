package trust

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sign-file/certificate"
	"sign-file/kernel"
)

// system makes a file system of the given files.
func system(t *testing.T, files map[string][]byte) machine {
	t.Helper()
	m := machine{root: t.TempDir(), release: "6.12.1-test"}
	for name, content := range files {
		path := filepath.Join(m.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// entry is an EFI signature list of one, with the attributes that efivarfs puts
// before it.
func entry(kind, data []byte) []byte {
	b := append([]byte{7, 0, 0, 0}, kind...)
	b = binary.LittleEndian.AppendUint32(b, uint32(28+16+len(data)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(16+len(data)))
	return slices.Concat(b, make([]byte, 16), data)
}

func TestRunning(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../testdata/keys", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const efivars = "sys/firmware/efi/efivars/"
	db := map[string][]byte{efivars + "db" + guidSecurity: entry(guidX509, read("rsa2048.x509"))}
	with := func(more map[string][]byte) map[string][]byte {
		all := map[string][]byte{}
		for _, files := range []map[string][]byte{db, more} {
			for name, content := range files {
				all[name] = content
			}
		}
		return all
	}
	mok := efivars + "MokListRT" + guidShim
	secureBoot := efivars + "SecureBoot" + guidGlobal
	for _, c := range []struct {
		name      string
		files     map[string][]byte
		trusted   int
		blacklist int
		noted     string
	}{
		{"db", db, 1, 0, "built-in certificates are not known"},
		{"db and an image", with(map[string][]byte{"boot/vmlinuz-6.12.1-test": read("p256.x509")}), 2, 0, ""},
		{"shim's list, Secure Boot on", with(map[string][]byte{mok: entry(guidX509, read("p384.x509")), secureBoot: {7, 0, 0, 0, 1}}), 2, 0, "not known"},
		{"shim's list, Secure Boot off", with(map[string][]byte{mok: entry(guidX509, read("p384.x509")), secureBoot: {7, 0, 0, 0, 0}}), 1, 0, "not known"},
		{"dbx", with(map[string][]byte{efivars + "dbx" + guidSecurity: append(entry(guidSHA256, make([]byte, 32)), entry(guidX509SHA256, make([]byte, 48))[4:]...)}), 1, 2, "not known"},
		{"/proc/keys", with(map[string][]byte{"proc/keys": []byte(
			"0b2f1a3c I------     1 perm 1f0b0000     0     0 blacklist bin:" + strings.Repeat("ab", 32) + "\n" +
				"1c9d5e21 I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []\n" +
				"1c9d5e22 I------     1 perm 1f030000     0     0 asymmetri a key without identifier: 0102: X509.ecdsa-nist-p384 []\n" +
				"2c9d5e21 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1\n")}), 1, 1, "a key without identifier"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ring kernel.Ring
			l := &loader{ring: &ring}
			if err := l.loadRunning(system(t, c.files)); err != nil {
				t.Fatal(err)
			}
			if ring.Size() != c.trusted || len(ring.Blacklisted()) != c.blacklist {
				t.Errorf("%d certificates, %d blacklisted; want %d and %d", ring.Size(), len(ring.Blacklisted()), c.trusted, c.blacklist)
			}
			notes := strings.Join(l.notes, "\n")
			if c.noted == "" && notes != "" || !strings.Contains(notes, c.noted) {
				t.Errorf("notes %q, want %q in them", notes, c.noted)
			}
		})
	}
	t.Run("keyrings", func(t *testing.T) {
		testKeyrings(t, with(map[string][]byte{mok: entry(guidX509, read("p384.x509")), secureBoot: {7, 0, 0, 0, 1}, "boot/vmlinuz-6.12.1-test": read("p256.x509")}))
	})
	t.Run("nothing", func(t *testing.T) {
		var ring kernel.Ring
		if err := (&loader{ring: &ring}).loadRunning(system(t, nil)); err != nil || ring.Size() > 0 {
			t.Errorf("%v, %d certificates", err, ring.Size())
		}
	})
	t.Run("damaged db", func(t *testing.T) {
		damaged := map[string][]byte{efivars + "db" + guidSecurity: entry(guidX509, read("rsa2048.x509"))[:100]}
		l := &loader{ring: new(kernel.Ring)}
		if err := l.loadRunning(system(t, damaged)); err != nil || !strings.Contains(strings.Join(l.notes, "\n"), "malformed EFI signature list") {
			t.Errorf("%v, notes %q", err, l.notes) // the kernel goes on as well
		}
	})
}

// testKeyrings puts a key that is enrolled where kernels put it: from source
// (get_handler_for_mok, add_to_machine_keyring), and where the kernel says that it is.
func testKeyrings(t *testing.T, files map[string][]byte) {
	const (
		debian   = "Linux version 6.12 (debian-kernel@lists.debian.org)"
		config   = "# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_CC_VERSION_TEXT=\"gcc (Debian 14)\"\nCONFIG_MODULE_SIG=y\nCONFIG_SECONDARY_TRUSTED_KEYRING=y\n"
		machine_ = "CONFIG_INTEGRITY_MACHINE_KEYRING=y\n"
		platform = "CONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"
		ca       = "CONFIG_INTEGRITY_CA_MACHINE_KEYRING=y\n"
		trusted  = "sys/firmware/efi/mok-variables/MokListTrustedRT"
	)
	plain := strings.Replace(config, "Debian", "GNU", 1)
	for name, c := range map[string]struct {
		config, shim string
		want         kernel.Keyring // of the enrolled key; "-" where it is in none
		noted        string
	}{
		"Debian":                 {config + machine_ + platform, "", kernel.Machine, ""},
		"mainline, shim trusts":  {plain + machine_ + platform, trusted, kernel.Machine, ""},
		"mainline, shim doesn't": {plain + machine_ + platform, "", kernel.Platform, "--trust-mok"},
		"no .machine":            {plain + platform, trusted, kernel.Platform, "has no .machine"},
		"an authority's alone":   {plain + machine_ + platform + ca, trusted, kernel.Platform, "keygen --ca"},
		"no .platform":           {plain + machine_ + ca, trusted, "-", "keygen --ca"},
	} {
		all := map[string][]byte{"proc/config.gz": []byte(c.config), "proc/version": []byte(debian)}
		if c.shim != "" {
			all[c.shim] = []byte{1}
		}
		for name, content := range files {
			all[name] = content
		}
		var ring kernel.Ring
		l := &loader{ring: &ring}
		if err := l.loadRunning(system(t, all)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := kernel.Keyring("-")
		for _, keyring := range []kernel.Keyring{kernel.Builtin, kernel.Machine, kernel.Platform} {
			for _, cert := range ring.In(keyring) {
				if strings.Contains(certificate.FormatName(cert.Subject), "p384") {
					got = keyring
				}
			}
		}
		if got != c.want || !strings.Contains(strings.Join(l.notes, "\n"), c.noted) {
			t.Errorf("%s: in %s, want %s; notes %q, want %q", name, got, c.want, l.notes, c.noted)
		}
	}
}

// TestKernelsWord: what the kernel tells of its keyrings counts, and what it has not taken
// is not trusted.
func TestKernelsWord(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../testdata/keys", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	id := func(name string) string {
		c, err := certificate.First(read(name))
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(c.SubjectKeyID)
	}
	m := system(t, map[string][]byte{
		"sys/firmware/efi/efivars/db" + guidSecurity: append(entry(guidX509, read("rsa2048.x509")), entry(guidX509, read("p384.x509"))[4:]...),
		"proc/keys": []byte("0000000a I------     1 perm 1f030000     0     0 keyring   .machine: 1\n" +
			"0000000b I------     1 perm 1f030000     0     0 keyring   .platform: empty\n" +
			"0000000c I------     1 perm 1f030000     0     0 asymmetri one: " + id("rsa2048.x509") + ": X509.rsa bb419ea1 []\n"),
	})
	m.read = func(keyring int32) ([]int32, error) { return map[int32][]int32{10: {12}}[keyring], nil }
	var ring kernel.Ring
	l := &loader{ring: &ring}
	if err := l.loadRunning(m); err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(l.notes, "\n")
	if len(ring.In(kernel.Machine)) != 1 || ring.Size() != 1 || !strings.Contains(notes, "is in .machine") || !strings.Contains(notes, "has not taken it") {
		t.Errorf("%d in .machine, %d in all; notes %s", len(ring.In(kernel.Machine)), ring.Size(), notes)
	}
	m.read = func(int32) ([]int32, error) { return nil, os.ErrPermission } // not root
	ring = kernel.Ring{}
	if err := (&loader{ring: &ring}).loadRunning(m); err != nil || len(ring.In(kernel.Platform)) != 2 {
		t.Errorf("%v, %d in .platform", err, len(ring.In(kernel.Platform)))
	}
}
