package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
)

// Secret reports whether a stranger has led to the file, who may not read it: it is
// neither his nor everybody's.
func (o *Original) Secret() bool {
	theirs := !slices.ContainsFunc(o.by, func(uid uint32) bool { return uid != o.opened.Uid })
	return !theirs && !o.public()
}

// public reports whether everybody may read the file, and go through each folder on the way
// to it. An ACL may deny that to some, and files of the kernel show root more than others.
func (o *Original) public() bool {
	fd := int(o.file.Fd())
	if !isRegular(&o.opened) || o.opened.Mode&0o044 != 0o044 || hasACL(fd) || ofKernel(fd) {
		return false
	}
	path, err := os.Readlink(procPath(fd))
	if err != nil || !filepath.IsAbs(path) {
		return false
	}
	root, err := bounded.OpenRaw(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	w := way{fd: root}
	defer func() { unix.Close(w.fd) }()
	for _, s := range steps(paths.Dir(path)) {
		if !w.forAll() {
			return false
		}
		next, err := bounded.OpenRaw(w.fd, s.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		if err != nil {
			return false
		}
		w.enter(next)
	}
	var there unix.Stat_t
	err = unix.Fstatat(w.fd, filepath.Base(path), &there, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && w.forAll() && sameFile(&there, &o.opened)
}

// forAll reports whether everybody may go through the folder.
func (w *way) forAll() bool {
	var folder unix.Stat_t
	return unix.Fstat(w.fd, &folder) == nil && folder.Mode&0o011 == 0o011 && !hasACL(w.fd)
}

// ofKernel reports whether a file is what the kernel makes of itself when it's read.
func ofKernel(fd int) bool {
	var filesystem unix.Statfs_t
	if err := unix.Fstatfs(fd, &filesystem); err != nil {
		return true
	}
	switch filesystem.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC:
		return true
	}
	return false
}

// hasACL reports whether there is more to an open file's rights than its mode, or may be.
func hasACL(fd int) bool {
	_, err := unix.Getxattr(procPath(fd), accessACL, nil)
	return !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP)
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Input is a file that is only read: whatever open(2) opens.
type Input struct {
	*os.File
	Secret bool // as of an Original
}

// OpenInput opens a file for reading, through links too, as open(2) does. It waits for a FIFO
// of the user's or of root's, and for no other.
func OpenInput(path string) (*Input, error) {
	in, err := openInput(path)
	var named *fs.PathError
	if errors.As(err, &named) {
		named.Path = path // and not what a link of it leads to
	}
	return in, err
}

func openInput(path string) (*Input, error) {
	place, err := At(path)
	if err != nil {
		return nil, err
	}
	end, magic, err := place.walk(false)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	flags := unix.O_NOCTTY
	if !magic {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := bounded.OpenAt(end.folder.fd(), end.name, flags)
	if err != nil {
		return nil, end.error("open", err)
	}
	in := &Input{File: os.NewFile(uintptr(fd), path)}
	o := &Original{place: end, file: in.File, by: end.strangers()}
	if err := unix.Fstat(fd, &o.opened); err != nil {
		in.Close()
		return nil, end.error("stat", err)
	}
	in.Secret = o.Secret()
	return in, nil
}
