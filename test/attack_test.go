package test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// Attacks of whoever owns the folder, or the module, that root signs there. docs/security.md
// has the table, and these are its tests.

// stranger owns the folder.
const stranger = 65534

// ambush is a stranger's folder with a module in it, beside files of root's that the
// stranger may only name.
type ambush struct {
	*workshop
	setID string // a set-id program of root's
}

func newAmbush(t *testing.T) *ambush {
	t.Helper()
	needRoot(t)
	a := &ambush{workshop: newWorkshop(t, t.TempDir(), 5000)}
	a.setID = filepath.Join(t.TempDir(), "su")
	writeFile(t, a.setID, string(readFile(t, "/bin/true")), 0o755)
	err := errors.Join(os.Chmod(a.setID, 0o755|fs.ModeSetuid), os.Chown(a.dir, stranger, stranger), os.Chown(a.path("m.ko"), stranger, stranger))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fileCapability is security.capability with cap_setuid=ep (struct vfs_cap_data, revision 2).
const fileCapability = "\x01\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (a *ambush) giveCapability(path string) {
	a.Helper()
	if err := unix.Setxattr(path, "security.capability", []byte(fileCapability), 0); err != nil {
		testenv.Missing(a.T, "a filesystem with capabilities: "+err.Error())
	}
}

// nobodyGained looks at everything in the folder: no file of it lends a right, unless it
// is root's own one, under another name.
func (a *ambush) nobodyGained(what string) {
	a.Helper()
	victim, err := os.Stat(a.setID)
	if err != nil {
		a.Fatal(err)
	}
	err = filepath.WalkDir(a.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Type() == fs.ModeSymlink {
			return err
		}
		info, err := entry.Info()
		if err != nil || os.SameFile(info, victim) {
			return err
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			a.Errorf("%s: %s is %v now, with another's content", what, entry.Name(), info.Mode())
		}
		if n, err := unix.Getxattr(path, "security.capability", make([]byte, 64)); err == nil && n > 0 {
			a.Errorf("%s: %s has a capability now", what, entry.Name())
		}
		return nil
	})
	if err != nil {
		a.Fatal(err)
	}
	if left, _ := filepath.Glob(a.path(".sign-file-*")); left != nil {
		a.Errorf("%s: left behind: %q", what, left)
	}
}

// verbs are the command lines that write a module in its place: in the folder, where
// m.ko is the module, p7s its message and value a signature of it.
func (a *ambush) verbs() map[string][]string {
	a.Helper()
	signed := []string{"sha256", a.key(), a.cert()}
	return map[string][]string{
		"classic":  slices.Concat(signed, []string{"m.ko"}),
		"-p":       slices.Concat([]string{"-p"}, signed, []string{"m.ko"}),
		"-s":       {"-s", a.message(), "sha256", a.cert(), "m.ko"},
		"sign":     slices.Concat([]string{"sign", "--replace"}, signed, []string{"m.ko"}),
		"sign DIR": slices.Concat([]string{"sign", "--replace"}, signed, []string{"."}),
		"strip":    {"strip", "m.ko"},
		"attach":   {"attach", "--hash", "sha256", "--cert", a.cert(), "--signature", a.value(), "m.ko"},
	}
}

// message is a file with the module's PKCS#7 message, and value one with its bare
// signature, both out of the stranger's reach.
func (a *ambush) message() string {
	_, message, _ := cut(a.signed)
	return a.keep("message", message)
}

func (a *ambush) value() string {
	_, message, _ := cut(a.signed)
	return a.keep("value", message[len(message)-256:])
}

func (a *ambush) keep(name string, content []byte) string {
	a.Helper()
	path := filepath.Join(filepath.Dir(a.setID), name)
	writeFile(a.T, path, string(content), 0o600)
	return path
}

// flip makes the module's name lead to the set-id file and back, as fast as it can.
func (a *ambush) flip(end <-chan struct{}) {
	for {
		select {
		case <-end:
			return
		default:
			unix.Renameat2(unix.AT_FDCWD, a.path("m.ko"), unix.AT_FDCWD, a.path("bait"), unix.RENAME_EXCHANGE)
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// The name is a set-id file's, or one's with capabilities, between two looks at it:
// the module's content must not get its rights. Each opening is held up for a moment,
// so that the name changes between any two system calls.
func TestSwapForRights(t *testing.T) {
	strace := testenv.Tool(t, "strace")
	for name := range newAmbush(t).verbs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAmbush(t)
			a.giveCapability(a.setID)
			if err := os.Chmod(a.setID, 0o755|fs.ModeSetuid); err != nil {
				t.Fatal(err)
			}
			args := a.verbs()[name]
			for range 12 {
				content := a.module
				if name == "strip" {
					content = a.signed
				}
				os.RemoveAll(a.path("m.ko"))
				os.RemoveAll(a.path("bait"))
				writeFile(t, a.path("m.ko"), string(content), 0o644)
				if err := errors.Join(os.Chown(a.path("m.ko"), stranger, stranger), os.Symlink(a.setID, a.path("bait"))); err != nil {
					t.Fatal(err)
				}
				end, flipped := make(chan struct{}), make(chan struct{})
				go func() { defer close(flipped); a.flip(end) }()
				run(t, nil, strace, slices.Concat([]string{"-f", "-qq", "-o", "/dev/null",
					"-e", "trace=openat,newfstatat,fstat,fstatfs", "-e", "inject=openat,newfstatat:delay_exit=300", "env", "-C", a.dir, program(t)}, args)...)
				close(end)
				<-flipped
				a.nobodyGained(name)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// A module that is a link to a set-id file is signed, and the copy lends nothing.
func TestLinkLendsNothing(t *testing.T) {
	for _, name := range []string{"classic", "-p", "-s", "sign"} {
		t.Run(name, func(t *testing.T) {
			a := newAmbush(t)
			a.giveCapability(a.setID)
			if err := errors.Join(os.Chmod(a.setID, 0o755|fs.ModeSetuid), os.Remove(a.path("m.ko")), os.Symlink(a.setID, a.path("m.ko"))); err != nil {
				t.Fatal(err)
			}
			before := readFile(t, a.setID)
			if out, err := a.program(a.verbs()[name]...); err != nil {
				t.Error(err, out)
			}
			a.nobodyGained(name)
			if got := readFile(t, a.path("m.ko")); !bytes.HasPrefix(got, before) || len(got) == len(before) {
				t.Errorf("m.ko: %d bytes, and the link led to %d", len(got), len(before))
			}
			if !bytes.Equal(before, readFile(t, a.setID)) {
				t.Error("what the link led to was written to")
			}
		})
	}
}

// Set-id bits of an output that is there are not those of the new content.
func TestOutputLendsNothing(t *testing.T) {
	a := newAmbush(t)
	for _, mode := range []fs.FileMode{0o755 | fs.ModeSetuid, 0o755 | fs.ModeSetgid} {
		writeFile(t, a.path("out.ko"), "the old content", 0o755)
		if err := os.Chmod(a.path("out.ko"), mode); err != nil {
			t.Fatal(err)
		}
		a.giveCapability(a.path("out.ko"))
		if err := os.Chmod(a.path("out.ko"), mode); err != nil {
			t.Fatal(err)
		}
		if out, err := a.sign("", "m.ko", "out.ko"); err != nil {
			t.Error(err, out)
		}
		a.nobodyGained("dest")
	}
}

// The folder's default ACL gives a stranger nothing on a module that had no ACL.
func TestDefaultACL(t *testing.T) {
	for name := range newAmbush(t).verbs() {
		t.Run(name, func(t *testing.T) {
			a := newAmbush(t)
			if name == "strip" {
				writeFile(t, a.path("m.ko"), string(a.signed), 0o644)
			}
			if err := os.Chmod(a.path("m.ko"), 0o640); err != nil {
				t.Fatal(err)
			}
			mustRun(t, nil, "setfacl", "-d", "-m", "u:4321:rwx", a.dir)
			before := mustRun(t, nil, "getfacl", "-n", a.path("m.ko"))
			if out, err := a.program(a.verbs()[name]...); err != nil {
				t.Fatal(err, out)
			}
			if after := mustRun(t, nil, "getfacl", "-n", a.path("m.ko")); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// What somebody else does to the module, or to the file that is to be written, while the
// key signs: the run fails, and the file is what they made of it.
func TestChangedMeanwhile(t *testing.T) {
	const other = "another content"
	changes := map[string]string{
		"replaced": "printf '" + other + "' >new && mv new $target",
		"appended": "printf '" + other + "' >>$target",
		"emptied":  ": >$target",
		"removed":  "rm $target",
		"chmod":    "chmod 600 $target",
		"chown":    "chown 1234 $target",
		"a link":   "ln -sf victim $target",
		"rewound":  "touch -r $target stamp && printf X | dd of=$target conv=notrunc status=none && touch -r stamp $target",
	}
	for place, args := range map[string][]string{
		"m.ko":        {"m.ko"},
		"m.ko in -p":  {"-p", "m.ko"},
		"sign m.ko":   {"sign", "m.ko"},
		"sign . m.ko": {"sign", "tree"},
		"out.ko":      {"m.ko", "out.ko"},
		"m.ko.p7s":    {"-p", "m.ko"},
	} {
		for change, script := range changes {
			if strings.HasPrefix(place, "out.ko") && change == "removed" {
				continue // a new file in its place takes nothing from anybody
			}
			t.Run(place+" "+change, func(t *testing.T) {
				t.Parallel()
				w := newWorkshop(t, t.TempDir(), 5000)
				target := strings.Fields(place)[0]
				if strings.HasPrefix(place, "sign") {
					target = "m.ko"
				}
				if strings.HasPrefix(place, "sign .") {
					mkdir(t, w.path("tree"))
					target = "tree/m.ko"
					writeFile(t, w.path(target), string(w.module), 0o644)
				}
				if target != "m.ko" && target != "tree/m.ko" {
					writeFile(t, w.path(target), "an old file", 0o644)
				}
				writeFile(t, w.path("victim"), "not to be touched", 0o644)
				key := commandKey(t, w.path("key"), "cd "+w.dir+" && target="+target+" && { "+script+"; }", keyPair{key: w.key()})
				operands := slices.Concat([]string{"sha256", key, w.cert()}, args[len(args)-1:])
				if place == "out.ko" {
					operands = []string{"sha256", key, w.cert(), "m.ko", "out.ko"}
				}
				if len(args) > 1 && (args[0] == "-p" || args[0] == "sign") {
					operands = slices.Concat(args[:1], operands)
				}
				out, err := w.program(operands...)
				w.fails(out, err, target)
				w.holds("victim", []byte("not to be touched"))
				switch change {
				case "replaced":
					w.holds(target, []byte(other))
				case "emptied":
					w.holds(target, nil)
				case "removed":
					if _, err := os.Lstat(w.path(target)); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s is back: %v", target, err)
					}
				case "chmod":
					if info, err := os.Lstat(w.path(target)); err != nil || info.Mode() != 0o600 {
						t.Errorf("%v %v", info.Mode(), err)
					}
				case "a link":
					if to, err := os.Readlink(w.path(target)); err != nil || to != "victim" {
						t.Errorf("%s leads to %q now, %v", target, to, err)
					}
				}
				if content, _ := os.ReadFile(w.path("m.ko")); bytes.HasSuffix(content, []byte("appended~\n")) {
					t.Error("m.ko is signed")
				}
				if left, _ := filepath.Glob(w.path(".sign-file-*")); left != nil {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// atTheKey makes the key operand a pipe: the program waits there, with the module open,
// until then is done.
func (w *workshop) atTheKey(then func(), flags string, operands ...string) (string, error) {
	w.Helper()
	fifo := w.path("key.fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		w.Fatal(err)
	}
	defer os.Remove(fifo)
	cmd := exec.Command(program(w.T), slices.Concat(strings.Fields(flags), []string{"sha256", fifo, w.cert()}, operands)...)
	cmd.Dir = w.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the program
	if err != nil {
		w.Fatal(err)
	}
	then()
	pipe.Write(readFile(w.T, w.key()))
	pipe.Close()
	err = cmd.Wait()
	return out.String(), err
}

// The module's name becomes a link to a set-id file when the module is open, and before
// anything else is asked of it.
func TestSwapAtTheKey(t *testing.T) {
	for _, flags := range []string{"", "-p", "-d"} {
		a := newAmbush(t)
		out, err := a.atTheKey(func() {
			if err := errors.Join(os.Remove(a.path("m.ko")), os.Symlink(a.setID, a.path("m.ko"))); err != nil {
				t.Fatal(err)
			}
		}, flags, "m.ko")
		a.nobodyGained(flags)
		if flags == "-d" {
			continue // the module that was opened is signed, and nothing of it replaced
		}
		a.fails(out, err, "m.ko")
		if to, err := os.Readlink(a.path("m.ko")); err != nil || to != a.setID {
			t.Errorf("%q: m.ko leads to %q now, %v", flags, to, err)
		}
	}
}
