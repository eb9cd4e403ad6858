package kernel

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		b, err := os.ReadFile(filepath.Join("../testdata/keys", name))
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
			var ring Ring
			if err := ring.loadRunning(system(t, c.files)); err != nil {
				t.Fatal(err)
			}
			if ring.Size() != c.trusted || len(ring.blacklist) != c.blacklist {
				t.Errorf("%d certificates, %d blacklisted; want %d and %d", ring.Size(), len(ring.blacklist), c.trusted, c.blacklist)
			}
			notes := strings.Join(ring.Notes, "\n")
			if c.noted == "" && notes != "" || !strings.Contains(notes, c.noted) {
				t.Errorf("notes %q, want %q in them", notes, c.noted)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		if err := new(Ring).loadRunning(system(t, nil)); err == nil {
			t.Error("no error")
		}
	})
	t.Run("damaged db", func(t *testing.T) {
		damaged := map[string][]byte{efivars + "db" + guidSecurity: entry(guidX509, read("rsa2048.x509"))[:100]}
		if err := new(Ring).loadRunning(system(t, damaged)); err == nil {
			t.Error("no error")
		}
	})
}

// TestRunningKernel: what a kernel was built with, and how it was started, decides
// before what Debian's are like.
func TestRunningKernel(t *testing.T) {
	const debian61 = "# Linux/x86 6.1.176 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=m\n# CONFIG_CRYPTO_ECDSA is not set\n"
	for _, c := range []struct {
		name, release    string
		files            map[string]string
		rules            string
		sha512, ecdsa    availability
		fips, enforce    bool
		guessed, uncheck bool
	}{
		{"by release", "6.1.0-50-amd64", nil, "6.1", module, absent, false, false, false, false},
		{"configured", "6.1.0-50-amd64", map[string]string{"boot/config-6.1.0-50-amd64": debian61}, "6.1", module, absent, false, false, false, false},
		{"configured otherwise", "6.8.0-31-generic", map[string]string{"boot/config-6.8.0-31-generic": "CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\nCONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_ECDSA=m\n"}, "6.1", builtin, module, false, true, false, false},
		{"without module signatures", "6.18.1", map[string]string{"lib/modules/6.18.1/build/.config": "CONFIG_CRYPTO_ECDSA=y\n"}, "6.18", absent, builtin, false, false, false, true},
		{"started with both", "6.12.1", map[string]string{"proc/sys/crypto/fips_enabled": "1\n", "sys/module/module/parameters/sig_enforce": "Y\n"}, "6.12", builtin, builtin, true, true, false, false},
		{"started with neither", "6.12.1", map[string]string{"proc/sys/crypto/fips_enabled": "0\n", "sys/module/module/parameters/sig_enforce": "N\n"}, "6.12", builtin, builtin, false, false, false, false},
		{"too old", "5.10.0-8-amd64", nil, "6.1", module, absent, false, false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{}
			for name, text := range c.files {
				files[name] = []byte(text)
			}
			m := system(t, files)
			m.release = c.release
			k, note := runningKernel(m)
			if k.Name != c.rules || k.hash(oidSHA512).is != c.sha512 || k.hasECDSA != c.ecdsa {
				t.Errorf("rules of %s, SHA-512 %d, ECDSA %d", k.Name, k.hash(oidSHA512).is, k.hasECDSA)
			}
			if k.FIPS != c.fips || k.Enforce != c.enforce || k.Unchecked != c.uncheck || (note != "") != c.guessed {
				t.Errorf("FIPS %v, enforce %v, unchecked %v, note %q", k.FIPS, k.Enforce, k.Unchecked, note)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		m := system(t, map[string][]byte{"config": []byte(debian61), "other": []byte("text")})
		k, err := KernelOfConfig(filepath.Join(m.root, "config"))
		if err != nil || k.Name != "6.1" || k.hash(oidMD5).is != absent {
			t.Errorf("%+v, %v", k, err)
		}
		if _, err := KernelOfConfig(filepath.Join(m.root, "other")); err == nil {
			t.Error("no error for a file that is no configuration")
		}
	})
}
