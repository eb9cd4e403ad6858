// Package atomicfile writes files that appear complete or not at all: the bytes
// gather in a file without a name, and the last step gives it the name of the
// file that it replaces. Nothing that fails or is killed before leaves a trace
// (on filesystems without O_TMPFILE a killed process leaves a hidden file).
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sign-file/internal/paths"
)

// File is a file being written. It ends with Commit or Discard; Discard after
// Commit does nothing.
type File struct {
	target *Target
	file   *os.File
	temp   string // path of the temporary name; empty while there is none
}

// Create opens a new file that Commit will put in the target's place.
func (t *Target) Create() (*File, error) {
	if t.direct {
		f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		return &File{target: t, file: f}, err
	}
	// A file that takes another's place gets that one's permissions at the end
	// and nobody else's before; a new one takes what umask and ACLs give it.
	perm := uint32(0o666)
	switch {
	case t.model != nil:
		perm = 0o600
	case t.perm != 0:
		perm = uint32(t.perm.Perm())
	}
	dir := paths.Dir(t.path)
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, perm)
	if err == nil {
		f := &File{target: t, file: os.NewFile(uintptr(fd), t.path)}
		if _, err := os.Lstat(f.procPath()); err == nil {
			return f, nil
		}
		f.file.Close() // no /proc, and without it no way to give the file a name
	}
	temp := temporaryName(dir)
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, os.FileMode(perm))
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: t.path, Err: errors.Unwrap(err)}
	}
	return &File{target: t, file: file, temp: temp}, nil
}

// temporaryName can't be guessed, and is used with O_EXCL or link(2) alone:
// nobody plants a link there, as one could at sign-file's <module>.~signed~.
func temporaryName(dir string) string {
	var random [8]byte
	rand.Read(random[:])
	return dir + "/.sign-file-" + hex.EncodeToString(random[:])
}

// Named reports whether the unfinished file can be seen, and stays behind if the
// process is killed now.
func (f *File) Named() bool { return f.temp != "" }

func (f *File) procPath() string { return fmt.Sprintf("/proc/self/fd/%d", f.file.Fd()) }

// Dir returns the directory that the file will be in.
func (f *File) Dir() string { return paths.Dir(f.target.path) }

// Write implements io.Writer.
func (f *File) Write(b []byte) (int, error) { return f.file.Write(b) }

// Commit gives the file its name, with the mode, owner and extended attributes
// of the file that it replaces. On an error that one is as it was.
func (f *File) Commit() error {
	defer f.Discard()
	if f.target.direct {
		err := f.file.Close()
		f.file = nil
		return err
	}
	if err := f.target.dress(f.file); err != nil {
		return err
	}
	if err := flush(f.file); err != nil {
		return &os.PathError{Op: "write", Path: f.target.path, Err: err}
	}
	if f.temp == "" {
		done, err := f.link()
		if done || err != nil {
			return err
		}
	}
	if f.target.exclusive {
		// Not renameat2(RENAME_NOREPLACE), which NFS does not have. Discard
		// removes the temporary name.
		return pathError("create", f.target.path, unix.Link(f.temp, f.target.path))
	}
	if err := unix.Rename(f.temp, f.target.path); err != nil {
		return f.replaceError(err)
	}
	f.temp = ""
	return nil
}

// CommitAll commits files that belong together: if one fails, those before it
// are put back as they were.
func CommitAll(files ...*File) error {
	if len(files) == 0 {
		return nil
	}
	first, rest := files[0], files[1:]
	if len(rest) == 0 {
		return first.Commit()
	}
	undo, forget := first.backup()
	defer forget()
	if err := first.Commit(); err != nil {
		return err
	}
	if err := CommitAll(rest...); err != nil {
		undo()
		return err
	}
	return nil
}

// backup keeps the file that Commit will replace under a second name. Where that
// can't be (no hard links on vfat) there is nothing to put back.
func (f *File) backup() (undo, forget func()) {
	nothing := func() {}
	path := f.target.path
	if f.target.direct {
		return nothing, nothing
	}
	temp := temporaryName(paths.Dir(path))
	switch err := os.Link(path, temp); {
	case errors.Is(err, fs.ErrNotExist):
		return func() { os.Remove(path) }, nothing
	case err != nil:
		return nothing, nothing
	}
	return func() { os.Rename(temp, path) }, func() { os.Remove(temp) }
}

// flush makes filesystems that report a failed write only on close (NFS, FUSE)
// say so before the old file is gone: closing a duplicate flushes too.
func flush(file *os.File) error {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// link names an O_TMPFILE file: with the final name if that is free (done), with
// a temporary one for rename(2) if not, since link(2) replaces nothing.
func (f *File) link() (done bool, err error) {
	if f.target.model == nil {
		err := unix.Linkat(unix.AT_FDCWD, f.procPath(), unix.AT_FDCWD, f.target.path, unix.AT_SYMLINK_FOLLOW)
		if f.target.exclusive || !errors.Is(err, unix.EEXIST) {
			return true, pathError("create", f.target.path, err)
		}
	}
	temp := temporaryName(paths.Dir(f.target.path))
	if err := unix.Linkat(unix.AT_FDCWD, f.procPath(), unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return false, pathError("create", f.target.path, err)
	}
	f.temp = temp
	return false, nil
}

func (f *File) replaceError(err error) error {
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w (a mount point can't be replaced; write to another file and copy it)", err)
	}
	return pathError("replace", f.target.path, err)
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// Discard drops the file; the target stays as it was.
func (f *File) Discard() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	if f.temp != "" {
		os.Remove(f.temp)
		f.temp = ""
	}
}

// WriteFile writes content to the file that open(2) would reach by path.
func WriteFile(path string, content []byte) error {
	f, err := Prepare(path, content)
	if err != nil {
		return err
	}
	return f.Commit()
}

// Prepare is WriteFile but for the Commit, which is the caller's.
func Prepare(path string, content []byte) (*File, error) {
	target, err := Follow(path)
	if err != nil {
		return nil, err
	}
	f, err := target.Create()
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(content); err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

// Scratch opens a file without a name in the folder for temporary files.
func Scratch() (*os.File, error) {
	dir := os.TempDir()
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "scratch")), nil
	}
	f, err := os.CreateTemp(dir, "sign-file-")
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, err
}
