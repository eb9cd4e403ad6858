package atomicfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

// wantNames holds the folder against the files it should have, so that no
// temporary name is missed.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}

func prepare(t *testing.T, path, content string) *atomicfile.File {
	t.Helper()
	target, err := atomicfile.Follow(path)
	if err != nil {
		t.Fatal(err)
	}
	return create(t, target, content)
}

func create(t *testing.T, target *atomicfile.Target, content string) *atomicfile.File {
	t.Helper()
	f, err := target.CreateWith([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.ko")
	for _, content := range []string{"new", "replaced"} {
		f := prepare(t, path, content)
		if content == "replaced" {
			wantContent(t, path, "new") // until Commit
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Discard()
		wantContent(t, path, content)
	}
	prepare(t, path, "dropped").Discard()
	wantContent(t, path, "replaced")
	wantNames(t, dir, "m.ko")
}

// New without replace leaves alone what has the name already, also a dangling link.
func TestExclusive(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	target, err := atomicfile.New(path, 0o600, false)
	if err != nil {
		t.Fatal(err)
	}
	f := create(t, target, "")
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	wantNames(t, dir, "key")
}

// If a later file can't be put in place, those before it are as they were: a
// replaced one is back, one that was not there is gone.
func TestCommitAllUndoes(t *testing.T) {
	dir := t.TempDir()
	old, fresh, blocked := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	write(t, old, "old")
	files := []*atomicfile.File{prepare(t, old, "new"), prepare(t, fresh, "new"), prepare(t, blocked, "new")}
	if err := os.Mkdir(blocked, 0o755); err != nil { // no file replaces a directory
		t.Fatal(err)
	}
	if err := atomicfile.CommitAll(files...); err == nil {
		t.Error("a directory was replaced")
	}
	for _, f := range files {
		f.Discard()
	}
	wantContent(t, old, "old")
	wantNames(t, dir, "a", "c")
}

func TestCommitAll(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "old")
	if err := atomicfile.CommitAll(prepare(t, a, "1"), prepare(t, b, "2")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, a, "1")
	wantContent(t, b, "2")
	wantNames(t, dir, "a", "b")
}

// Follow writes where open(2) would: through links, relative to where each one is.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	link := filepath.Join(dir, "link")
	err := errors.Join(os.Mkdir(sub, 0o755), os.Symlink("sub/second", link),
		os.Symlink("file", filepath.Join(sub, "second")), os.Symlink("loop", filepath.Join(dir, "loop")))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"made", "replaced"} { // a dangling link, then a whole one
		if err := atomicfile.WriteFile(link, []byte(content)); err != nil {
			t.Fatal(err)
		}
		wantContent(t, filepath.Join(sub, "file"), content)
	}
	wantNames(t, sub, "file", "second")
	for path, want := range map[string]error{"loop": unix.ELOOP, "sub": unix.EISDIR, "link/x": unix.ENOTDIR} {
		if _, err := atomicfile.Follow(filepath.Join(dir, path)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// open opens a file as a verb does that replaces it.
func open(t *testing.T, path string) *atomicfile.Original {
	t.Helper()
	place, err := atomicfile.At(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(place.Close)
	original, err := place.Open(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { original.Close() })
	return original
}

// A file that is open has names in /proc, which may be /dev/stdin's too: they stay.
func TestEntryOpenFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, path, "old")
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), link); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, link).Target(); err == nil {
		t.Error("a link of /proc may be replaced")
	}
}

// Entry replaces the link and not what it points to.
func TestEntry(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, path, "old")
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	target, err := open(t, link).Target()
	if err != nil {
		t.Fatal(err)
	}
	if err := create(t, target, "new").Commit(); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, "old")
	wantContent(t, link, "new")
	if info, err := os.Lstat(link); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v; want a file with the old one's mode", info.Mode(), err)
	}
}

// Mode, owner, extended attributes and the ACL (as the kernel keeps it in one) stay.
func TestAttributes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "old")
	// Version 2; rw for the owner, r for user 1234, - for the group, mask r, - for others.
	acl := []byte{2, 0, 0, 0,
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
		2, 0, 4, 0, 0xd2, 4, 0, 0,
		4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
		0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
		0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	attributes := map[string][]byte{"user.comment": []byte("kept"), "system.posix_acl_access": acl}
	for name, value := range attributes {
		if err := unix.Setxattr(path, name, value, 0); err != nil {
			t.Skipf("this filesystem has no %s: %v", name, err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1234, 4321); err != nil {
			t.Fatal(err)
		}
	}
	var before, after unix.Stat_t
	if err := errors.Join(unix.Stat(path, &before), atomicfile.WriteFile(path, []byte("new")), unix.Stat(path, &after)); err != nil {
		t.Fatal(err)
	}
	if before.Ino == after.Ino || before.Mode != after.Mode || before.Uid != after.Uid || before.Gid != after.Gid {
		t.Errorf("mode %o, owner %d:%d; want another file with %o, %d:%d", after.Mode, after.Uid, after.Gid, before.Mode, before.Uid, before.Gid)
	}
	for name, want := range attributes {
		got := make([]byte, 256)
		if n, err := unix.Getxattr(path, name, got); err != nil || !bytes.Equal(got[:max(n, 0)], want) {
			t.Errorf("%s: %x, %v; want %x", name, got[:max(n, 0)], err, want)
		}
	}
}

// The rule of fs.protected_symlinks, and more: another user's link is not
// followed, unless the folder is that user's.
func TestStickyDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives links away")
	}
	for name, c := range map[string]struct {
		mode     uint32
		dir, own int
		want     error
	}{
		"another's":            {0o1777, 0, 1234, unix.EACCES},
		"one's own":            {0o1777, 1234, 0, nil},
		"the folder's owner's": {0o1777, 1234, 1234, nil},
		"their own folder":     {0o777, 1234, 1234, nil},
		"not sticky":           {0o777, 0, 1234, unix.EACCES},
		"not shared":           {0o1755, 0, 1234, unix.EACCES},
	} {
		dir := t.TempDir()
		link := filepath.Join(dir, "link")
		err := errors.Join(os.Symlink("target", link), os.Lchown(link, c.own, 0), os.Chown(dir, c.dir, 0), unix.Chmod(dir, c.mode))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := atomicfile.Follow(link); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestScratch(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f, err := atomicfile.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	wantNames(t, dir)
}
