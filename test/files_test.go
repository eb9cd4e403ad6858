package test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// The ways in which the real sign-file loses a file, or says that all is well when it
// isn't. testdata's RSA key makes the same bytes each time, so a file is either the
// module or what the real one makes of it when nothing goes wrong.

// workshop is a folder with a module in it.
type workshop struct {
	*testing.T
	dir            string
	module, signed []byte // the module, and what it has to become
}

func newWorkshop(t *testing.T, dir string, size int) *workshop {
	t.Helper()
	w := &workshop{T: t, dir: dir, module: pattern(size)}
	judged := filepath.Join(t.TempDir(), "m.ko")
	writeFile(t, judged, string(w.module), 0o644)
	mustRun(t, nil, testenv.SignFile(t), "sha256", w.key(), w.cert(), judged)
	w.signed = readFile(t, judged)
	writeFile(t, w.path("m.ko"), string(w.module), 0o644)
	return w
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name) }
func (w *workshop) key() string             { return absolute(w.T, "../testdata/keys/rsa2048.key") }
func (w *workshop) cert() string            { return absolute(w.T, "../testdata/keys/rsa2048.x509") }

// sign runs the program in the folder, with the operands from <module> on.
func (w *workshop) sign(flags string, operands ...string) (string, error) {
	w.Helper()
	return w.program(slices.Concat(strings.Fields(flags), []string{"sha256", w.key(), w.cert()}, operands)...)
}

func (w *workshop) program(args ...string) (string, error) {
	w.Helper()
	return run(w.T, nil, "env", append([]string{"-C", w.dir, program(w.T)}, args...)...)
}

// fails asks for exit status 1 and an error that names the file.
func (w *workshop) fails(out string, err error, name string) {
	w.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "sign-file: "+name) {
		w.Errorf("%v, want exit status 1 and an error that names %s\n%s", err, name, out)
	}
}

// holds checks a file's content.
func (w *workshop) holds(name string, want []byte) {
	w.Helper()
	if got := readFile(w.T, w.path(name)); !bytes.Equal(got, want) {
		w.Errorf("%s: %d bytes that are not the %d wanted", name, len(got), len(want))
	}
}

// only checks that the folder has these files and no others.
func (w *workshop) only(names ...string) {
	w.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(found, names) {
		w.Errorf("the folder has %q, want %q", found, names)
	}
}

// mount mounts a filesystem of its own kind.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		testenv.Missing(t, "the right to mount a "+kind+": "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	for _, flags := range []string{"", "-p", "-d"} {
		t.Run("flags "+flags, func(t *testing.T) {
			w := newWorkshop(t, mount(t, "tmpfs", "size=256k"), 200_000)
			if flags == "-d" {
				fill(t, w.path("rest"))
			}
			before := snapshot(t, w.dir, nil)
			out, err := w.sign(flags, "m.ko")
			w.fails(out, err, "m.ko")
			after := snapshot(t, w.dir, nil)
			if len(before) != len(after) || before["m.ko"] != after["m.ko"] {
				t.Errorf("before %v, after %v", before, after)
			}
		})
	}
	t.Run("dest", func(t *testing.T) {
		full := mount(t, "tmpfs", "size=64k")
		w := newWorkshop(t, t.TempDir(), 200_000)
		writeFile(t, filepath.Join(full, "out.ko"), "the old content", 0o644)
		out, err := w.sign("", "m.ko", filepath.Join(full, "out.ko"))
		w.fails(out, err, full)
		w.holds("m.ko", w.module)
		if got := readFile(t, filepath.Join(full, "out.ko")); string(got) != "the old content" {
			t.Errorf("dest has %d bytes now", len(got))
		}
	})
	t.Run("device", func(t *testing.T) {
		w := newWorkshop(t, t.TempDir(), 5000)
		out, err := w.sign("", "m.ko", "/dev/full")
		w.fails(out, err, "/dev/full")
	})
}

// fill writes to a file until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// dest names the module by another path.
func TestDestIsModule(t *testing.T) {
	for name, dest := range map[string]func(*workshop) string{
		"path":          func(*workshop) string { return "./m.ko" },
		"absolute path": func(w *workshop) string { return w.path("m.ko") },
		"link":          func(w *workshop) string { symlinkTo(w.T, "m.ko", w.path("link.ko")); return "link.ko" },
		"linked folder": func(w *workshop) string { symlinkTo(w.T, ".", w.path("here")); return "here/m.ko" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, t.TempDir(), 5000)
			if out, err := w.sign("", "m.ko", dest(w)); err != nil {
				t.Fatal(err, out)
			}
			w.holds("m.ko", w.signed)
		})
	}
	t.Run("hard link", func(t *testing.T) {
		w := newWorkshop(t, t.TempDir(), 5000)
		if err := os.Link(w.path("m.ko"), w.path("hard.ko")); err != nil {
			t.Fatal(err)
		}
		if out, err := w.sign("", "m.ko", "hard.ko"); err != nil {
			t.Fatal(err, out)
		}
		w.holds("hard.ko", w.signed)
		w.holds("m.ko", w.module)
	})
	t.Run("message", func(t *testing.T) {
		for _, flags := range []string{"-d", "-p"} {
			w := newWorkshop(t, t.TempDir(), 5000)
			symlinkTo(t, "m.ko", w.path("m.ko.p7s"))
			out, err := w.sign(flags, "m.ko")
			w.fails(out, err, "m.ko.p7s")
			w.holds("m.ko", w.module)
		}
	})
}

// What can't be read to its end is not signed.
func TestReadError(t *testing.T) {
	for _, flags := range []string{"-d", "-p", ""} {
		w := newWorkshop(t, t.TempDir(), 5000)
		symlinkTo(t, "/proc/self/mem", w.path("bad.ko")) // EIO at its first byte
		out, err := w.sign(flags, "bad.ko", "out.ko")
		w.fails(out, err, "bad.ko")
		w.only("m.ko", "bad.ko")
		mkdir(t, w.path("folder"))
		out, err = w.sign(flags, "folder")
		w.fails(out, err, "folder")
		w.only("m.ko", "bad.ko", "folder")
	}
	w := newWorkshop(t, t.TempDir(), 5000)
	mkdir(t, w.path("raw"))
	out, err := w.program("-s", "raw", "sha256", w.cert(), "m.ko")
	w.fails(out, err, "raw")
	w.holds("m.ko", w.module)
	w.only("m.ko", "raw")
}

// A link planted where sign-file writes its temporary file.
func TestPlantedTemporaryFile(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	writeFile(t, w.path("victim"), "not to be touched", 0o640)
	symlinkTo(t, "victim", w.path("m.ko.~signed~"))
	if out, err := w.sign("", "m.ko"); err != nil {
		t.Fatal(err, out)
	}
	w.holds("m.ko", w.signed)
	w.holds("victim", []byte("not to be touched"))
	w.only("m.ko", "m.ko.~signed~", "victim")
	if info, err := os.Lstat(w.path("m.ko")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("m.ko: %v %v", info.Mode(), err)
	}
}

// Two runs at once each write a whole file. Who finds the other's in its place says so
// and leaves it there.
func TestTwoAtOnce(t *testing.T) {
	for range 30 {
		w := newWorkshop(t, t.TempDir(), 100_000)
		var runs sync.WaitGroup
		var done atomic.Int32
		for range 2 {
			runs.Go(func() {
				if out, err := w.sign("", "m.ko"); err == nil {
					done.Add(1)
				} else {
					w.fails(out, err, "m.ko: changed meanwhile")
				}
			})
		}
		runs.Wait()
		if done.Load() == 0 {
			t.Error("neither run signed the module")
		}
		w.only("m.ko")
		// Signed by one, or by both one after the other.
		got := readFile(t, w.path("m.ko"))
		if !bytes.Equal(got, w.signed) && !bytes.HasPrefix(got, w.signed) {
			t.Errorf("m.ko: %d bytes that begin with neither the signed module", len(got))
		}
	}
}

// Killed at any moment: the old file or the new one, and no part of one.
func TestKilled(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 2<<20)
	program := program(t)
	var whole, killed int
	for range 200 {
		writeFile(t, w.path("m.ko"), string(w.module), 0o644)
		cmd := exec.Command(program, "-p", "sha256", w.key(), w.cert(), w.path("m.ko"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(25 * time.Millisecond))))
		cmd.Process.Kill()
		if cmd.Wait() == nil {
			whole++
		} else {
			killed++
		}
		names, _ := filepath.Glob(w.path("*"))
		for _, name := range names {
			got := readFile(t, name)
			switch filepath.Base(name) {
			case "m.ko":
				if !bytes.Equal(got, w.module) && !bytes.Equal(got, w.signed) {
					t.Fatalf("m.ko: %d bytes, neither the old file nor the new one", len(got))
				}
			case "m.ko.p7s":
				if _, message, _ := cut(w.signed); !bytes.Equal(got, message) {
					t.Fatalf("m.ko.p7s: %d bytes that are no message", len(got))
				}
			default:
				// Between linkat(2) and rename(2) the new file has a name of
				// its own: it is complete, and hidden.
				_, message, _ := cut(w.signed)
				if !strings.HasPrefix(filepath.Base(name), ".sign-file-") || !bytes.Equal(got, w.signed) && !bytes.Equal(got, message) {
					t.Fatalf("left behind: %s, %d bytes", name, len(got))
				}
				os.Remove(name)
			}
		}
		os.Remove(w.path("m.ko.p7s"))
	}
	t.Logf("%d ended by themselves, %d were killed", whole, killed)
}

// A signal while a slow key signs: nothing is left, and the caller sees the signal.
func TestTerminated(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		w := newWorkshop(t, t.TempDir(), 5000)
		slow := w.path("slow")
		started := writeSleeper(t, slow)
		// nohup(1) may have started this test.
		cmd := exec.Command("env", "--default-signal",
			program(t), "-p", "sha256", "exec:"+slow, w.cert(), w.path("m.ko"), w.path("out.ko"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, started)
		cmd.Process.Signal(signal)
		cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != signal {
			t.Errorf("%v: %v", signal, cmd.ProcessState)
		}
		w.only("m.ko", "slow", "slow.started")
		w.holds("m.ko", w.module)
	}
}

// writeSleeper writes a command that takes a minute, and returns the file that is there
// when it has begun.
func writeSleeper(t *testing.T, path string) (started string) {
	t.Helper()
	writeFile(t, path, "#!/bin/sh\n>\"$0.started\"\nexec sleep 60\n", 0o755)
	return path + ".started"
}

// awaitFile waits for a file whose path matches the pattern.
func awaitFile(t *testing.T, pattern string) {
	t.Helper()
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(time.Millisecond) {
		if found, _ := filepath.Glob(pattern); found != nil {
			return
		}
	}
	t.Fatalf("%s: not there after a minute", pattern)
}

// What nohup(1) and a script's "&" made it ignore does not end the work, nor stop it.
func TestIgnoredSignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		w := newWorkshop(t, t.TempDir(), 5000)
		slow := w.path("slow")
		key := commandKey(t, slow, `touch "$0.started"; until [ -e "$0.go" ]; do sleep 0.01; done`, keyPair{key: w.key()})
		cmd := exec.Command("env", "--ignore-signal=INT,HUP", program(t), "sha256", key, w.cert(), w.path("m.ko"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, slow+".started")
		cmd.Process.Signal(signal)
		writeFile(t, slow+".go", "", 0o644)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
		w.holds("m.ko", w.signed)
	}
}

// A signal at any moment: with two files to replace, both are as they were or both
// are new, and nothing else is there. The signal waits for the second rename.
func TestTerminatedAtAnyMoment(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 2<<20)
	_, message, _ := cut(w.signed)
	const old = "an old message"
	var whole, terminated int
	for range 150 {
		writeFile(t, w.path("m.ko"), string(w.module), 0o644)
		writeFile(t, w.path("m.ko.p7s"), old, 0o644)
		cmd := exec.Command(program(t), "-p", "sha256", w.key(), w.cert(), w.path("m.ko"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(25 * time.Millisecond))))
		cmd.Process.Signal(syscall.SIGTERM)
		if cmd.Wait() == nil {
			whole++
		} else {
			terminated++
		}
		w.only("m.ko", "m.ko.p7s")
		switch got := readFile(t, w.path("m.ko")); {
		case bytes.Equal(got, w.module):
			w.holds("m.ko.p7s", []byte(old))
		case bytes.Equal(got, w.signed):
			w.holds("m.ko.p7s", message)
		default:
			t.Fatalf("m.ko: %d bytes, neither the old file nor the new one", len(got))
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d ended by themselves, %d were terminated", whole, terminated)
}

// Who may not write to the folder can't replace the module.
func TestFolderNotWritable(t *testing.T) {
	setpriv := testenv.Tool(t, "setpriv")
	needRoot(t)
	for name, mode := range map[string]fs.FileMode{"read-only": 0o755, "sticky": 0o777 | fs.ModeSticky} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "sign-file-") // t.TempDir is for its owner alone
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			w := newWorkshop(t, dir, 5000)
			binary, key := w.path("sign-file"), w.path("key.pem")
			writeFile(t, binary, string(readFile(t, program(t))), 0o755)
			writeFile(t, key, string(readFile(t, w.key())), 0o644)
			writeFile(t, w.path("cert"), string(readFile(t, w.cert())), 0o644)
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			for _, flags := range []string{"", "-p", "-d"} {
				args := []string{"-C", dir, setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", binary}
				args = append(append(args, strings.Fields(flags)...), "sha256", key, w.path("cert"), "m.ko")
				out, err := run(t, nil, "env", args...)
				if flags == "-d" && name == "sticky" { // a new file is allowed there
					os.Remove(w.path("m.ko.p7s"))
					continue
				}
				w.fails(out, err, "m.ko")
				w.holds("m.ko", w.module)
				w.only("m.ko", "sign-file", "key.pem", "cert")
			}
		})
	}
}

// FIFOs and /dev/stdout are written to, as sign-file does.
func TestDestIsNoFile(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 300_000)
	out, err := w.sign("", "m.ko", "/dev/stdout")
	if err != nil || out != string(w.signed) {
		t.Errorf("/dev/stdout: %v, %d bytes", err, len(out))
	}
	if err := syscall.Mkfifo(w.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []byte
	var reader sync.WaitGroup
	reader.Go(func() { got, _ = os.ReadFile(w.path("fifo")) })
	if out, err := w.sign("", "m.ko", "fifo"); err != nil {
		t.Error(err, out)
	}
	reader.Wait()
	if !bytes.Equal(got, w.signed) {
		t.Errorf("fifo: %d bytes", len(got))
	}
	w.only("m.ko", "fifo")
}

// A module keeps what it is besides its content.
func TestAttributesAreKept(t *testing.T) {
	needRoot(t)
	w := newWorkshop(t, t.TempDir(), 5000)
	path := w.path("m.ko")
	if err := errors.Join(os.Chown(path, 1234, 2345), os.Chmod(path, 0o640|fs.ModeSetgid), unix.Setxattr(path, "user.origin", []byte("here"), 0)); err != nil {
		t.Fatal(err)
	}
	mustRun(t, nil, "setfacl", "-m", "u:4321:r", path)
	before := mustRun(t, nil, "getfacl", "-n", path)
	if out, err := w.sign("", "m.ko"); err != nil {
		t.Fatal(err, out)
	}
	w.holds("m.ko", w.signed)
	if after := mustRun(t, nil, "getfacl", "-n", path); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	value := make([]byte, 100)
	if n, err := unix.Getxattr(path, "user.origin", value); err != nil || string(value[:n]) != "here" {
		t.Errorf("the extended attribute is %q now, %v", value[:max(n, 0)], err)
	}
}

// Ubuntu's kmodsign is sign-file with -D.
func TestKmodsign(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	kmodsign := filepath.Join(t.TempDir(), "kmodsign")
	symlinkTo(t, program(t), kmodsign)
	mustRun(t, nil, kmodsign, "sha256", w.key(), w.cert(), w.path("m.ko"), w.path("out.ko"))
	w.holds("out.ko", w.signed)
	mustRun(t, nil, kmodsign, "-D", "sha256", w.key(), w.cert(), w.path("m.ko"), w.path("block"))
	w.holds("block", w.signed[len(w.module):])
	symlinkTo(t, "m.ko", w.path("link.ko"))
	if out, err := run(t, nil, kmodsign, "-D", "sha256", w.key(), w.cert(), w.path("m.ko"), w.path("link.ko")); err == nil {
		t.Errorf("-D into the module: %s", out)
	}
	w.holds("m.ko", w.module)
	out, err := run(t, nil, kmodsign, "-D", "sha256", w.key(), w.cert(), w.path("m.ko"))
	if err == nil || !strings.HasPrefix(out, "kmodsign: ") {
		t.Errorf("-D without dest: %v %s", err, out)
	}
	w.holds("m.ko", w.module)
}
