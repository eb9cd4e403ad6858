package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// remote is a key, a module and a map value's data in a folder of their own.
type remote struct {
	keyPair
	dir, module string
	isRSA       bool
}

func (r *remote) path(name string) string { return filepath.Join(r.dir, name) }

// newRemotes makes one of every kind of key that a remote side may have.
func newRemotes(t *testing.T) map[string]*remote {
	t.Helper()
	all := make(map[string]*remote)
	for name, newkey := range map[string][]string{
		"RSA":   nil,
		"ECDSA": {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"},
	} {
		dir := t.TempDir()
		r := &remote{newKeyPair(t, dir, append([]string{"-nodes"}, newkey...)...), dir, filepath.Join(dir, "hello.ko"), newkey == nil}
		writeFile(t, r.module, string(readFile(t, filepath.Join("..", "testdata", "hello.ko"))), 0o644)
		writeFile(t, r.path("data"), "some data", 0o644)
		all[name] = r
	}
	return all
}

// sign makes name.sig of a file, as the worked example of docs/remote-signing.md.
func (r *remote) sign(t *testing.T, file string) string {
	t.Helper()
	sum := mustRun(t, nil, program(t), "digest", "sha256", file)
	writeFile(t, file+".digest", sum, 0o644)
	mustRun(t, nil, "openssl", "pkeyutl", "-sign", "-inkey", r.key, "-pkeyopt", "digest:sha256", "-in", file+".digest", "-out", file+".sig")
	return file + ".sig"
}

// check holds a signed file against the real sign-file's.
func (r *remote) check(t *testing.T, signed, unsigned string) {
	t.Helper()
	if r.isRSA {
		checkSigned(t, signed, unsigned, "sha256", r.keyPair)
	}
	mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", r.cert, signed)
}

func TestAttach(t *testing.T) {
	for name, r := range newRemotes(t) {
		t.Run(name, func(t *testing.T) {
			signed, value := r.path("signed.ko"), r.path("value")
			mustRun(t, nil, program(t), "attach", "--signature", r.sign(t, r.module), "--cert", r.cert, "--hash", "sha256", r.module, signed)
			r.check(t, signed, r.module)

			mustRun(t, nil, program(t), "map", "attach", "--signature", r.sign(t, r.path("data")), "--cert", r.cert, "--hash", "sha256", "--value-size", "4096", r.path("data"), value)
			mustRun(t, nil, program(t), "map", "extract", "--signed", value, r.path("data.signed"))
			r.check(t, r.path("data.signed"), r.path("data"))

			// For a service that pads whatever it is given.
			if r.isRSA {
				writeFile(t, r.path("info"), mustRun(t, nil, program(t), "digest", "--format", "digestinfo", "sha256", r.module), 0o644)
				mustRun(t, nil, "openssl", "pkeyutl", "-sign", "-inkey", r.key, "-in", r.path("info"), "-out", r.path("info.sig"))
				checkSameBytes(t, r.path("info.sig"), r.module+".sig")
			}
		})
	}
}

// TestAttachRefuses: what does not fit together leaves the file as it is.
func TestAttachRefuses(t *testing.T) {
	remotes := newRemotes(t)
	for name, r := range remotes {
		good := r.sign(t, r.module)
		flipped := readFile(t, good)
		flipped[len(flipped)-1] ^= 1
		writeFile(t, r.path("flipped"), string(flipped), 0o644)
		writeFile(t, r.path("empty"), "", 0o644)
		other := remotes[map[string]string{"RSA": "ECDSA", "ECDSA": "RSA"}[name]]
		same := newKeyPair(t, t.TempDir(), "-nodes")
		for what, args := range map[string][]string{
			"a changed signature":           {r.path("flipped"), r.cert, "sha256"},
			"the signature of another file": {r.sign(t, r.path("data")), r.cert, "sha256"},
			"a certificate of another kind": {good, other.cert, "sha256"},
			"another certificate":           {good, same.cert, "sha256"},
			"another hash":                  {good, r.cert, "sha384"},
			"no signature":                  {r.path("empty"), r.cert, "sha256"},
			"a file that is none":           {r.module, r.cert, "sha256"},
		} {
			before := readFile(t, r.module)
			out, err := run(t, nil, program(t), "attach", "--signature", args[0], "--cert", args[1], "--hash", args[2], r.module)
			if fmt.Sprint(err) != "exit status 1" {
				t.Errorf("%s, %s: %v: %s", name, what, err, out)
			}
			if string(readFile(t, r.module)) != string(before) {
				t.Errorf("%s, %s: the module has changed", name, what)
			}
		}
	}
}

// script writes a program that stands for the remote side.
func (r *remote) script(t *testing.T, text string) string {
	t.Helper()
	writeFile(t, r.path("remote.sh"), "#!/bin/bash\n"+text+"\n", 0o755)
	return r.path("remote.sh")
}

// signRemotely is the remote side of docs/remote-signing.md.
const signRemotely = `read -r hash digest
exec openssl pkeyutl -sign -inkey %s -passin env:KBUILD_SIGN_PIN -pkeyopt "digest:$hash" -in <(xxd -r -p <<<"$digest")`

func TestExecKey(t *testing.T) {
	testenv.Tool(t, "xxd")
	for name, r := range newRemotes(t) {
		t.Run(name, func(t *testing.T) {
			script := r.script(t, fmt.Sprintf(signRemotely, r.path("locked.pem")))
			signed := r.path("signed.ko")
			lock := []string{"pkey", "-in", r.key, "-aes256", "-passout", "pass:" + passphrase, "-out", r.path("locked.pem")}
			mustRun(t, nil, "openssl", lock...)
			pin := []string{"KBUILD_SIGN_PIN=" + passphrase} // the key's, so the command gets it
			mustRun(t, pin, program(t), "sha256", "exec:"+script+" --key modules", r.cert, r.module, signed)
			r.check(t, signed, r.module)
		})
	}
}

// TestExecKeyFails: what the command did wrong is told, and the module untouched.
func TestExecKeyFails(t *testing.T) {
	r := newRemotes(t)["RSA"]
	before := readFile(t, r.module)
	for text, want := range map[string]string{
		"echo out of order >&2; exit 7":                      "exit status 7.*out of order",
		"echo nothing to say >&2":                            "no signature.*nothing to say",
		"head -c 1000000 /dev/zero":                          "larger than 64 KiB",
		"head -c 1000000 /dev/zero | tr '\\0' e >&2; exit 1": "eeee",
		"echo not a signature":                               "signature",
		"kill -9 $$":                                         "killed",
	} {
		out, err := run(t, nil, program(t), "sha256", "exec:"+r.script(t, text), r.cert, r.module)
		if fmt.Sprint(err) != "exit status 1" || !regexp.MustCompile(want).MatchString(out) || len(out) > 2000 {
			t.Errorf("%s: %v: %s", text, err, out)
		}
	}
	// No shell: neither is another command run nor a file made.
	out, err := run(t, nil, program(t), "sha256", "exec:"+r.script(t, "exit 1")+" ; touch "+r.path("made")+" > "+r.path("too"), r.cert, r.module)
	if err == nil {
		t.Error(out)
	}
	for _, name := range []string{"made", "too"} {
		if _, err := os.Lstat(r.path(name)); err == nil {
			t.Error("a shell has read the command")
		}
	}
	if string(readFile(t, r.module)) != string(before) {
		t.Error("the module has changed")
	}
}

// TestSecrets runs what fails with a passphrase that can be found again, and looks for
// it in all that comes out.
func TestSecrets(t *testing.T) {
	const secret = "hunter2-xyzzy"
	r := newRemotes(t)["RSA"]
	dir := t.TempDir()
	locked := newKeyPair(t, dir, "-passout", "pass:the right one")
	script := r.script(t, `tr '\0' ' ' < /proc/$PPID/cmdline >&2; echo "$@" >&2; echo "$KBUILD_SIGN_PIN" >&2; cat >&2; exit 1`)
	tooLong := secret + strings.Repeat("x", 1100)
	for _, args := range [][]string{
		{"sha256", locked.key, locked.cert, r.module},
		{"sha256", r.key, locked.cert, r.module},
		{"sha256", "exec:" + script, r.cert, r.module},
		{"sign", "--json", "sha256", locked.key, locked.cert, r.module},
		{"sha256", "pkcs11:token=none;object=none?pin-value=" + secret, r.cert, r.module},
		{"sha256", r.key, "pkcs11:token=none;object=none?pin-value=" + secret, r.module},
		{"sign", "--json", "sha256", "pkcs11:object=none?pin-value=" + secret + "&module-path=x", r.cert, r.module},
		{"sign", "sha256", locked.key, locked.cert, r.module},
		{"map", "sign", "sha256", locked.key, locked.cert, r.path("data"), r.path("value")},
		{"keygen", "pkcs11:object=none?pin-value=" + secret},
		{"keygen", "PKCS11:object=none?pin-value=" + secret},
		{"keygen", r.path("new.pem"), "exec:sign " + secret},
		{"verify", "--trusted", "exec:sign " + secret, r.module},
		{"verify", "--trusted", "Pkcs11:object=none?PIN-VALUE=" + secret, r.module},
		{"verify", "--trusted=pkcs11:object=none?pin-value=" + secret, r.module},
		{"sha256", "PKCS11:object=none?pin-value=" + secret, r.cert, r.module},
		{"sha256", "pkcs11:object=none?pin%2Dvalue=" + secret, r.cert, r.module},
		{"sha256", "pkcs11:object=none pin-value=" + secret, r.cert, r.module},
		{"sha256", "pkcs11:object=none?pin-source=" + secret, r.cert, r.module},
		{"sha256", "exec:no-such-command --pin " + secret, r.cert, r.module},
		{"sha256", "exec:" + script + " --pin " + secret, r.cert, r.module},
		{"sha256", "EXEC:" + script + " --pin " + secret, r.cert, r.module},
		// Operands in the wrong order.
		{"pkcs11:object=none?pin-value=" + secret, "sha256", r.cert, r.module},
		{"sha256", r.cert, "exec:" + script + " --pin " + secret, r.module},
		{"sha256", r.key, r.cert, "pkcs11:object=none?pin-value=" + secret},
		{"sign", "sha256", r.key, r.cert, "pkcs11:object=none?pin-value=" + secret},
		{"verify", "--trusted", r.cert, "pkcs11:object=none?pin-value=" + secret},
		{"digest", "sha256", "pkcs11:object=none?pin-value=" + secret},
		{"keygen", "--encrypt", "--type", "ec:p256", locked.key},
		{"keygen", "--encrypt", "--type", "ec:p256", "/nonexistent/key.pem"},
	} {
		for _, pin := range []string{secret, tooLong} {
			out, err := run(t, []string{"KBUILD_SIGN_PIN=" + pin}, program(t), args...)
			if err == nil {
				t.Errorf("%v: does not fail", args)
			}
			if strings.Contains(out, "hunter2") {
				t.Errorf("%v: the secret is printed, or in an argument list: %s", args, out)
			}
		}
	}
}
