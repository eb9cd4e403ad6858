package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

// system makes a file system of the given files.
func system(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
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
			k, note := RunningAt(system(t, c.files), c.release)
			if k.Name != c.rules || k.hash(oidSHA512).is != c.sha512 || k.hasECDSA != c.ecdsa {
				t.Errorf("rules of %s, SHA-512 %d, ECDSA %d", k.Name, k.hash(oidSHA512).is, k.hasECDSA)
			}
			if k.FIPS != c.fips || k.Enforce != c.enforce || k.Unchecked != c.uncheck || (note != "") != c.guessed {
				t.Errorf("FIPS %v, enforce %v, unchecked %v, note %q", k.FIPS, k.Enforce, k.Unchecked, note)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		root := system(t, map[string]string{"config": debian61, "other": "text"})
		k, err := OfConfig(filepath.Join(root, "config"))
		if err != nil || k.Name != "6.1" || k.hash(oidMD5).is != absent {
			t.Errorf("%+v, %v", k, err)
		}
		if _, err := OfConfig(filepath.Join(root, "other")); err == nil {
			t.Error("no error for a file that is no configuration")
		}
	})
}
