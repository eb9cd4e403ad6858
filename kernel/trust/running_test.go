package trust

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	t.Run("nothing", func(t *testing.T) {
		if err := (&loader{ring: new(kernel.Ring)}).loadRunning(system(t, nil)); err == nil {
			t.Error("no error")
		}
	})
	t.Run("damaged db", func(t *testing.T) {
		damaged := map[string][]byte{efivars + "db" + guidSecurity: entry(guidX509, read("rsa2048.x509"))[:100]}
		if err := (&loader{ring: new(kernel.Ring)}).loadRunning(system(t, damaged)); err == nil {
			t.Error("no error")
		}
	})
}
