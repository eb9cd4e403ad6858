package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/kernel"
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

// mldsa is a key that no kernel of Debian's takes, nor this machine's, and the
// configuration of one that does.
func mldsa(t *testing.T) (pair keyPair, config string) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "config")
	writeFile(t, config, "# Linux/x86 7.0.4 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_SYSTEM_TRUSTED_KEYRING=y\nCONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_MLDSA=y\n", 0o644)
	return keyPair{absolute(t, keys+"/mldsa65.key"), absolute(t, keys+"/mldsa65.x509")}, config
}

// checkJudge: a hook judges as the kernel that its user names, by default the newest that is
// known, as Debian builds it, and not as this machine's, which may have been built without signatures.
func checkJudge(t *testing.T, build func(pair keyPair, kernel string) (string, error)) {
	t.Helper()
	pair, config := mldsa(t)
	series := kernel.Series()
	for _, c := range []struct{ kernel, refusal string }{{"", "kernel " + series[len(series)-1]}, {"6.12", "kernel 6.12"}, {config, ""}} {
		out, err := build(pair, c.kernel)
		if (err != nil) != (c.refusal != "") || !strings.Contains(out, c.refusal) || strings.Contains(out, "warning: this kernel") {
			t.Errorf("kernel %q: %v, and %q is missing in\n%s", c.kernel, err, c.refusal, out)
		}
	}
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
	// Where make install puts it.
	brp := absolute(t, "../packaging/rpm/brp-sign-modules")
	moved := filepath.Join(t.TempDir(), "macros")
	writeFile(t, moved, strings.ReplaceAll(string(readFile(t, macros)), "/usr/share/sign-file/rpm/brp-sign-modules", brp), 0o644)
	macros = moved
	t.Run("spec file", func(t *testing.T) {
		head := "%global modsign_key " + pair.key + "\n%global modsign_cert " + pair.cert + "\n%sign_modules"
		signed, err := build(t, fmt.Sprintf(spec, macros, head, module))
		if err != nil {
			t.Fatal(err, signed)
		}
		checkSigned(t, signed, unsigned, "sha512", pair)
	})
	t.Run("spec file without the key", func(t *testing.T) {
		head := "%global modsign_key /nonexistent\n%global modsign_cert " + pair.cert + "\n%sign_modules"
		if out, err := build(t, fmt.Sprintf(spec, macros, head, module)); err == nil || !strings.Contains(out, "/nonexistent") {
			t.Errorf("the package is built without a key: %s", out)
		}
	})
	t.Run("PIN in the key's reference", func(t *testing.T) {
		head := "%global modsign_key pkcs11:object=key?pin-value=12345678\n%global modsign_cert " + pair.cert + "\n%sign_modules"
		if out, err := build(t, fmt.Sprintf(spec, macros, head, module)); err == nil || strings.Contains(out, "12345678") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("link out of the build root", func(t *testing.T) {
		root, host := t.TempDir(), t.TempDir()
		mustRun(t, nil, "cp", unsigned, host)
		mkdir(t, root+"/lib")
		symlink(t, host, root+"/lib/modules")
		if out, err := run(t, []string{"RPM_BUILD_ROOT=" + root}, brp, "sha512", pair.key, pair.cert); err == nil || !strings.Contains(out, "out of the build root") {
			t.Errorf("%v\n%s", err, out)
		}
		checkSameBytes(t, host+"/"+filepath.Base(unsigned), unsigned)
	})
	t.Run("whose kernel", func(t *testing.T) {
		checkJudge(t, func(pair keyPair, kernel string) (string, error) {
			head := "%global modsign_key " + pair.key + "\n%global modsign_cert " + pair.cert + "\n%sign_modules"
			if kernel != "" {
				head = "%global modsign_kernel " + kernel + "\n" + head
			}
			return build(t, fmt.Sprintf(spec, macros, head, module))
		})
	})
	t.Run("akmods", func(t *testing.T) {
		local := filepath.Join(t.TempDir(), "macros")
		text := strings.NewReplacer("/etc/pki/akmods/private/private_key.priv", pair.key, "/etc/pki/akmods/certs/public_key.der", pair.cert,
			"/usr/share/sign-file/rpm/brp-sign-modules", brp).
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

// buildDeb builds a source package whose binary packages are those of control, each with
// the files of its list, with the debhelper snippet and the lines before it in debian/rules. It
// returns the folder of the packages, and what was said.
func buildDeb(t *testing.T, control, files string, lines ...string) (string, string, error) {
	t.Helper()
	source, bin := mkdir(t, filepath.Join(t.TempDir(), "hello")), t.TempDir()
	mkdir(t, source+"/debian")
	for name, text := range map[string]string{
		"debian/control":   "Source: hello\nSection: kernel\nPriority: optional\nMaintainer: n <n@example.org>\nBuild-Depends: debhelper-compat (= 13)\nStandards-Version: 4.6.2\n\n" + control,
		"debian/changelog": "hello (1) unstable; urgency=medium\n\n  * One.\n\n -- n <n@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n",
		"debian/install":   files,
		"debian/rules":     "#!/usr/bin/make -f\n" + strings.Join(lines, "\n") + "\ninclude " + absolute(t, "../packaging/debhelper/sign-modules.mk") + "\n%:\n\tdh $@\n",
	} {
		writeFile(t, filepath.Join(source, name), text, 0o755)
	}
	os.Chmod(source+"/debian/install", 0o644)
	mustRun(t, nil, "cp", "../testdata/hello.ko", source)
	symlink(t, program(t), bin+"/sign-file")
	out, err := run(t, []string{"HOME=" + bin}, "sh", "-c", `cd "$1" && PATH=$2:$PATH dpkg-buildpackage -us -uc -b -d`, "sh", source, bin)
	return filepath.Dir(source), out, err
}

// TestDebhelperHook: a package that includes the snippet has signed modules, and there is
// none without.
func TestDebhelperHook(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "dh")
	testenv.Tool(t, "dpkg-buildpackage")
	const files, nothing = "hello.ko lib/modules/6.1/extra\n", "hello.ko usr/share/hello\n"
	control := func(architecture string) string {
		return "Package: hello\nArchitecture: " + architecture + "\nDescription: a module\n A module.\n"
	}
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	named := func(pair keyPair) []string {
		return []string{"MODSIGN_KEY = " + pair.key, "MODSIGN_CERT = " + pair.cert}
	}
	for _, architecture := range []string{"any", "all"} {
		dir, out, err := buildDeb(t, control(architecture), files, named(pair)...)
		found, _ := filepath.Glob(dir + "/hello_*.deb")
		if err != nil || len(found) != 1 {
			t.Fatalf("%v\n%s\n%q", err, out, found)
		}
		root, stripped := t.TempDir(), filepath.Join(t.TempDir(), "stripped.ko")
		mustRun(t, nil, "dpkg-deb", "-x", found[0], root)
		module := root + "/lib/modules/6.1/extra/hello.ko"
		mustRun(t, nil, program(t), "extract", "--data", module, stripped)
		checkSigned(t, module, stripped, "sha512", pair)
	}
	if _, out, err := buildDeb(t, control("any"), nothing, named(pair)...); err == nil || !strings.Contains(out, "MODSIGN_ALLOW_EMPTY") {
		t.Errorf("a package without modules is built: %s", out)
	}
	if _, out, err := buildDeb(t, control("any"), nothing, append(named(pair), "MODSIGN_ALLOW_EMPTY = yes")...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	checkJudge(t, func(pair keyPair, kernel string) (string, error) {
		lines := named(pair)
		if kernel != "" {
			lines = append(lines, "MODSIGN_KERNEL = "+kernel)
		}
		_, out, err := buildDeb(t, control("any"), files, lines...)
		return out, err
	})
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
	// Each command of the step is one that looks for the secrets first.
	bin := t.TempDir()
	for _, name := range []string{"mktemp", "cp", "sha256sum", "tar", "grep"} {
		tool, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(bin, name), "#!/bin/sh\ncase $(env) in *'PRIVATE KEY'* | *'"+passphrase+"'*) echo "+name+" has the secrets >&2 ;; esac\nexec "+tool+" \"$@\"\n", 0o755)
	}
	act := func(sum, cert string) (string, error) {
		return run(t, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "key=exported", "passphrase=exported", "INPUT_KERNEL=7.0", "INPUT_PACKAGE=" + dir + "/release.tar.gz", "INPUT_SHA256=" + sum, "INPUT_HASH=sha512", "INPUT_PASSPHRASE=" + passphrase,
			"INPUT_KEY=" + string(readFile(t, pair.key)), "INPUT_CERTIFICATE=" + cert, "INPUT_PATH=" + dir + "/modules\n"}, "bash", "../.github/actions/sign-modules/sign")
	}
	if out, err := act(strings.Repeat("0", 64), pair.cert); err == nil {
		t.Errorf("another archive than the release's was run: %s", out)
	}
	if out, err := act(sum, absolute(t, keys+"/rsa4096.x509")); err == nil {
		t.Errorf("signed with another key: %s", out)
	}
	checkSameBytes(t, module, "../testdata/hello.ko")
	if out, err := act(sum, pair.cert); err != nil || strings.Contains(out, "secrets") || strings.Contains(out, "warning: this kernel") {
		t.Fatal(err, out)
	}
	checkSigned(t, module, "../testdata/hello.ko", "sha512", pair, "KBUILD_SIGN_PIN="+passphrase)
}
