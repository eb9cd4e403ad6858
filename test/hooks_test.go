package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// Hooks of packaging/, run by the tools that they are for.

// TestDKMSHook: DKMS reads packaging/dkms beside its own settings, and signs with it.
func TestDKMSHook(t *testing.T) {
	t.Parallel()
	d, pair := newDKMS(t), newKeyPair(t, t.TempDir(), "-nodes")
	hook := string(readFile(t, "../packaging/dkms/sign-file.conf"))
	for from, to := range map[string]string{
		"sign_file=/usr/bin/sign-file":           "sign_file=" + d.recorder(),
		"#mok_signing_key=/var/lib/dkms/mok.key": "mok_signing_key=" + pair.key,
		"#mok_certificate=/var/lib/dkms/mok.pub": "mok_certificate=" + pair.cert,
	} {
		if !strings.Contains(hook, from) {
			t.Fatalf("sign-file.conf lacks %s", from)
		}
		hook = strings.Replace(hook, from, to, 1)
	}
	writeFile(t, mkdir(t, filepath.Join(d.settings(), "framework.conf.d"))+"/sign-file.conf", hook, 0o644)
	module, _ := d.buildWith(t)
	checkArguments(t, d, "sha384", pair)
	checkSigned(t, module, d.unsigned(), "sha384", pair)
}

// spec packages hello.ko.
const spec = `%%{load:%[1]s}
%[2]s
Name: hello
Version: 1
Release: 1
Summary: a module
License: GPL
%%description
A module.
%%install
install -D -m 0644 %[3]s %%{buildroot}/lib/modules/6.1/extra/hello.ko
%%files
/lib/modules
`

// TestRPMHooks: rpmbuild signs what it packages, by the macros for spec files and by those
// for akmods, and ends if there is no key.
func TestRPMHooks(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "rpmbuild")
	module, pair := absolute(t, "../testdata/hello.ko"), newKeyPair(t, t.TempDir(), "-nodes")
	unsigned := filepath.Join(t.TempDir(), "hello.ko")
	mustRun(t, nil, "cp", module, unsigned)
	build := func(t *testing.T, spec string) (string, error) {
		top := t.TempDir()
		writeFile(t, top+"/hello.spec", spec, 0o644)
		bin := t.TempDir()
		symlink(t, program(t), bin+"/sign-file")
		out, err := run(t, []string{"HOME=" + top}, "sh", "-c", `PATH=$1:$PATH exec rpmbuild --quiet --define "_topdir $2" -bb "$2/hello.spec"`, "sh", bin, top)
		if err != nil {
			return out, err
		}
		found, _ := filepath.Glob(top + "/RPMS/*/*.rpm")
		if len(found) != 1 {
			t.Fatalf("%q\n%s", found, out)
		}
		mustRun(t, nil, "sh", "-c", `cd "$1" && rpm2cpio "$2" | cpio --quiet -idm`, "sh", top, found[0])
		return top + "/lib/modules/6.1/extra/hello.ko", nil
	}
	macros := absolute(t, "../packaging/rpm/macros.sign-file")
	script := fmt.Sprintf("%%global brp_sign_modules %s sha512 %%{modsign_key} %%{modsign_cert}\n", absolute(t, "../packaging/rpm/brp-sign-modules"))
	t.Run("spec file", func(t *testing.T) {
		head := script + "%global modsign_key " + pair.key + "\n%global modsign_cert " + pair.cert + "\n%sign_modules"
		signed, err := build(t, fmt.Sprintf(spec, macros, head, module))
		if err != nil {
			t.Fatal(err, signed)
		}
		checkSigned(t, signed, unsigned, "sha512", pair)
	})
	t.Run("spec file without the key", func(t *testing.T) {
		head := script + "%global modsign_key /nonexistent\n%global modsign_cert " + pair.cert + "\n%sign_modules"
		if out, err := build(t, fmt.Sprintf(spec, macros, head, module)); err == nil || !strings.Contains(out, "/nonexistent") {
			t.Errorf("the package is built without a key: %s", out)
		}
	})
	t.Run("akmods", func(t *testing.T) {
		local := filepath.Join(t.TempDir(), "macros")
		text := strings.NewReplacer("/etc/pki/akmods/private/private_key.priv", pair.key, "/etc/pki/akmods/certs/public_key.der", pair.cert).
			Replace(string(readFile(t, "../packaging/akmods/macros.sign-file-akmods")))
		writeFile(t, local, text, 0o644)
		// As kmodtool does.
		head := "%global __spec_install_post %{__arch_install_post} %{__os_install_post} %{__modsign_install_post}"
		signed, err := build(t, fmt.Sprintf(spec, local, head, module))
		if err != nil {
			t.Fatal(err, signed)
		}
		checkSigned(t, signed, unsigned, "sha256", pair)
	})
}

// TestDebhelperHook: a package that includes the snippet has signed modules.
func TestDebhelperHook(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "dh")
	testenv.Tool(t, "dpkg-buildpackage")
	pair, source := newKeyPair(t, t.TempDir(), "-nodes"), mkdir(t, filepath.Join(t.TempDir(), "hello"))
	mkdir(t, source+"/debian")
	for name, text := range map[string]string{
		"debian/control":   "Source: hello\nSection: kernel\nPriority: optional\nMaintainer: n <n@example.org>\nBuild-Depends: debhelper-compat (= 13)\nStandards-Version: 4.6.2\n\nPackage: hello\nArchitecture: any\nDescription: a module\n A module.\n",
		"debian/changelog": "hello (1) unstable; urgency=medium\n\n  * One.\n\n -- n <n@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n",
		"debian/install":   "hello.ko lib/modules/6.1/extra\n",
		"debian/rules": "#!/usr/bin/make -f\nMODSIGN_KEY = " + pair.key + "\nMODSIGN_CERT = " + pair.cert + "\ninclude " +
			absolute(t, "../packaging/debhelper/sign-modules.mk") + "\n%:\n\tdh $@\n",
	} {
		writeFile(t, filepath.Join(source, name), text, 0o755)
	}
	os.Chmod(source+"/debian/install", 0o644)
	mustRun(t, nil, "cp", "../testdata/hello.ko", source)
	bin := t.TempDir()
	symlink(t, program(t), bin+"/sign-file")
	mustRun(t, []string{"HOME=" + bin}, "sh", "-c", `cd "$1" && PATH=$2:$PATH dpkg-buildpackage -us -uc -b -d`, "sh", source, bin)
	found, _ := filepath.Glob(filepath.Dir(source) + "/hello_*.deb")
	if len(found) != 1 {
		t.Fatalf("%q", found)
	}
	root, stripped := t.TempDir(), filepath.Join(t.TempDir(), "stripped.ko")
	mustRun(t, nil, "dpkg-deb", "-x", found[0], root)
	module := root + "/lib/modules/6.1/extra/hello.ko"
	mustRun(t, nil, program(t), "extract", "--data", module, stripped)
	checkSigned(t, module, stripped, "sha512", pair)
}

// TestAction runs what the composite action runs: with the release's archive, with one that
// is not the release's, and with a key that does not fit the certificate.
func TestAction(t *testing.T) {
	t.Parallel()
	pair, dir := newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase), t.TempDir()
	mustRun(t, nil, "sh", "-c", `mkdir -p "$1/sign-file-1/bin" && cp "$2" "$1/sign-file-1/bin/sign-file" && tar -C "$1" -czf "$1/release.tar.gz" sign-file-1`, "sh", dir, program(t))
	module := filepath.Join(mkdir(t, dir+"/modules"), "hello.ko")
	mustRun(t, nil, "cp", "../testdata/hello.ko", module)
	sum := fmt.Sprintf("%x", sha256.Sum256(readFile(t, dir+"/release.tar.gz")))
	act := func(sum, cert string) (string, error) {
		return run(t, []string{"INPUT_PACKAGE=" + dir + "/release.tar.gz", "INPUT_SHA256=" + sum, "INPUT_HASH=sha512", "INPUT_PASSPHRASE=" + passphrase,
			"INPUT_KEY=" + string(readFile(t, pair.key)), "INPUT_CERTIFICATE=" + cert, "INPUT_PATH=" + dir + "/modules\n"}, "bash", "../.github/actions/sign-modules/sign")
	}
	if out, err := act(strings.Repeat("0", 64), pair.cert); err == nil {
		t.Errorf("another archive than the release's was run: %s", out)
	}
	if out, err := act(sum, absolute(t, keys+"/rsa4096.x509")); err == nil {
		t.Errorf("signed with another key: %s", out)
	}
	checkSameBytes(t, module, "../testdata/hello.ko")
	if out, err := act(sum, pair.cert); err != nil {
		t.Fatal(err, out)
	}
	checkSigned(t, module, "../testdata/hello.ko", "sha512", pair, "KBUILD_SIGN_PIN="+passphrase)
}
