package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// TestKeygenReplacesFilesAlone: --force is for a file, and neither for a device nor for a
// link, as /dev/stdout is one.
func TestKeygenReplacesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(unix.Mkfifo(dir+"/fifo", 0o600), os.Symlink("target", dir+"/link"), os.Mkdir(dir+"/folder", 0o700)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := unix.Mknod(dir+"/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
			t.Logf("no device: %v", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		for _, files := range [][]string{{entry.Name()}, {"key.pem", entry.Name()}} {
			args := append([]string{"-C", dir, program(t), "keygen", "--force", "--type=ec:p256"}, files...)
			if out, err := run(t, nil, "env", args...); err == nil {
				t.Errorf("%v: %s", files, out)
			}
			if info, err := os.Lstat(filepath.Join(dir, entry.Name())); err != nil || info.Mode().Type() != entry.Type() {
				t.Errorf("%v: is now %v, %v", files, info, err)
			}
		}
		os.Remove(dir + "/key.pem")
	}
}

// TestForeignLinkHidesOutput: what another user's link leads to, at the end of the path or
// in it, is nobody else's to read, whatever becomes of it.
func TestForeignLinkHidesOutput(t *testing.T) {
	a := newAmbush(t)
	hidden := filepath.Join(filepath.Dir(a.setID), "hidden")
	if err := os.Mkdir(hidden, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, hidden+"/s.ko", string(a.signed), 0o600)
	writeFile(t, hidden+"/data", "root:secret", 0o600)
	value := a.keep("value", nil)
	mustRun(t, nil, program(t), "map", "sign", "sha256", a.key(), a.cert(), hidden+"/data", value)
	writeFile(t, hidden+"/value", string(readFile(t, value)), 0o600)
	if err := errors.Join(os.Symlink(hidden, a.path("folder")), os.Symlink(hidden+"/s.ko", a.path("s.ko")),
		os.Symlink(hidden+"/data", a.path("data")), os.Symlink(hidden+"/value", a.path("value"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder", "s.ko", "data", "value"} {
		if err := os.Lchown(a.path(name), stranger, stranger); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{"", "folder/"} {
		for what, args := range map[string][]string{
			"classic":     {"sha256", a.key(), a.cert(), from + "s.ko", "out"},
			"sign":        {"sign", "--replace", "--output-dir", "outdir", "sha256", a.key(), a.cert(), from + "s.ko"},
			"extract":     {"extract", "--data", from + "s.ko", "out"},
			"map sign":    {"map", "sign", "sha256", a.key(), a.cert(), from + "data", "out"},
			"map wrap":    {"map", "wrap", from + "s.ko", "out"},
			"map extract": {"map", "extract", from + "value", "out"},
		} {
			out, err := a.program(args...)
			for _, path := range []string{a.path("out"), a.path("outdir/s.ko")} {
				info, statErr := os.Stat(path)
				if statErr != nil {
					continue
				}
				if info.Mode()&0o077 != 0 {
					a.Errorf("%s, %q: the output is %v", what, from, info.Mode())
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				a.Errorf("%s, %q: %v\n%s", what, from, err, out)
			}
			// A file that the stranger can read stays what it is.
			mkdir(t, a.path("outdir"))
			for _, path := range []string{a.path("out"), a.path("outdir/s.ko")} {
				writeFile(t, path, "planted", 0o666)
				if err := errors.Join(os.Chmod(path, 0o666), os.Chown(path, stranger, stranger)); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := a.program(args...); err == nil {
				a.Errorf("%s, %q over a stranger's file: %s", what, from, out)
			}
			a.holds("out", []byte("planted"))
			a.holds("outdir/s.ko", []byte("planted"))
			if err := errors.Join(os.Remove(a.path("out")), os.RemoveAll(a.path("outdir"))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPlantedFolder: a folder that a stranger has put into a shared output folder is not
// written to.
func TestPlantedFolder(t *testing.T) {
	a := newAmbush(t)
	mkdir(t, a.path("shared/sub"))
	mkdir(t, a.path("tree/sub"))
	writeFile(t, a.path("tree/sub/m.ko"), string(a.module), 0o600)
	writeFile(t, a.path("shared/sub/m.ko"), "planted", 0o666)
	if err := errors.Join(os.Chown(a.path("shared"), 0, 0), os.Chmod(a.path("shared"), 0o777|fs.ModeSticky),
		os.Chown(a.path("shared/sub"), stranger, stranger), os.Chmod(a.path("shared/sub/m.ko"), 0o666), os.Chown(a.path("shared/sub/m.ko"), stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	list := mustRun(t, nil, "env", "-C", a.dir, program(t), "digest", "--format", "json", "--any-file", "sha256", "tree")
	writeFile(t, a.path("signatures"), strings.Join(signLines(t, list, a.key()), ""), 0o600)
	for what, args := range map[string][]string{
		"sign":       {"sign", "--output-dir", "shared", "sha256", a.key(), a.cert(), "tree"},
		"sign -d":    {"sign", "-d", "--output-dir", "shared", "sha256", a.key(), a.cert(), "tree"},
		"map attach": {"map", "attach", "--signatures", "signatures", "--cert", a.cert(), "--output-dir", "shared", "tree"},
	} {
		if out, err := a.program(args...); err == nil || !strings.Contains(out, "directory of another user in a shared directory") {
			a.Errorf("%s: %v\n%s", what, err, out)
		}
		a.holds("shared/sub/m.ko", []byte("planted"))
	}
}

// TestPlantedOutput: in a folder that all may write to, what a stranger has put at the
// output's name gives it neither its owner nor its mode.
func TestPlantedOutput(t *testing.T) {
	a := newAmbush(t)
	if err := os.Chown(a.dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(a.dir, 0o777|fs.ModeSticky), os.Chown(a.path("m.ko"), 0, 0)); err != nil {
		t.Fatal(err)
	}
	plant := func(name string) {
		writeFile(t, a.path(name), "planted", 0o666)
		if err := errors.Join(os.Chmod(a.path(name), 0o666), os.Chown(a.path(name), stranger, stranger)); err != nil {
			t.Fatal(err)
		}
	}
	source := a.keep("m.ko", a.module)
	for what, c := range map[string]struct {
		name string
		args []string
	}{
		"classic":  {"out", []string{"sha256", a.key(), a.cert(), source, "out"}},
		"-d":       {"m.ko.p7s", []string{"-d", "sha256", a.key(), a.cert(), "m.ko"}},
		"sign -d":  {"m.ko.p7s", []string{"sign", "-d", "sha256", a.key(), a.cert(), "m.ko"}},
		"sign":     {"m.ko", []string{"sign", "--output-dir", ".", "sha256", a.key(), a.cert(), source}},
		"map sign": {"out", []string{"map", "sign", "sha256", a.key(), a.cert(), source, "out"}},
	} {
		plant(c.name)
		if out, err := a.program(c.args...); err == nil {
			a.Errorf("%s: %s", what, out)
		}
		a.holds(c.name, []byte("planted"))
		if err := os.Remove(a.path(c.name)); err != nil {
			t.Fatal(err)
		}
		writeFile(t, a.path("m.ko"), string(a.module), 0o644)
	}
}

// TestPlantedFIFO: a stranger's FIFO at a name that the program makes itself is not waited
// for, and gets nothing.
func TestPlantedFIFO(t *testing.T) {
	a := newAmbush(t)
	if err := errors.Join(unix.Mkfifo(a.path("m.ko.p7s"), 0o666), os.Chown(a.path("m.ko.p7s"), stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"-d", "-p"} {
		out, err := run(t, nil, "timeout", "10", "env", "-C", a.dir, program(t), flag, "sha256", a.key(), a.cert(), "m.ko")
		if err == nil || !strings.Contains(out, "not a regular file") {
			a.Errorf("%s: %v\n%s", flag, err, out)
		}
		a.holds("m.ko", a.module)
	}
	mustRun(t, nil, "sh", "-c", program(t)+" digest sha256 "+a.path("m.ko")+" | openssl pkeyutl -sign -inkey "+a.key()+" -pkeyopt digest:sha256 -out "+a.path("value"))
	detached := []string{"attach", "--detached", "--signature", a.path("value"), "--cert", a.cert(), "--hash", "sha256", a.path("m.ko")}
	if out, err := run(t, nil, "timeout", append([]string{"10", program(t)}, detached...)...); err == nil || !strings.Contains(out, "not a regular file") {
		a.Errorf("attach --detached: %v\n%s", err, out)
	}
	// In a shared folder, not even where somebody named it.
	if err := errors.Join(os.Chown(a.dir, 0, 0), os.Chmod(a.dir, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	pem := absolute(t, keys+"/rsa2048.pem")
	for _, args := range [][]string{{asExtractCert(t), pem, a.path("m.ko.p7s")}, append(append([]string{program(t)}, detached...), a.path("m.ko.p7s"))} {
		if out, err := run(t, nil, "timeout", append([]string{"10"}, args...)...); err == nil || !strings.Contains(out, "another user") {
			a.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// TestChangedAtTheName: the temporary name tells who watches that the rename is next. What
// they do then is seen.
func TestChangedAtTheName(t *testing.T) {
	testenv.Tool(t, "strace")
	a := newAmbush(t)
	for what, change := range map[string]func() error{
		"appended": func() error {
			f, err := os.OpenFile(a.path("m.ko"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("more")
				err = errors.Join(err, f.Close())
			}
			return err
		},
		"removed": func() error { return os.Remove(a.path("m.ko")) },
		"replaced": func() error {
			return errors.Join(os.WriteFile(a.path("n"), nil, 0o600), os.Rename(a.path("n"), a.path("m.ko")))
		},
	} {
		writeFile(t, a.path("m.ko"), string(a.module), 0o644)
		cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:delay_exit=1500000",
			program(t), "sha256", a.key(), a.cert(), a.path("m.ko"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, a.path(".sign-file-*"))
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			a.Errorf("%s: success", what)
		}
		if left, _ := filepath.Glob(a.path(".sign-file-*")); left != nil {
			a.Errorf("%s: left behind: %q", what, left)
		}
		if now, err := os.ReadFile(a.path("m.ko")); what != "removed" && bytes.Equal(now, a.signed) || what == "removed" && err == nil {
			a.Errorf("%s: undone", what)
		}
	}
}

// TestKeyIsItsOwnersAlone: a folder's default ACL adds nobody to a private key, so that a
// later chmod lets nobody in.
func TestKeyIsItsOwnersAlone(t *testing.T) {
	testenv.Tool(t, "setfacl")
	dir := t.TempDir()
	if out, err := run(t, nil, "setfacl", "-m", "d:u:65534:rwx", dir); err != nil {
		testenv.Missing(t, "a filesystem with ACLs: "+out)
	}
	for range 2 {
		mustRun(t, nil, program(t), "keygen", "--force", "--type=ec:p256", dir+"/key.pem")
		if acl := mustRun(t, nil, "getfacl", "-c", dir+"/key.pem"); strings.Contains(acl, "65534") || strings.Contains(acl, "nobody") {
			t.Errorf("the key has\n%s", acl)
		}
	}
}

// TestKeyIsNoOutput: an operand in the wrong place does not destroy what was signed with.
func TestKeyIsNoOutput(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	contents := map[string]string{
		"k": string(readFile(t, keys+"/rsa2048.key")), "c": string(readFile(t, keys+"/rsa2048.pem")), "m.ko": string(readFile(t, "../testdata/hello.ko")),
	}
	for name, content := range contents {
		writeFile(t, at(name), content, 0o600)
	}
	if err := errors.Join(os.Link(at("k"), at("m.ko.p7s")), os.Mkdir(at("out"), 0o700), os.Link(at("c"), at("out/m.ko"))); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"sha256 k c m.ko k", "sha256 k c m.ko c", "-d sha256 k c m.ko", "-p sha256 k c m.ko", "sign sha256 k c k", "sign sha256 k c c",
		"sign --output-dir out sha256 k c m.ko", "sign -d sha256 k c m.ko", "map sign sha256 k c m.ko k", "map sign sha256 k c m.ko c",
	} {
		if out, err := run(t, nil, "env", append([]string{"-C", dir, program(t)}, strings.Fields(line)...)...); err == nil {
			t.Errorf("%s: %s", line, out)
		}
		for name, content := range contents {
			if string(readFile(t, at(name))) != content {
				t.Errorf("%s: %s was changed", line, name)
				writeFile(t, at(name), content, 0o600)
			}
		}
	}
}

// TestCompressorsThatErr: neither without end nor with a checksum that kernels do not know.
func TestCompressorsThatErr(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	packed := mustRun(t, nil, "sh", "-c", "xz --check=crc32 -c <"+w.path("m.ko"))
	tools := t.TempDir()
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Fatal(err)
	}
	for script, says := range map[string]string{
		"exec yes":                         "more than twice",
		"exec " + xz + " -c --check=crc64": "not CRC32",
	} {
		writeFile(t, w.path("m.ko.xz"), packed, 0o644)
		writeFile(t, filepath.Join(tools, "xz"), "#!/bin/sh\n"+script+"\n", 0o700)
		out, err := run(t, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}, program(t), "sign", "sha256", w.key(), w.cert(), w.path("m.ko.xz"))
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		w.holds("m.ko.xz", []byte(packed))
	}
}

// TestSecretsInPlacesOfFiles: a URI with its PIN, or a key, where a file is wanted.
func TestSecretsInPlacesOfFiles(t *testing.T) {
	dir := t.TempDir()
	uri, trusted := "pkcs11:token=x;pin-value=hunter2", "--trusted="+keys+"/rsa2048.pem"
	secret := strings.Split(string(readFile(t, keys+"/rsa2048.key")), "\n")[5]
	for _, args := range [][]string{
		{"verify", "--json", "--kernel", "6.12", trusted, absolute(t, "../testdata/hello.ko"), uri}, {"inspect", "--json", uri},
		{"extract", absolute(t, golden+"/hello-rsa2048-sha256.ko"), uri}, {"sign", "--from", absolute(t, keys+"/rsa2048.key"), "sha256", absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")},
	} {
		for i, arg := range args {
			if strings.HasPrefix(arg, "--trusted=") {
				args[i] = "--trusted=" + absolute(t, strings.TrimPrefix(arg, "--trusted="))
			}
		}
		out, err := run(t, nil, "env", append([]string{"-C", dir, program(t)}, args...)...)
		if err == nil || strings.Contains(out, "hunter2") || strings.Contains(out, secret) {
			t.Errorf("%v: %v\n%s", args[:1], err, out)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("made %v", entries)
	}
}

// TestQuit: the keyboard's other signal leaves nothing behind either.
func TestQuit(t *testing.T) {
	testenv.Tool(t, "strace")
	dir := t.TempDir()
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:delay_exit=1000000",
		program(t), "keygen", "--type=ec:p256", dir+"/key.pem", dir+"/cert.der")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 1 || len(entries) == 2 && strings.HasPrefix(entries[0].Name(), ".") {
		t.Errorf("left %v", fmt.Sprint(entries))
	}
}

// TestQuitKeepsSecrets: the registers and arguments of a traceback may be words of a private
// key.
func TestQuitKeepsSecrets(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	key, cert := absolute(t, "../testdata/keys/rsa4096.key"), absolute(t, "../testdata/keys/rsa4096.x509")
	died := 0
	for wait := range 40 {
		cmd := exec.Command(program(t), "sha256", key, cert, w.path("m.ko"), w.path("out.ko"))
		cmd.Env = append(os.Environ(), "SIGN_FILE_RSA=std")
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(wait) * time.Millisecond / 3)
		cmd.Process.Signal(syscall.SIGQUIT)
		if cmd.Wait() != nil {
			died++
		}
		// Before a key is read there is nothing to tell.
		out := said.String()
		if strings.Contains(out, "cli.Run") && (strings.Contains(out, "sign-file/keys") || strings.Contains(out, "sign-file/signfile")) {
			t.Errorf("after %d ms: %s", wait, out)
		}
	}
	if died == 0 {
		t.Error("no run was interrupted")
	}
}
