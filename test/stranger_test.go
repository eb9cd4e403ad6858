package test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// What a stranger's names lead to: the ways that a look at the mode of one file misses.

// own gives names in the folder to the stranger.
func (a *ambush) own(names ...string) {
	a.Helper()
	for _, name := range names {
		if err := os.Lchown(a.path(name), stranger, stranger); err != nil {
			a.Fatal(err)
		}
	}
}

// put makes a file of root's in the folder.
func (a *ambush) put(name string, content []byte) {
	a.Helper()
	writeFile(a.T, a.path(name), string(content), 0o644)
}

// link makes the stranger's link.
func (a *ambush) link(name, to string) {
	a.Helper()
	os.RemoveAll(a.path(name))
	symlinkTo(a.T, to, a.path(name))
	a.own(name)
}

// mine checks that others have no rights to a file, and removes it.
func (a *ambush) mine(what, name string) {
	a.Helper()
	var stat unix.Stat_t
	if err := unix.Lstat(a.path(name), &stat); err != nil {
		a.Errorf("%s: %v", what, err)
		return
	}
	_, err := unix.Lgetxattr(a.path(name), "system.posix_acl_access", nil)
	if stat.Mode&0o077 != 0 || stat.Uid != 0 || err == nil {
		a.Errorf("%s: %s is %o, of %d, with an ACL: %v", what, name, stat.Mode, stat.Uid, err == nil)
	}
	if err := os.Remove(a.path(name)); err != nil {
		a.Fatal(err)
	}
}

// TestHiddenByItsFolder: a file that is for everybody by its mode may be hidden by a folder
// on the way to it, or by an ACL; and a folder's default ACL or group may show a new file.
func TestHiddenByItsFolder(t *testing.T) {
	a := newAmbush(t)
	folder := t.TempDir() // in one that nobody else may enter
	writeFile(t, folder+"/s.ko", string(a.module), 0o644)
	outputs := func(what string) {
		t.Helper()
		for how, args := range map[string][]string{
			"classic": {"sha256", a.key(), a.cert(), "m.ko", "out"}, "map sign": {"map", "sign", "sha256", a.key(), a.cert(), "m.ko", "out"},
			"-p": {"-p", "sha256", a.key(), a.cert(), "m.ko", "out"},
		} {
			if said, err := a.program(args...); err != nil {
				t.Errorf("%s, %s: %v %s", what, how, err, said)
			}
			a.mine(what+", "+how, "out")
			os.Remove(a.path("m.ko.p7s"))
		}
	}
	a.link("m.ko", folder+"/s.ko")
	outputs("a folder of mode 0700")
	if said, err := a.program("sha256", a.key(), a.cert(), "m.ko"); err != nil {
		t.Errorf("in place: %v %s", err, said)
	}
	a.mine("in place", "m.ko")

	public, err := os.MkdirTemp("/var/tmp", "sign-file-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(public) })
	writeFile(t, public+"/s.ko", string(a.module), 0o644)
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	a.link("m.ko", public+"/s.ko")
	if said, err := a.program("sha256", a.key(), a.cert(), "m.ko", "out"); err != nil {
		t.Errorf("%v %s", err, said)
	}
	if info, err := os.Stat(a.path("out")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("what everybody may read is hidden: %v %v", info.Mode(), err)
	}
	os.Remove(a.path("out"))
	acl := []byte{2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0xfe, 0xff, 0, 0, // the stranger may not
		4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Setxattr(public+"/s.ko", "system.posix_acl_access", acl, 0); err != nil {
		testenv.Missing(t, "a filesystem with ACLs: "+err.Error())
	}
	outputs("an ACL")
	unix.Removexattr(public+"/s.ko", "system.posix_acl_access")
	if err := os.Chmod(public+"/s.ko", 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a.dir, 0o777|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	outputs("a set-gid folder")
	inherited := []byte{2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 6, 0, 0xfe, 0xff, 0, 0, // the stranger may
		4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Setxattr(a.dir, "system.posix_acl_default", inherited, 0); err != nil {
		t.Fatal(err)
	}
	outputs("a default ACL")
}

// TestOtherSecrets: whatever else goes into an output may be the secret, and it may be no
// regular file.
func TestOtherSecrets(t *testing.T) {
	a := newAmbush(t)
	a.put("data", []byte("data"))
	a.put("signed.ko", a.signed)
	secret := t.TempDir() + "/secret"
	writeFile(t, secret, "not for everybody", 0o640)
	for _, to := range []string{secret, "/proc/self/environ", "/proc/kallsyms"} {
		a.link("planted", to)
		for what, args := range map[string][]string{
			"map sign --tail": {"map", "sign", "--tail", "planted", "sha256", a.key(), a.cert(), "data", "out"},
			"map wrap --tail": {"map", "wrap", "--tail", "planted", "signed.ko", "out"},
			"map sign":        {"map", "sign", "sha256", a.key(), a.cert(), "planted", "out"},
			"-s":              {"-s", "planted", "sha256", a.cert(), "m.ko", "out"},
		} {
			if said, err := a.program(args...); err != nil {
				if _, err := os.Lstat(a.path("out")); err == nil || strings.Contains(said, "another user") {
					t.Errorf("%s, %s: %v %s", to, what, err, said)
				}
				continue // too long for a tail, or for a message
			}
			a.mine(to+", "+what, "out")
		}
	}
}

// TestForeignOutput: no stranger chooses which file of others is written, by no link to it or
// on the way to it.
func TestForeignOutput(t *testing.T) {
	a := newAmbush(t)
	a.put("signed.ko", a.signed)
	a.put("value", a.signed)
	victim := t.TempDir()
	for name, to := range map[string]string{"link": victim + "/file", "folder": victim, "twice": a.path("folder"), "up": a.path("folder/.")} {
		a.link(name, to)
	}
	mkdir(t, victim+"/.theirs") // out of which the user's own path goes
	if err := os.Chown(victim+"/.theirs", stranger, stranger); err != nil {
		t.Fatal(err)
	}
	a.link("theirs", victim+"/.theirs")
	mkdir(t, a.path("tree"))
	writeFile(t, a.path("tree/t.ko"), string(a.module), 0o644)
	for _, exists := range []bool{false, true} {
		for _, out := range []string{"link", "folder/file", "twice/file", "up/file", "folder/new/../file", "theirs/../file"} {
			for what, args := range map[string][]string{
				"classic":      {"sha256", a.key(), a.cert(), "m.ko", out},
				"extract":      {"extract", "--data", "signed.ko", out},
				"map sign":     {"map", "sign", "sha256", a.key(), a.cert(), "m.ko", out},
				"map wrap":     {"map", "wrap", "signed.ko", out},
				"output-dir":   {"sign", "--output-dir", filepath.Dir(out), "sha256", a.key(), a.cert(), "tree/t.ko"},
				"keygen":       {"keygen", "--force", out, out + ".x509"},
				"bpf extract":  {"map", "extract", "--signed", "value", out},
				"sign in tree": {"sign", "sha256", a.key(), a.cert(), "folder"},
			} {
				if filepath.Dir(out) == "." && what == "output-dir" {
					continue
				}
				if exists {
					writeFile(t, victim+"/file", "precious", 0o644)
				}
				said, err := a.program(args...)
				if err == nil {
					t.Errorf("%s to %s: %s", what, out, said)
				}
				names, _ := filepath.Glob(victim + "/[a-z]*")
				if !exists && len(names) > 0 || exists && (len(names) != 1 || string(readFile(t, victim+"/file")) != "precious") {
					t.Errorf("%s to %s: %q is there", what, out, names)
				}
				for _, name := range names {
					os.RemoveAll(name)
				}
			}
		}
	}
	// What is the stranger's own is theirs to lead to.
	theirs := t.TempDir()
	if err := os.Chown(theirs, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	a.link("own", theirs)
	a.link("ownfile", theirs+"/b.ko")
	for _, out := range []string{"own/a.ko", "ownfile"} {
		if said, err := a.program("sha256", a.key(), a.cert(), "m.ko", out); err != nil {
			t.Errorf("%s: %v %s", out, err, said)
		}
	}
	a.holds("own/a.ko", a.signed)
	a.holds("own/b.ko", a.signed)
}

// TestForeignFIFO: a stranger's FIFO is waited for nowhere.
func TestForeignFIFO(t *testing.T) {
	a := newAmbush(t)
	a.put("data", []byte("data"))
	a.put("signed.ko", a.signed)
	if err := unix.Mkfifo(a.path("fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	a.own("fifo")
	for _, args := range [][]string{
		{"sha256", a.key(), a.cert(), "fifo"},
		{"-d", "sha256", a.key(), a.cert(), "fifo"},
		{"sha256", a.key(), a.cert(), "m.ko", "fifo"},
		{"sha256", a.key(), "fifo", "m.ko"},
		{"sha256", "fifo", a.cert(), "m.ko"},
		{"-s", "fifo", "sha256", a.cert(), "m.ko", "out"},
		{"map", "sign", "sha256", a.key(), a.cert(), "fifo", "out"},
		{"map", "sign", "--tail", "fifo", "sha256", a.key(), a.cert(), "data", "out"},
		{"map", "sign", "sha256", a.key(), a.cert(), "data", "fifo"},
		{"map", "inspect", "fifo"},
		{"map", "verify", "--trusted", a.cert(), "fifo"},
		{"extract", "signed.ko", "fifo"},
		{"verify", "--kernel", "6.12", "--trusted", "fifo", "m.ko"},
		{"verify", "--kernel", "6.12", "--trusted", a.cert(), "--signature", "fifo", "m.ko"},
		{"sign", "--from", "fifo", "sha256", a.key(), a.cert()},
		{"bpf", "inspect", "fifo"},
		{"size", "sha256", "fifo"},
	} {
		said, err := run(t, nil, "timeout", append([]string{"20", "env", "-C", a.dir, program(t)}, args...)...)
		if err == nil || !strings.Contains(said, "fifo") || strings.Contains(err.Error(), "124") {
			t.Errorf("%q: %v %s", args, err, said)
		}
	}
	// One's own is, and so is a pipe of anybody's.
	mustRun(t, nil, "timeout", "20", "sh", "-c", `cd "$0" && mkfifo mine && { cat data >mine & } && "$@" mine out`, a.dir, program(t), "map", "sign", "sha256", a.key(), a.cert())
	mustRun(t, nil, "timeout", "20", "setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c", "echo data | cat /dev/stdin > /dev/null")
}

// TestForeignKeyFolder: who may rename what is in a key reference's folder chooses what is run.
func TestForeignKeyFolder(t *testing.T) {
	needRoot(t)
	w := newWorkshop(t, t.TempDir(), 5000)
	for what, c := range map[string]struct {
		mode  os.FileMode
		gid   int
		works bool
	}{"root's": {0o755, 0, true}, "a group's": {0o775, stranger, false}, "everybody's": {0o777, 0, false}} {
		above := t.TempDir() + "/above"
		mkdir(t, above)
		dir := above + "/keys"
		mkdir(t, dir)
		writeFile(t, dir+"/run", "#!/bin/sh\necho was here >&2\nexit 1\n", 0o755)
		writeFile(t, dir+"/kr", "sign-file key reference\nkey exec:./run\n", 0o600)
		for _, folder := range []string{dir, above} {
			err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(above, 0o755), os.Chown(folder, 0, c.gid), os.Chmod(folder, c.mode))
			if err != nil {
				t.Fatal(err)
			}
			said, err := w.program("sha256", dir+"/kr", w.cert(), "m.ko")
			if ran := strings.Contains(said, "was here"); err == nil || ran != c.works {
				t.Errorf("%s %s: %v %s", what, folder, err, said)
			}
			os.Chown(folder, 0, 0)
		}
	}
	// A reference without a folder names a command beside it, and none of PATH.
	dir := t.TempDir()
	writeFile(t, dir+"/true", "#!/bin/sh\necho was here >&2\nexit 1\n", 0o755)
	writeFile(t, dir+"/kr", "sign-file key reference\nkey exec:./true\n", 0o600)
	for _, name := range []string{"kr", "./kr"} {
		said, _ := run(t, nil, "env", "-C", dir, program(t), "sha256", name, w.cert(), w.path("m.ko"))
		if !strings.Contains(said, "was here") {
			t.Errorf("%s: %s", name, said)
		}
	}
	// A command that writes a passphrase without end is not read to it.
	writeFile(t, dir+"/kr", "sign-file key reference\nkey "+w.key()+"\npassphrase-command yes\n", 0o600)
	encrypted := dir + "/encrypted"
	mustRun(t, nil, "openssl", "pkcs8", "-topk8", "-in", w.key(), "-passout", "pass:secret", "-out", encrypted)
	writeFile(t, dir+"/kr", "sign-file key reference\nkey "+encrypted+"\npassphrase-command yes\n", 0o600)
	if said, err := run(t, nil, "timeout", "20", program(t), "sha256", dir+"/kr", w.cert(), w.path("m.ko")); err == nil || !strings.Contains(said, "larger than") {
		t.Errorf("%v %s", err, said)
	}
}

// TestReadErrors: what can't be read is not what is not there.
func TestReadErrors(t *testing.T) {
	testenv.Tool(t, "strace")
	w := newWorkshop(t, t.TempDir(), 5000)
	writeFile(t, w.path("signed.ko"), string(w.signed), 0o644)
	for what, args := range map[string][]string{
		"inspect": {"inspect", "--json", "signed.ko"},
		"verify":  {"verify", "--json", "--kernel", "6.12", "--trusted", w.cert(), "signed.ko"},
	} {
		want := mustRun(t, nil, "env", append([]string{"-C", w.dir, program(t)}, args...)...)
		failed := 0
		for n := range 12 {
			inject := slices.Concat([]string{"-C", w.dir, "strace", "-f", "-o", "/dev/null", "-P", w.path("signed.ko"), "-e", "trace=pread64",
				"-e", "inject=pread64:error=EIO:when=" + string(rune('1'+n%9))}, []string{program(t)}, args)
			if n >= 9 {
				inject[9] = "inject=pread64:error=EIO:when=1" + string(rune('0'+n-9))
			}
			said, err := run(t, nil, "env", inject...)
			switch {
			case err != nil && strings.Contains(said, "input/output error"):
				failed++
			case err != nil || said != want:
				t.Errorf("%s, %d: %v\n%s", what, n+1, err, said)
			}
		}
		if failed == 0 {
			t.Errorf("%s: no read failed", what)
		}
	}
}

// TestLinkBehindLink: each link on the way counts, not only the first, and not only the last.
func TestLinkBehindLink(t *testing.T) {
	a := newAmbush(t)
	secret := t.TempDir() + "/secret"
	writeFile(t, secret, string(a.module), 0o640)
	a.link("m.ko", secret)
	symlinkTo(t, a.path("m.ko"), a.path("roots.ko")) // as depmod's extra folders have them
	symlinkTo(t, a.dir, a.path("rootsfolder"))
	for _, from := range []string{"roots.ko", "rootsfolder/m.ko"} {
		if said, err := a.program("sha256", a.key(), a.cert(), from, "out"); err != nil {
			t.Errorf("%s: %v %s", from, err, said)
		}
		a.mine(from, "out")
	}
}

// TestSharedFolder: what others have put into a sticky folder that they may write, a group's
// too, is no output, and neither is what is in it.
func TestSharedFolder(t *testing.T) {
	a := newAmbush(t)
	a.put("data", []byte("data"))
	victim := t.TempDir()
	for _, mode := range []os.FileMode{0o777, 0o775, 0o757} {
		err := errors.Join(os.Chown(a.dir, 0, stranger), os.Chmod(a.dir, mode|fs.ModeSticky))
		if err != nil {
			t.Fatal(err)
		}
		a.link("link", victim)
		mkdir(t, a.path("folder"))
		a.put("planted", nil)
		a.own("folder", "planted")
		for what, args := range map[string][]string{
			"file":             {"map", "sign", "sha256", a.key(), a.cert(), "data", "planted"},
			"link":             {"map", "sign", "sha256", a.key(), a.cert(), "data", "link/out"},
			"folder":           {"sign", "--output-dir", "folder", "sha256", a.key(), a.cert(), "m.ko"},
			"link to a folder": {"sign", "--output-dir", "link", "sha256", a.key(), a.cert(), "m.ko"},
			"below":            {"sign", "--output-dir", "link/new", "sha256", a.key(), a.cert(), "m.ko"},
		} {
			said, err := a.program(args...)
			if err == nil || !strings.Contains(said, "another user") {
				t.Errorf("%o, %s: %v %s", mode, what, err, said)
			}
		}
		for _, dir := range []string{victim, a.path("folder")} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%o: %v in %s", mode, entries, dir)
			}
		}
		a.holds("planted", nil)
	}
}

// TestInputIsNoOutput: what is read is the only copy, perhaps.
func TestInputIsNoOutput(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	put := func(name string, content []byte) { writeFile(t, w.path(name), string(content), 0o644) }
	put("data", []byte("data"))
	put("tail", []byte("tail"))
	put("signed.ko", w.signed)
	mustRun(t, nil, program(t), "map", "sign", "sha256", w.key(), w.cert(), w.path("data"), w.path("value"))
	put("cert", readFile(t, w.cert()))
	put("both.pem", readFile(t, "../testdata/keys/rsa2048.pem"))
	mustRun(t, nil, program(t), "-d", "sha256", w.key(), w.cert(), w.path("m.ko"))
	symlinkTo(t, "data", w.path("linked"))
	before := snapshot(t, w.dir, nil)
	for _, args := range [][]string{
		{"extract", "signed.ko", "signed.ko"},
		{"map", "extract", "value", "value"},
		{"map", "extract", "--signed", "value", "./value"},
		{"map", "wrap", "signed.ko", "signed.ko"},
		{"map", "wrap", "--tail", "tail", "signed.ko", "tail"},
		{"map", "sign", "--tail", "tail", "sha256", w.key(), w.cert(), "data", "tail"},
		{"map", "sign", "sha256", w.key(), w.cert(), "data", "data"},
		{"map", "sign", "sha256", w.key(), w.cert(), "data", "linked"},
		{"-s", "m.ko.p7s", "sha256", "cert", "m.ko", "m.ko.p7s"},
		{"-s", "m.ko.p7s", "sha256", "cert", "m.ko", "cert"},
	} {
		if said, err := w.program(args...); err == nil || !strings.Contains(said, "which would be overwritten") {
			t.Errorf("%q: %v %s", args, err, said)
		}
	}
	if said, err := run(t, nil, asExtractCert(t), w.path("both.pem"), w.path("both.pem")); err == nil {
		t.Errorf("extract-cert: %s", said)
	}
	if after := snapshot(t, w.dir, nil); !maps.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}

// TestDeepTree: below the longest path there is nothing to sign, and no end.
func TestDeepTree(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	name := strings.Repeat("d", 200)
	mustRun(t, nil, "sh", "-c", `cd "$0" && mkdir top && cd top && i=0; while [ $i -lt 300 ]; do mkdir $1 && cd -P $1 || exit 1; i=$((i+1)); done; : > m.ko`, w.dir, name)
	t.Cleanup(func() { mustRun(t, nil, "rm", "-rf", w.path("top")) }) // which os.RemoveAll would do as well, slowly
	said, err := w.program("sign", "sha256", w.key(), w.cert(), "top")
	if err == nil || strings.Count(said, "file name too long") != 1 {
		t.Errorf("%v %.300s", err, said)
	}
}

// TestSwappedName: success means that the name is the new file's, also where the folder's owner
// has put something else there before or after the rename.
func TestSwappedName(t *testing.T) {
	testenv.Tool(t, "strace")
	a := newAmbush(t)
	for _, dest := range []string{"m.ko", "new.ko"} {
		writeFile(t, a.path("m.ko"), string(a.module), 0o644)
		cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:delay_exit=1500000",
			program(t), "sha256", a.key(), a.cert(), a.path("m.ko"), a.path(dest))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		appears := a.path(dest)
		if dest == "m.ko" {
			appears = a.path(".sign-file-*")
		}
		awaitFile(t, appears)
		names, err := filepath.Glob(appears)
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		if err := errors.Join(os.Rename(names[0], a.path("got")), os.WriteFile(names[0], []byte("mine"), 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%s: success", dest)
		}
	}
}
