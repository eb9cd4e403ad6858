package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// dress gives a new file the owner, mode and extended attributes of the one
// that it replaces.
func (t *Target) dress(file *os.File) error {
	if t.model == nil {
		return nil
	}
	fd := int(file.Fd())
	old := t.model.Sys().(*syscall.Stat_t)
	mode := old.Mode & 0o7777
	if !setOwner(fd, old) {
		mode &^= unix.S_ISUID | unix.S_ISGID // they'd lend the wrong user's rights
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return &os.PathError{Op: "chmod", Path: t.path, Err: err}
	}
	return t.copyXattrs(fd)
}

// setOwner reports whether user and group are now those of old: to give a file
// away takes root, to give it to one of one's groups does not.
func setOwner(fd int, old *syscall.Stat_t) bool {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return false
	}
	if now.Uid == old.Uid && now.Gid == old.Gid {
		return true
	}
	if unix.Fchown(fd, int(old.Uid), int(old.Gid)) == nil {
		return true
	}
	unix.Fchown(fd, -1, int(old.Gid)) // as near as is permitted
	return false
}

// copyXattrs copies all that may be copied. Attributes that vouch for the old
// content (IMA, EVM) stay behind: on the new content they would be wrong.
func (t *Target) copyXattrs(fd int) error {
	names, err := xattr(func(b []byte) (int, error) { return unix.Listxattr(t.path, b) })
	if ignorable(err) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "listxattr", Path: t.path, Err: err}
	}
	for _, name := range strings.Split(string(bytes.TrimRight(names, "\x00")), "\x00") {
		if name == "" || name == "security.ima" || name == "security.evm" {
			continue
		}
		value, err := xattr(func(b []byte) (int, error) { return unix.Getxattr(t.path, name, b) })
		if err == nil {
			err = unix.Fsetxattr(fd, name, value, 0)
		}
		if err != nil && !ignorable(err) {
			return &os.PathError{Op: "setxattr " + name, Path: t.path, Err: err}
		}
	}
	return nil
}

// ignorable: attributes are kept where filesystem and permissions allow it.
func ignorable(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOENT)
}

// xattr asks for a size, then for that many bytes, until both agree.
func xattr(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		buf := make([]byte, size)
		n, err := read(buf)
		if errors.Is(err, unix.ERANGE) {
			continue // it grew in between
		}
		return buf[:max(n, 0)], err
	}
}
