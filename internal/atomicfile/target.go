package atomicfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
)

// Target is where a file goes. Create uses it up; Close is for one that is not used.
type Target struct {
	place *Place
	model *Original // the file that is replaced; nil when there is none
	// inPlace: the model's own content goes on in the new file, which so keeps what
	// rights the old one lent to whoever runs it.
	inPlace bool
	owned   bool // the target closes place and model

	direct bool        // written as it stands: a pipe, a device, /dev/stdout
	device unix.Stat_t // what direct was; zero for a link of /proc

	perm      os.FileMode // of a file that takes nothing over
	private   bool        // what is to be written is for the owner alone
	exclusive bool        // what bears the name already is fs.ErrExist
	overwrite bool        // Commit replaces whatever bears the name
}

// defaultPerm is what open(2) is given by fopen(3): umask and ACLs take from it.
const defaultPerm = 0o666

// maxLinks is the kernel's MAXSYMLINKS.
const maxLinks = 40

// Close lets go of what the target holds open.
func (t *Target) Close() {
	if !t.owned {
		return
	}
	if t.model != nil {
		t.model.Close()
	}
	t.place.Close()
}

// New is the directory entry itself, for a file that takes over no permissions: it
// gets perm, less the umask. Unless replace is set, Commit fails with fs.ErrExist
// where something bears the name already.
func New(path string, perm os.FileMode, replace bool) (*Target, error) {
	place, err := At(path)
	if err != nil {
		return nil, err
	}
	t := &Target{place: place, owned: true, perm: perm, exclusive: !replace, overwrite: replace}
	if err := cmp.Or(place.mayWrite(), t.checkOverwrite()); err != nil {
		place.Close()
		return nil, err
	}
	return t, nil
}

// checkOverwrite: nothing but a regular file is replaced unseen: no device, and no link,
// /dev/stdout among them.
func (t *Target) checkOverwrite() error {
	entry, err := t.place.stat(unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case !t.overwrite || err != nil:
		return nil
	case isLink(&entry):
		return linkError(t.place.path)
	case !isRegular(&entry):
		return t.place.error("replace", ErrNotRegular)
	}
	return nil
}

// Entry is Target for a path.
func Entry(path string) (*Target, error) {
	place, err := At(path)
	if err != nil {
		return nil, err
	}
	return place.Target()
}

// Target is the name itself: what is there has to be a regular file, which is
// replaced, or nothing. A link is an error. The target takes over the place.
func (p *Place) Target() (*Target, error) {
	if err := p.mayWrite(); err != nil {
		p.Close()
		return nil, err
	}
	model, err := p.peek()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Target{place: p, owned: true, perm: defaultPerm}, nil
	case err == nil:
		err = p.mayReplace(&model.opened)
	}
	if err != nil {
		if model != nil {
			model.Close()
		}
		p.Close()
		return nil, err
	}
	return &Target{place: p, model: model, owned: true}, nil
}

// Follow is the file that open(2) with O_CREAT would reach, as sign-file opens
// <dest>: links are followed, and what is no regular file is written directly.
func Follow(path string) (*Target, error) {
	place, err := At(path)
	if err != nil {
		return nil, err
	}
	return place.followed(false)
}

// FollowOwn is Follow for a name that nobody gave: only links of one's own are
// followed. The target takes over the place.
func (p *Place) FollowOwn() (*Target, error) { return p.followed(true) }

func (p *Place) followed(own bool) (*Target, error) {
	end, magic, err := p.walk(own)
	if err != nil {
		return nil, err
	}
	t := &Target{place: end, direct: magic}
	if !magic {
		t, err = end.reach(own)
	}
	if err != nil {
		end.Close()
		return nil, err
	}
	t.owned = true
	return t, nil
}

// walk follows links to the end, which takes the place's place; with own, only those
// of the user. magic tells that it is a link of /proc.
func (p *Place) walk(own bool) (end *Place, magic bool, err error) {
	place := p
	for range maxLinks {
		next, magic, err := place.follow(own)
		if magic || err == nil && next == nil {
			return place, magic, nil
		}
		place.Close()
		if err != nil {
			return nil, false, err
		}
		place = next
	}
	place.Close()
	return nil, false, p.error("open", unix.ELOOP)
}

func (p *Place) reach(own bool) (*Target, error) {
	if err := p.mayWrite(); err != nil {
		return nil, err
	}
	entry, err := p.stat(unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return &Target{place: p, perm: defaultPerm}, nil
	case err != nil:
		return nil, p.error("open", err)
	case entry.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, p.error("open", unix.EISDIR)
	case !isRegular(&entry) && own && entry.Uid != uint32(os.Geteuid()):
		return nil, p.error("open", ErrNotRegular)
	}
	if err := p.mayReplace(&entry); err != nil {
		return nil, err
	}
	if entry.Mode&unix.S_IFMT == unix.S_IFIFO && bounded.Stranger(entry.Uid) {
		return nil, p.error("open", errForeignFIFO)
	}
	if !isRegular(&entry) {
		return &Target{place: p, direct: true, device: entry}, nil
	}
	// rename(2) asks for the directory's permission only; who may not write the file
	// may not replace it here either.
	if err := unix.Faccessat(p.folder.fd(), p.name, unix.W_OK, unix.AT_EACCESS); err != nil {
		return nil, p.error("open", err)
	}
	model, err := p.peek()
	if err != nil {
		return nil, err
	}
	return &Target{place: p, model: model}, nil
}

// Private makes the new file its owner's alone, whatever the folder's default ACL and group
// say: what goes there was a secret. A file that others may read is not replaced then.
func (t *Target) Private() {
	t.private = true
	if t.model == nil {
		t.perm = 0o600
	}
}

// shows reports whether others may read the file that is replaced, which keeps its readers.
func (t *Target) shows() bool {
	return t.private && !t.inPlace && t.model != nil &&
		(t.model.opened.Mode&0o077 != 0 || bounded.Stranger(t.model.opened.Uid) || hasACL(int(t.model.file.Fd())))
}

// Is reports whether the target is that file, under whatever name.
func (t *Target) Is(o *Original) bool {
	if t.model != nil {
		return t.model.Same(o)
	}
	if !t.direct {
		return false
	}
	there, err := t.place.stat(0)
	return err == nil && sameFile(&there, &o.opened)
}

// SamePlace reports whether both targets are one name in one folder.
func (t *Target) SamePlace(other *Target) bool {
	folder, err := t.place.folder.Stat()
	return err == nil && t.place.name == other.place.name && other.place.folder.Is(folder)
}

// Direct reports whether Create opens the target itself, so that what is
// written can't be taken back.
func (t *Target) Direct() bool { return t.direct }

// open opens a direct target. Only a link of /proc (/dev/stdout, /dev/fd/3) is
// followed: what else was found at the name must still be what is opened.
func (t *Target) open() (*os.File, error) {
	flags := unix.O_WRONLY | unix.O_NOCTTY | unix.O_NOFOLLOW
	if t.device == (unix.Stat_t{}) {
		flags = unix.O_WRONLY | unix.O_NOCTTY | unix.O_TRUNC
	}
	fd, err := bounded.OpenRaw(t.place.folder.fd(), t.place.name, flags, 0)
	if err != nil {
		return nil, t.place.error("open", err)
	}
	var opened unix.Stat_t
	err = unix.Fstat(fd, &opened)
	if err == nil && flags&unix.O_NOFOLLOW != 0 && !sameFile(&opened, &t.device) {
		err = ErrChanged
	}
	if err != nil {
		unix.Close(fd)
		return nil, t.place.error("open", err)
	}
	return os.NewFile(uintptr(fd), t.place.path), nil
}

// follow returns the place that a link leads to, or nil where there is no link. The
// link is held open meanwhile, so that it's the same one that is checked and read.
// magic tells that it is one of /proc (/dev/stdout, /dev/fd/3): a file already open,
// with no name to replace that its reader would see.
func (p *Place) follow(own bool) (next *Place, magic bool, err error) {
	fd, err := bounded.OpenRaw(p.folder.fd(), p.name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, p.error("open", err)
	}
	defer unix.Close(fd)
	var link unix.Stat_t
	if err := unix.Fstat(fd, &link); err != nil {
		return nil, false, p.error("stat", err)
	}
	if !isLink(&link) {
		return nil, false, nil
	}
	if magic, err = isMagic(fd); err != nil || magic {
		return nil, magic, p.error("stat", err)
	}
	if own && link.Uid != uint32(os.Geteuid()) {
		return nil, false, linkError(p.path)
	}
	if err := refusePlanted(p.folder.fd(), &link, errPlantedLink); err != nil {
		return nil, false, fmt.Errorf("%s: %w", p.path, err)
	}
	to, err := readlink(fd)
	if err != nil {
		return nil, false, p.error("readlink", err)
	}
	shown := to
	if !filepath.IsAbs(to) {
		shown = paths.Join(paths.Dir(p.path), to)
	}
	if next, err = placeAt(p.folder.fd(), to, shown); err != nil {
		return nil, false, err
	}
	var folder unix.Stat_t
	if err := unix.Fstat(next.folder.fd(), &folder); err != nil {
		next.Close()
		return nil, false, p.error("stat", err)
	}
	next.by = p.strangers().after(&link, &folder)
	return next, false, nil
}

// mayReplace is the rule of the sysctl fs.protected_regular: in such a directory a file
// that somebody else has put there is not written. The new one would take over its owner
// and mode, and a FIFO would be waited for (fs.protected_fifos).
func (p *Place) mayReplace(file *unix.Stat_t) error {
	return p.error("replace", refusePlanted(p.folder.fd(), file, errPlanted))
}

// refusePlanted refuses what lies in a sticky directory that others may write (/tmp, or one of
// a group's, or with an ACL, whose mask the group's bits are), and belongs neither to the user
// nor to the directory's owner. Of links that is the sysctl fs.protected_symlinks, which
// open(2) would have kept for us.
func refusePlanted(dir int, entry *unix.Stat_t, why refused) error {
	var folder unix.Stat_t
	if err := unix.Fstat(dir, &folder); err != nil {
		return err
	}
	shared := folder.Mode&unix.S_ISVTX != 0 && folder.Mode&(unix.S_IWOTH|unix.S_IWGRP) != 0
	if shared && entry.Uid != uint32(os.Geteuid()) && entry.Uid != folder.Uid {
		return why
	}
	return nil
}
