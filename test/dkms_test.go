package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// dkmsConf leaves all to DKMS that it can do itself: make's command, and
// "strip -g" before the signature.
const dkmsConf = `PACKAGE_NAME="hello"
PACKAGE_VERSION="1.0"
BUILT_MODULE_NAME[0]="hello"
DEST_MODULE_LOCATION[0]="/extra"
`

// TestDKMS lets DKMS build and sign a module with the program, by the setting that
// framework.conf documents: sign_file. Each time the build itself must succeed, for
// DKMS looks at no exit status of sign_file.
func TestDKMS(t *testing.T) {
	t.Parallel()
	t.Run("signs as the real sign-file does", func(t *testing.T) {
		t.Parallel()
		d, pair := newDKMS(t), newKeyPair(t, t.TempDir(), "-nodes")
		module, log := d.build(t, pair)
		// The hash is the kernel's, the operands are those of the kernel's own build.
		checkArguments(t, d, "sha384", pair)
		checkSigned(t, module, d.unsigned(), "sha384", pair)
		if got := modinfo(t, "sig_hashalgo", module); got != "sha384" {
			t.Errorf("modinfo's sig_hashalgo is %q, not %q", got, "sha384")
		}
		// DKMS lets through what sign_file prints; success has nothing to say.
		if strings.Contains(log, "sign-file: ") {
			t.Errorf("the log has a message of ours:\n%s", log)
		}
	})

	t.Run("signs with the key that DKMS makes where there is none", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		d, pair := newDKMS(t), keyPair{filepath.Join(dir, "mok.key"), filepath.Join(dir, "mok.pub")}
		module, log := d.build(t, pair)
		checkLog(t, log, "Certificate or key are missing, generating self signed certificate for MOK...")
		checkSigned(t, module, d.unsigned(), "sha384", pair)
		if got, want := modinfo(t, "signer", module), "DKMS module signing key"; got != want {
			t.Errorf("modinfo's signer is %q, not %q", got, want)
		}
	})

	t.Run("takes the passphrase of the key from KBUILD_SIGN_PIN", func(t *testing.T) {
		t.Parallel()
		d, pair := newDKMS(t), newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase)
		env := "KBUILD_SIGN_PIN=" + passphrase
		module, _ := d.build(t, pair, env)
		checkSigned(t, module, d.unsigned(), "sha384", pair, env)
	})

	// Our message is all that the user gets to know: DKMS 3.0 adds nothing to it, and
	// installs the module. It must be the module as it was built.
	t.Run("says why and leaves the module whole without the passphrase", func(t *testing.T) {
		t.Parallel()
		d, pair := newDKMS(t), newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase)
		module, log := d.build(t, pair)
		checkLog(t, log, "\nSigning module ")
		checkMessage(t, log, pair.key)
		checkSameBytes(t, module, d.unsigned())
	})

	// DKMS looks whether the key is a file, and hands no passphrase on.
	for what, prepare := range dkmsReferences {
		t.Run("takes a file that names "+what, func(t *testing.T) {
			t.Parallel()
			d, dir := newDKMS(t), t.TempDir()
			cert, lines, env := prepare(t, dir)
			pair := keyPair{filepath.Join(dir, "key.ref"), cert}
			writeFile(t, pair.key, "sign-file key reference\n"+lines, 0o600)
			module, log := d.build(t, pair, env...)
			checkArguments(t, d, "sha384", pair)
			if strings.Contains(log, "sign-file: ") {
				t.Errorf("the log has a message of ours:\n%s", log)
			}
			if out, status := verify(t, "--trusted="+cert, module); status != 0 {
				t.Errorf("exit %d\n%s", status, out)
			}
		})
	}

	// A token's key, as framework.conf names it: DKMS makes no pair beside it.
	t.Run("takes a token's key by its URI", func(t *testing.T) {
		t.Parallel()
		d, dir, h := newDKMS(t), t.TempDir(), newSoftHSM(t)
		h.load("vault", "rsa2048", "01")
		writeFile(t, dir+"/pin", tokenPIN+"\n", 0o600)
		pair := keyPair{"pkcs11:token=vault;object=rsa2048?pin-source=" + dir + "/pin", absolute(t, keys+"/rsa2048.x509")}
		module, log := d.build(t, pair, h.env...)
		checkArguments(t, d, "sha384", pair)
		if strings.Contains(log, "generating") {
			t.Errorf("DKMS makes a pair:\n%s", log)
		}
		if out, status := verify(t, "--trusted="+pair.cert, module); status != 0 {
			t.Errorf("exit %d\n%s", status, out)
		}
	})

	// Here DKMS does not call the program at all. If that changes, what it does with a
	// key that is missing has to be tested here.
	t.Run("is not called where no key can be made", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "absent")
		d, pair := newDKMS(t), keyPair{filepath.Join(dir, "mok.key"), filepath.Join(dir, "mok.pub")}
		_, log := d.build(t, pair)
		checkLog(t, log, "not found and can't be generated, modules won't be signed")
		if _, err := os.Stat(d.arguments()); !os.IsNotExist(err) {
			t.Errorf("the program was called (%v):\n%s", err, log)
		}
	})
}

// dkmsReferences make, in a folder, keys of all kinds: the certificate, the lines of the
// reference, and the environment of a token, without its PIN.
var dkmsReferences = map[string]func(t *testing.T, dir string) (cert, lines string, env []string){
	"an encrypted key": func(t *testing.T, dir string) (cert, lines string, env []string) {
		pair := newKeyPair(t, dir, "-passout", "pass:"+passphrase)
		writeFile(t, dir+"/pass", passphrase+"\n", 0o600)
		return pair.cert, "key " + filepath.Base(pair.key) + "\npassphrase-file pass\n", nil
	},
	"a signing program": func(t *testing.T, dir string) (cert, lines string, env []string) {
		script := "#!/bin/bash\nread -r hash digest\nexec openssl pkeyutl -sign -inkey " + absolute(t, keys+"/rsa2048.key") +
			" -pkeyopt digest:$hash -in <(xxd -r -p <<<\"$digest\")\n"
		writeFile(t, dir+"/remote", script, 0o755)
		return absolute(t, keys+"/rsa2048.x509"), "key exec:" + dir + "/remote\n", nil
	},
	"a token's key": func(t *testing.T, dir string) (cert, lines string, env []string) {
		h := newSoftHSM(t)
		h.load("vault", "rsa2048", "01")
		writeFile(t, dir+"/pin", tokenPIN+"\n", 0o600)
		return absolute(t, keys+"/rsa2048.x509"), "key pkcs11:token=vault;object=rsa2048\npassphrase-file pin\n", h.env
	},
}

// dkms is a folder with all that DKMS otherwise keeps in /etc, /usr/src and /var/lib.
type dkms string

func (d dkms) settings() string  { return filepath.Join(string(d), "etc") }
func (d dkms) state() string     { return filepath.Join(string(d), "state") }
func (d dkms) tree() string      { return filepath.Join(string(d), "tree") }
func (d dkms) source() string    { return filepath.Join(string(d), "source") }
func (d dkms) installed() string { return filepath.Join(string(d), "installed") }
func (d dkms) config() string    { return filepath.Join(string(d), "config") }
func (d dkms) recorder() string  { return filepath.Join(string(d), "recorder") }

// arguments are what the recorder was called with, one a line.
func (d dkms) arguments() string { return filepath.Join(string(d), "arguments") }

// unsigned is the module as DKMS built and stripped it.
func (d dkms) unsigned() string { return filepath.Join(string(d), "unsigned.ko") }

// newDKMS makes the folders, and in them the source of a module.
func newDKMS(t *testing.T) dkms {
	t.Helper()
	testenv.Tool(t, "dkms")
	d := dkms(t.TempDir())
	for _, dir := range []string{d.settings(), d.state(), d.tree(), d.installed()} {
		mkdir(t, dir)
	}
	source := mkdir(t, filepath.Join(d.source(), "hello-1.0"))
	writeModules(t, source, "hello.ko")
	writeFile(t, filepath.Join(source, "dkms.conf"), dkmsConf, 0o644)
	// DKMS greps the hash in the kernel's configuration. This one is neither Debian's
	// sha256 nor DKMS's own sha512, so it can have come from nowhere else.
	writeFile(t, d.config(), "CONFIG_MODULE_SIG_HASH=\"sha384\"\n", 0o644)
	// The build folder is gone after the build, so the recorder keeps the module.
	writeFile(t, d.recorder(), fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$@\" >'%s'\ncp \"$4\" '%s'\nexec '%s' \"$@\"\n",
		d.arguments(), d.unsigned(), program(t)), 0o755)
	return d
}

// build runs "dkms build" and returns the built module and the log.
func (d dkms) build(t *testing.T, pair keyPair, env ...string) (module, log string) {
	t.Helper()
	d.writeFrameworkConf(t, pair)
	return d.buildWith(t, env...)
}

// buildWith is build with the settings that are there.
func (d dkms) buildWith(t *testing.T, env ...string) (module, log string) {
	t.Helper()
	headers := headers(t)
	// Debian names the folder as "uname -r" does; kernel.release in it does not.
	release := strings.TrimPrefix(filepath.Base(headers), "linux-headers-")
	log = d.run(t, env, "build", "-m", "hello", "-v", "1.0", "-k", release,
		"--dkmstree", d.tree(), "--sourcetree", d.source(), "--installtree", d.installed(),
		"--kernelsourcedir", headers, "--config", d.config())
	found, _ := filepath.Glob(filepath.Join(d.tree(), "hello/1.0/*/*/module/hello.ko"))
	if len(found) != 1 {
		t.Fatalf("modules %q are built:\n%s", found, log)
	}
	return found[0], log
}

// writeFrameworkConf writes the settings that no option of DKMS can give.
func (d dkms) writeFrameworkConf(t *testing.T, pair keyPair) {
	t.Helper()
	writeFile(t, filepath.Join(d.settings(), "framework.conf"), fmt.Sprintf(
		"sign_file=%q\nmok_signing_key=%q\nmok_certificate=%q\n", d.recorder(), pair.key, pair.cert), 0o644)
}

// privateMounts puts two folders in the place of DKMS's own, which it knows by fixed
// names: /etc/dkms has the settings, and in /var/lib/dkms it would make a key for
// this machine if ours were not found.
const privateMounts = `mount --bind "$1" /etc/dkms && mount --bind "$2" /var/lib/dkms && shift 2 && exec "$@"`

// run runs DKMS where privateMounts are in effect: in a mount namespace of its own,
// which ends with it. For a plain user a user namespace gives the right to mount.
func (d dkms) run(t *testing.T, env []string, args ...string) string {
	t.Helper()
	unshare := []string{"--mount"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	unshare = append(unshare, "sh", "-c", privateMounts, "sh", d.settings(), d.state())
	if out, err := run(t, nil, "unshare", append(unshare, "true")...); err != nil {
		t.Skipf("no private mounts over /etc/dkms and /var/lib/dkms here: %v: %s", err, out)
	}
	return mustRun(t, env, "unshare", append(append(unshare, testenv.Tool(t, "dkms")), args...)...)
}

// checkArguments reports any other call of the program than with these four operands.
func checkArguments(t *testing.T, d dkms, hash string, pair keyPair) {
	t.Helper()
	module := filepath.Join(d.tree(), "hello/1.0/build/hello.ko")
	want := strings.Join([]string{hash, pair.key, pair.cert, module, ""}, "\n")
	if got := string(readFile(t, d.arguments())); got != want {
		t.Errorf("DKMS called the program with\n%snot with\n%s", got, want)
	}
}

// checkLog reports a log without the text.
func checkLog(t *testing.T, log, want string) {
	t.Helper()
	if !strings.Contains(log, want) {
		t.Errorf("the log does not say %q:\n%s", want, log)
	}
}
