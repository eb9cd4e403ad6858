package test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// Places where a file can be read or written in part only, or can't be replaced.

// unchanged runs the program and asks for a failure that names the file and changes
// nothing in the folder.
func (w *workshop) unchanged(named, flags string, operands ...string) {
	w.Helper()
	before := snapshot(w.T, w.dir, nil)
	out, err := w.sign(flags, operands...)
	w.fails(out, err, named)
	if after := snapshot(w.T, w.dir, nil); !maps.Equal(before, after) {
		w.Errorf("%s %q: before %v, after %v", flags, operands, before, after)
	}
}

// needRoot ends a test that only root can prepare.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root, who can prepare this")
	}
}

// A module whose first blocks can be read and the others not. The real sign-file -d
// signs the first ones.
func TestReadErrorLater(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 200_000)
	image := filepath.Join(t.TempDir(), "image")
	writeFile(t, image, "", 0o600)
	if err := os.Truncate(image, 4<<20); err != nil {
		t.Fatal(err)
	}
	const block = "1024"
	mustRun(t, nil, "mkfs.ext3", "-q", "-b", block, image)
	mustRun(t, nil, "debugfs", "-w", "-R", "write "+w.path("m.ko")+" m.ko", image)
	// Behind its twelve direct blocks an inode names a block that has the others' numbers.
	mustRun(t, nil, "debugfs", "-w", "-R", "sif m.ko block[IND] 99999999", image)
	if out, err := run(t, nil, "mount", "-o", "loop", image, w.dir); err != nil {
		testenv.Missing(t, "the right to mount an image: "+out)
	}
	t.Cleanup(func() { mustRun(t, nil, "umount", w.dir) })
	if content, err := os.ReadFile(w.path("m.ko")); len(content) != 12*1024 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("%d bytes of the module can be read: %v", len(content), err)
	}

	for _, c := range []struct {
		flags    string
		operands []string
	}{
		{"-d", []string{"m.ko"}},
		{"-p", []string{"m.ko"}},
		{"", []string{"m.ko"}},
		{"", []string{"m.ko", "out.ko"}},
	} {
		out, err := w.sign(c.flags, c.operands...)
		w.fails(out, err, "m.ko")
		w.only("m.ko", "lost+found")
	}
}

// immutable makes a file or a folder one that nobody may change.
func (w *workshop) immutable(name string) {
	w.Helper()
	if out, err := run(w.T, nil, "chattr", "+i", w.path(name)); err != nil {
		testenv.Missing(w.T, "a filesystem with immutable files: "+out)
	}
	w.Cleanup(func() { mustRun(w.T, nil, "chattr", "-i", w.path(name)) })
}

// The last step, the rename, fails: with -p the message is there already, and goes
// again.
func TestRenameFails(t *testing.T) {
	needRoot(t)
	t.Run("immutable module", func(t *testing.T) {
		w := newWorkshop(t, t.TempDir(), 5000)
		w.immutable("m.ko")
		w.unchanged("m.ko", "", "m.ko")
		w.unchanged("m.ko", "-p", "m.ko")
		writeFile(t, w.path("m.ko.p7s"), "an old message", 0o600)
		w.unchanged("m.ko", "-p", "m.ko")
	})
	t.Run("mount point", func(t *testing.T) {
		w := newWorkshop(t, t.TempDir(), 5000)
		path := w.path("mounted.ko")
		writeFile(t, path, "the old content", 0o644)
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			testenv.Missing(t, "the right to mount: "+err.Error())
		}
		t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
		w.unchanged("mounted.ko", "", "mounted.ko")
		w.unchanged("mounted.ko", "-p", "m.ko", "mounted.ko")
	})
}

// No new file can be made, whatever may be written to an old one.
func TestNoNewFiles(t *testing.T) {
	needRoot(t)
	t.Run("read-only filesystem", func(t *testing.T) {
		dir := mount(t, "tmpfs", "")
		w := newWorkshop(t, dir, 5000)
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		for _, flags := range []string{"", "-p", "-d"} {
			w.unchanged("m.ko", flags, "m.ko")
		}
		w.unchanged("out.ko", "", "m.ko", "out.ko")
	})
	t.Run("immutable folder", func(t *testing.T) {
		w := newWorkshop(t, t.TempDir(), 5000)
		writeFile(t, w.path("out.ko"), "the old content", 0o644)
		w.immutable(".")
		w.unchanged("out.ko", "", "m.ko", "out.ko")
		w.unchanged("m.ko.p7s", "-d", "m.ko")
	})
}

// In a folder that all may write to, such as /tmp, another user's link may lead to
// where only we may write.
func TestForeignLink(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	w := newWorkshop(t, t.TempDir(), 5000)
	writeFile(t, w.path("victim"), "not to be touched", 0o640)
	symlinkTo(t, "victim", w.path("out.ko"))
	symlinkTo(t, "victim", w.path("m.ko.p7s"))
	err := errors.Join(os.Lchown(w.path("out.ko"), nobody, nobody), os.Lchown(w.path("m.ko.p7s"), nobody, nobody),
		os.Chmod(w.dir, 0o777|os.ModeSticky))
	if err != nil {
		t.Fatal(err)
	}
	w.unchanged("out.ko", "", "m.ko", "out.ko")
	w.unchanged("m.ko.p7s", "-d", "m.ko")
}

// A file grows to RLIMIT_FSIZE and no further; the kernel says so with a signal that
// ends the real sign-file.
func TestFileSizeLimit(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 200_000)
	writeFile(t, w.path("out.ko"), "the old content", 0o644)
	for _, operands := range [][]string{{"m.ko"}, {"m.ko", "out.ko"}} {
		before := snapshot(t, w.dir, nil)
		args := []string{"--fsize=100000", "env", "-C", w.dir, program(t), "-p", "sha256", w.key(), w.cert()}
		out, err := run(t, nil, "prlimit", append(args, operands...)...)
		w.fails(out, err, operands[len(operands)-1])
		if after := snapshot(t, w.dir, nil); !maps.Equal(before, after) {
			t.Errorf("%q: before %v, after %v", operands, before, after)
		}
	}
}
