// Package atomicfile writes files that appear complete or not at all: the bytes
// gather in a file without a name, and the last step gives it the name of the
// file that it replaces. Nothing that fails or is killed before leaves a trace
// (on filesystems without O_TMPFILE a killed process leaves a hidden file).
package atomicfile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
)

// File is a file being written. It ends with Commit or Discard; Discard after
// Commit does nothing.
type File struct {
	target *Target
	file   *os.File
	temp   string // the temporary name in the target's folder; empty while there is none
	sparse bool   // blocks of zeros become holes
	size   int64  // what was written, holes too; kept where sparse
}

// Create opens a new file that Commit will put in the target's place. It takes over
// the target, whatever comes of it.
func (t *Target) Create() (*File, error) {
	f, err := t.create()
	if err != nil {
		t.Close()
	}
	return f, err
}

func (t *Target) create() (*File, error) {
	if t.direct {
		file, err := t.open()
		return &File{target: t, file: file}, err
	}
	if t.shows() {
		return nil, t.place.error("replace", errShows)
	}
	if t.replaces() && t.appendOnly() {
		return nil, t.place.error("replace", errAppendOnly)
	}
	// A file that takes another's place gets that one's permissions at the end
	// and nobody else's before; a new one takes what umask and ACLs give it.
	perm := uint32(t.perm.Perm())
	if t.model != nil {
		perm = 0o600
	}
	dir := t.place.folder.fd()
	fd, err := bounded.OpenRaw(dir, ".", unix.O_TMPFILE|unix.O_RDWR, perm)
	if err == nil {
		f := &File{target: t, file: os.NewFile(uintptr(fd), t.place.path)}
		if _, err := os.Lstat(f.procPath()); err == nil {
			return f, nil
		}
		f.file.Close() // no /proc, and without it no way to give the file a name
	}
	if t.appendOnly() {
		return nil, t.place.error("create", errAppendOnly)
	}
	temp := temporaryName()
	if fd, err = bounded.OpenRaw(dir, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, perm); err != nil {
		return nil, t.place.error("create", err)
	}
	return &File{target: t, file: os.NewFile(uintptr(fd), t.place.path), temp: temp}, nil
}

// errShows: who planted both a link to a secret and a file for what is made of it would read it.
var errShows = errors.New("the input came through another user's link and is not for everybody, and others may read this file")

// errAppendOnly refuses a folder of chattr +a: what gets a temporary name there keeps it.
var errAppendOnly = errors.New("the directory may only be appended to (chattr +a), so nothing in it can be replaced")

// replaces reports whether a file may be there that Commit has to put away.
func (t *Target) replaces() bool { return t.model != nil || t.overwrite }

// appendOnly finds before anything is written what would leave a temporary name behind.
func (t *Target) appendOnly() bool {
	var folder unix.Statx_t
	err := unix.Statx(t.place.folder.fd(), "", unix.AT_EMPTY_PATH, 0, &folder)
	return err == nil && folder.Attributes&unix.STATX_ATTR_APPEND != 0
}

// temporaryName can't be guessed, and is used with O_EXCL or link(2) only:
// nobody plants a link there, as one could at sign-file's <module>.~signed~. crypto/rand
// would start a timer, for which the runtime opens two files more.
func temporaryName() string {
	var random [8]byte
	if n, err := unix.Getrandom(random[:], 0); err != nil || n < len(random) {
		rand.Read(random[:])
	}
	return ".sign-file-" + hex.EncodeToString(random[:])
}

// Named reports whether the unfinished file can be seen, and stays behind if the
// process is killed now.
func (f *File) Named() bool { return f.temp != "" }

func (f *File) procPath() string { return procPath(int(f.file.Fd())) }

// Sparse makes holes of the blocks of zeros that are written from now on.
func (f *File) Sparse() { f.sparse = !f.target.direct }

// blockSize is the unit of holes.
const blockSize = 4096

// Write implements io.Writer.
func (f *File) Write(b []byte) (int, error) {
	if !f.sparse {
		return f.file.Write(b)
	}
	written := 0
	for len(b) > 0 {
		n := min(len(b), blockSize-int(f.size%blockSize))
		var err error
		if allZero(b[:n]) {
			_, err = f.file.Seek(int64(n), io.SeekCurrent)
		} else {
			_, err = f.file.Write(b[:n])
		}
		if err != nil {
			return written, err
		}
		written, f.size, b = written+n, f.size+int64(n), b[n:]
	}
	return written, nil
}

func allZero(b []byte) bool {
	var zeros [blockSize]byte
	return bytes.Equal(b, zeros[:len(b)])
}

// ReadAt reads what was written.
func (f *File) ReadAt(b []byte, offset int64) (int, error) { return f.file.ReadAt(b, offset) }

// Folder opens the folder that the file will be in.
func (f *File) Folder() (*Folder, error) { return f.target.place.folder.Follow(".") }

// Device tells filesystems apart.
func (f *File) Device() (uint64, error) {
	var stat unix.Stat_t
	err := unix.Fstat(int(f.file.Fd()), &stat)
	return stat.Dev, f.target.place.error("stat", err)
}

// Commit gives the file its name, with the mode, owner and extended attributes
// of the file that it replaces. On an error that one is as it was, or as somebody else
// made it meanwhile: then it is ErrChanged.
func (f *File) Commit() error { return both(f.commit(), f.Discard()) }

func (f *File) commit() error {
	if f.target.direct {
		err := f.file.Close()
		f.file = nil
		return err
	}
	if err := f.finish(); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	return f.name()
}

// finish does all that needs no name.
func (f *File) finish() error {
	if f.sparse {
		if err := f.file.Truncate(f.size); err != nil { // it may end with a hole
			return err
		}
	}
	if err := f.target.dress(f.file); err != nil {
		return err
	}
	if err := f.target.seclude(f.file); err != nil {
		return err
	}
	return f.target.place.error("write", flush(f.file))
}

// check asks whether what is replaced is still what was read.
func (f *File) check() error {
	if f.target.model == nil {
		return nil
	}
	if err := f.target.model.Check(); err != nil {
		return err
	}
	return f.target.model.checkName()
}

// name puts the file in its place.
func (f *File) name() error {
	place := f.target.place
	dir := place.folder.fd()
	if !f.target.replaces() {
		if err := f.create(dir); err != nil {
			return place.error("create", err)
		}
		return f.bears(place.name)
	}
	if f.temp == "" {
		temp := temporaryName()
		if err := f.linkat(dir, temp); err != nil {
			return place.error("create", fmt.Errorf("linking the new file into its folder: %w", err))
		}
		f.temp = temp
	}
	// The temporary name tells who watches the folder that now is the time.
	if err := f.check(); err != nil {
		return err
	}
	if err := f.target.checkOverwrite(); err != nil {
		return err
	}
	if err := f.bears(f.temp); err != nil {
		return err
	}
	if err := unix.Renameat(dir, f.temp, dir, place.name); err != nil {
		if errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("%w (a mount point can't be replaced; write to another file and copy it)", err)
		}
		if errors.Is(err, unix.EPERM) && f.target.model != nil && f.target.model.immutable() {
			err = fmt.Errorf("%w (it is immutable: chattr -i lets it be replaced)", err)
		}
		return place.error("replace", err)
	}
	f.temp = ""
	return f.bears(place.name)
}

// bears asks whether the name is the file's: who may change the folder may have put something
// else there already.
func (f *File) bears(name string) error {
	var own, there unix.Stat_t
	dir := f.target.place.folder.fd()
	err := errors.Join(unix.Fstat(int(f.file.Fd()), &own), unix.Fstatat(dir, name, &there, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil || !sameFile(&own, &there) {
		err = ErrChanged
	}
	return f.target.place.error("create", err)
}

// create gives the file a name that has to be free.
func (f *File) create(dir int) error {
	var err error
	if f.temp == "" {
		err = f.linkat(dir, f.target.place.name)
	} else {
		err = f.move(dir)
	}
	if errors.Is(err, unix.EEXIST) && !f.target.exclusive {
		return ErrChanged // nothing was there when it was begun
	}
	return err
}

// move gives the free name to a file with a temporary one. NFS has no RENAME_NOREPLACE,
// but hard links; vfat has it, and no hard links. Discard removes a temporary name that
// is left.
func (f *File) move(dir int) error {
	err := unix.Renameat2(dir, f.temp, dir, f.target.place.name, unix.RENAME_NOREPLACE)
	if err == nil {
		f.temp = ""
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = unix.Linkat(dir, f.temp, dir, f.target.place.name, 0)
	}
	return err
}

// linkat names an O_TMPFILE file.
func (f *File) linkat(dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, f.procPath(), dir, name, unix.AT_SYMLINK_FOLLOW)
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
	undo, forget, err := first.commitWithBackup()
	if err != nil {
		return both(err, first.Discard())
	}
	defer first.Discard() // its place is needed until then
	if err := CommitAll(rest...); err != nil {
		return both(err, undo())
	}
	return forget()
}

// commitWithBackup keeps the file that is replaced under a second name meanwhile.
// Where that can't be (no hard links on vfat) there is nothing to put back.
func (f *File) commitWithBackup() (undo, forget func() error, err error) {
	nothing := func() error { return nil }
	if f.target.direct {
		return nothing, nothing, f.commit()
	}
	if err := f.finish(); err != nil {
		return nil, nil, err
	}
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	place, folder, temp := f.target.place, f.target.place.folder, temporaryName()
	linked := unix.Linkat(folder.fd(), place.name, folder.fd(), temp, 0)
	remove := func() error { return folder.remove(temp) }
	if err := f.name(); err != nil {
		if linked == nil {
			err = both(err, remove())
		}
		return nil, nil, err
	}
	switch {
	case linked == nil:
		return func() error {
			err := unix.Renameat(folder.fd(), temp, folder.fd(), place.name)
			if err != nil {
				err = fmt.Errorf("%w (what was there is %s now)", err, paths.Join(folder.Path(), temp))
			}
			return place.error("put back", err)
		}, remove, nil
	case errors.Is(linked, unix.ENOENT):
		return func() error { return folder.remove(place.name) }, nothing, nil
	}
	return nothing, nothing, nil
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

// Discard drops the file; the target stays as it was. The error says that a
// temporary file could not be removed, and where it is.
func (f *File) Discard() error {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	var err error
	if f.temp != "" {
		err = f.target.place.folder.remove(f.temp)
		f.temp = ""
	}
	f.target.Close()
	return err
}

// remove removes a name that this package made.
func (f *Folder) remove(name string) error {
	err := unix.Unlinkat(f.fd(), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: paths.Join(f.Path(), name), Err: fmt.Errorf("stays behind: %w", err)}
}

// Syncfs makes all of the folder's filesystem durable.
func (f *Folder) Syncfs() error {
	fd, err := bounded.OpenRaw(f.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		err = unix.Syncfs(fd)
		unix.Close(fd)
	}
	if err != nil {
		return &os.PathError{Op: "sync", Path: f.Path(), Err: err}
	}
	return nil
}

// WriteFile writes content to the file that open(2) would reach by path.
func WriteFile(path string, content []byte) error {
	target, err := Follow(path)
	if err != nil {
		return err
	}
	f, err := target.CreateWith(content)
	if err != nil {
		return err
	}
	return f.Commit()
}

// CreateWith is like Create, and writes the content too.
func (t *Target) CreateWith(content []byte) (*File, error) {
	f, err := t.Create()
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(content); err != nil {
		return nil, both(err, f.Discard())
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
