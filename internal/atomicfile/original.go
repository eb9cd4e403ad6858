package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
)

// Original is a file that is there already: held open, with what it looked like when
// it was opened. Whatever is told of it later, its rights too, comes from the
// descriptor; its name may be somebody else's by then.
type Original struct {
	place  *Place
	file   *os.File
	entry  unix.Stat_t // the name: a link, or the file itself
	opened unix.Stat_t // the file
	by     strangers   // who had a say in which one it is
	lost   []string    // what the file that replaced it could not be given
}

// Lost names what of the file's owner, group and attributes the file that replaced it does
// not have, because that was not allowed or the filesystem can't keep it.
func (o *Original) Lost() []string { return o.lost }

// ErrChanged says that a file is not the one that was read any more, or not as it was
// then. It is left as somebody else made it.
var ErrChanged = errors.New("changed meanwhile, and is left as it is now (run it again)")

// ErrNotRegular refuses what can't be read twice, nor replaced.
var ErrNotRegular = errors.New("not a regular file")

// Open opens the regular file that a place names, for reading. Only with follow is a
// link followed, and nothing but a regular file is opened: a FIFO would wait, and a
// device might do something.
func (p *Place) Open(follow bool) (*Original, error) {
	entry, err := p.stat(unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return nil, p.error("open", err)
	}
	if isLink(&entry) {
		if !follow {
			return nil, linkError(p.path)
		}
		return p.openLinked(entry)
	}
	if !isRegular(&entry) {
		return nil, p.error("open", ErrNotRegular)
	}
	file, err := p.open(unix.O_RDONLY | unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return p.original(file, entry)
}

// openLinked is Open for a link.
func (p *Place) openLinked(entry unix.Stat_t) (*Original, error) {
	end, magic, err := p.Sibling(p.name).walk(false)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	end.path = p.path
	target, flags := unix.Stat_t{}, unix.O_RDONLY
	if magic {
		target, err = end.stat(0)
	} else {
		flags |= unix.O_NOFOLLOW
		target, err = end.stat(unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return nil, p.error("open", err)
	}
	if !isRegular(&target) {
		return nil, p.error("open", ErrNotRegular)
	}
	file, err := end.open(flags)
	if err != nil {
		return nil, err
	}
	o, err := p.original(file, entry)
	if o != nil {
		o.by = end.strangers()
	}
	return o, err
}

// open opens the place's file. What has become a FIFO since is not waited for.
func (p *Place) open(flags int) (*os.File, error) {
	fd, err := bounded.OpenRaw(p.folder.fd(), p.name, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, p.error("open", err)
	}
	// Package os would take a file with O_NONBLOCK for one to poll.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil && flags&unix.O_PATH == 0 {
		unix.Close(fd)
		return nil, p.error("open", err)
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// original looks at an open file, and closes it if it is not the one that was named.
func (p *Place) original(file *os.File, entry unix.Stat_t) (*Original, error) {
	o := &Original{place: p, file: file, entry: entry, by: p.strangers()}
	err := unix.Fstat(int(file.Fd()), &o.opened)
	switch {
	case err != nil:
	case !isRegular(&o.opened):
		err = ErrNotRegular
	case !isLink(&entry) && !sameFile(&entry, &o.opened):
		err = ErrChanged
	}
	if err != nil {
		file.Close()
		return nil, p.error("open", err)
	}
	return o, nil
}

// peek is Open for a file that is only to be replaced: who may not read it may do so.
func (p *Place) peek() (*Original, error) {
	entry, err := p.stat(unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return nil, p.error("open", err)
	}
	if isLink(&entry) {
		return nil, linkError(p.path)
	}
	if !isRegular(&entry) {
		return nil, p.error("open", ErrNotRegular)
	}
	file, err := p.open(unix.O_RDONLY | unix.O_NOFOLLOW)
	if errors.Is(err, fs.ErrPermission) {
		file, err = p.open(unix.O_PATH | unix.O_NOFOLLOW)
	}
	if err != nil {
		return nil, err
	}
	return p.original(file, entry)
}

// File is the open file. Its name is the place's path.
func (o *Original) File() *os.File { return o.file }

// Place is where the file was found.
func (o *Original) Place() *Place { return o.place }

// Path is the path that the file was found by.
func (o *Original) Path() string { return o.place.path }

// immutable reports whether nobody may replace the file (chattr +i).
func (o *Original) immutable() bool {
	var stat unix.Statx_t
	err := unix.Statx(int(o.file.Fd()), "", unix.AT_EMPTY_PATH, 0, &stat)
	return err == nil && stat.Attributes&unix.STATX_ATTR_IMMUTABLE != 0
}

// Size is the size that the file had when it was opened, in bytes.
func (o *Original) Size() int64 { return o.opened.Size }

// Sparse reports whether the file has holes.
func (o *Original) Sparse() bool { return o.opened.Blocks*512 < o.opened.Size }

// Linked reports whether the name is a symbolic link.
func (o *Original) Linked() bool { return isLink(&o.entry) }

// Close closes the file. Its place stays open.
func (o *Original) Close() error { return o.file.Close() }

// Same reports whether both are one file, under whatever names.
func (o *Original) Same(other *Original) bool { return sameFile(&o.opened, &other.opened) }

// Check returns ErrChanged if the file's content or rights were changed since it was
// opened.
func (o *Original) Check() error {
	var now unix.Stat_t
	if err := unix.Fstat(int(o.file.Fd()), &now); err != nil {
		return o.place.error("stat", err)
	}
	if !unchanged(&o.opened, &now) {
		return o.place.error("read", ErrChanged)
	}
	return nil
}

// checkName returns ErrChanged if the name has become another file's.
func (o *Original) checkName() error {
	entry, err := o.place.stat(unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && o.Linked() && sameFile(&entry, &o.entry) {
		entry, err = o.place.stat(0) // where the link leads
	}
	if errors.Is(err, unix.ENOENT) || err == nil && !(sameFile(&entry, &o.opened) && unchanged(&o.opened, &entry)) {
		err = ErrChanged
	}
	return o.place.error("replace", err)
}

func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// unchanged compares what a change of content or rights would change. A new or removed
// hard link moves the time of the last change too, and is no reason: in a tree the
// same file may be signed under two names.
func unchanged(before, now *unix.Stat_t) bool {
	return before.Size == now.Size && before.Mtim == now.Mtim && before.Mode == now.Mode &&
		before.Uid == now.Uid && before.Gid == now.Gid &&
		(before.Ctim == now.Ctim || before.Nlink != now.Nlink)
}

// errMagic refuses a link of /proc: as root it would be /dev/stdin itself that is lost.
var errMagic = errors.New("leads to a file that is open, which can't be replaced (name the file itself)")

// Target is the file's own name: a link is replaced by the new file, which takes over
// the permissions of the link's target. This is what sign-file's rename does to a
// module signed in place.
func (o *Original) Target() (*Target, error) {
	if err := o.place.mayWrite(); err != nil {
		return nil, err
	}
	if o.Linked() {
		end, magic, err := o.place.Sibling(o.place.name).walk(false)
		if err != nil {
			return nil, err
		}
		end.Close()
		if magic {
			return nil, o.place.error("replace", errMagic)
		}
	}
	return &Target{place: o.place, model: o, inPlace: true, private: o.Secret()}, nil
}

// both joins two errors on one line.
func both(err, second error) error {
	if second == nil {
		return err
	}
	if err == nil {
		return second
	}
	return fmt.Errorf("%w (and %w)", err, second)
}
