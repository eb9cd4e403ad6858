package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const setID = unix.S_ISUID | unix.S_ISGID

// overflowID is whom a user namespace shows in the place of owners that it does not know
// (/proc/sys/kernel/overflowuid): whoever has this number there is somebody else.
const overflowID = 65534

// capability is the attribute that lends rights to whoever runs a file, as the set-id
// bits do.
const capability = "security.capability"

// accessACL is where the kernel keeps a file's POSIX ACL.
const accessACL = "system.posix_acl_access"

// dress gives a new file the owner, mode and extended attributes of the one that it
// replaces, as its descriptor has them, and takes off what the folder added.
func (t *Target) dress(file *os.File) error {
	if t.model == nil {
		return nil
	}
	fd := int(file.Fd())
	old := &t.model.opened
	mode, lends := old.Mode&0o7777, t.lends()
	owner, group := setOwner(fd, old)
	if !owner {
		t.model.lost = append(t.model.lost, "owner")
	}
	if !owner || !group || old.Uid == overflowID || old.Gid == overflowID {
		lends = false // to another owner
	}
	if !group {
		// The group is another one, which gets what everybody has.
		t.model.lost = append(t.model.lost, "group")
		mode = mode&^0o070 | (mode&0o007)<<3&mode
	}
	if !lends {
		mode &^= setID
	}
	if t.private {
		mode &^= 0o077
	}
	// What vouches for the old content (IMA, EVM) would be wrong on the new one.
	skip := map[string]bool{"security.ima": true, "security.evm": true, capability: !lends, accessACL: !group || t.private}
	// The folder's default ACL goes first: with it, the group's bits are its mask.
	if err := t.copyXattrs(fd, skip); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return t.place.error("chmod", err)
	}
	return nil
}

// seclude takes what the folder's default ACL added off a new file that is its owner's
// alone: a later chmod would let others in.
func (t *Target) seclude(file *os.File) error {
	if t.model != nil || t.perm == 0 || t.perm.Perm()&0o077 != 0 {
		return nil
	}
	fd := int(file.Fd())
	err := unix.Fremovexattr(fd, accessACL)
	switch {
	case errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP):
		return nil
	case err == nil:
		err = unix.Fchmod(fd, uint32(t.perm.Perm()))
	}
	return t.place.error("chmod", err)
}

// lends reports whether the new file may lend rights as the old one does: only where
// it has the old content, and bears the name that was that file's own. Through a link
// in a folder of somebody else's they would get there.
func (t *Target) lends() bool { return t.inPlace && !t.model.Linked() }

// setOwner reports whether user and group are now those of old: to give a file
// away takes root, to give it to one of one's groups does not.
func setOwner(fd int, old *unix.Stat_t) (owner, group bool) {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return false, false
	}
	if now.Uid == old.Uid && now.Gid == old.Gid {
		return true, true
	}
	if unix.Fchown(fd, int(old.Uid), int(old.Gid)) == nil {
		return true, true
	}
	return now.Uid == old.Uid, now.Gid == old.Gid || unix.Fchown(fd, -1, int(old.Gid)) == nil
}

// copyXattrs makes the new file's attributes the old one's, as far as may be, without
// those to skip.
func (t *Target) copyXattrs(fd int, skip map[string]bool) error {
	old, err := listXattrs(int(t.model.file.Fd()))
	if errors.Is(err, unix.EBADF) {
		return t.copyXattrsOfUnreadable(fd, skip)
	}
	return t.setXattrs(fd, old, err, skip, func(name string, b []byte) (int, error) {
		return unix.Fgetxattr(int(t.model.file.Fd()), name, b)
	})
}

// copyXattrsOfUnreadable is copyXattrs for a file that may not be read, whose
// descriptor is one of O_PATH.
func (t *Target) copyXattrsOfUnreadable(fd int, skip map[string]bool) error {
	path := procPath(int(t.model.file.Fd()))
	names, err := xattr(func(b []byte) (int, error) { return unix.Listxattr(path, b) })
	return t.setXattrs(fd, splitNames(names), err, skip, func(name string, b []byte) (int, error) {
		return unix.Getxattr(path, name, b)
	})
}

func (t *Target) setXattrs(fd int, names []string, err error, skip map[string]bool, get func(string, []byte) (int, error)) error {
	if err != nil && !ignorable(err) {
		return t.place.error("listxattr", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return skip[name] })
	if err := t.removeXattrs(fd, names); err != nil {
		return err
	}
	for _, name := range names {
		value, err := xattr(func(b []byte) (int, error) { return get(name, b) })
		if err == nil {
			err = unix.Fsetxattr(fd, name, value, 0)
		}
		switch {
		case err == nil || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOENT):
		case ignorable(err):
			t.model.lost = append(t.model.lost, name)
		default:
			return t.place.error("setxattr "+name, err)
		}
	}
	return nil
}

// removeXattrs removes what the new file has and the old one lacks: the folder's
// default ACL would let strangers in. A security module's label is its own affair.
func (t *Target) removeXattrs(fd int, keep []string) error {
	names, err := listXattrs(fd)
	if err != nil && !ignorable(err) {
		return t.place.error("listxattr", err)
	}
	for _, name := range names {
		if slices.Contains(keep, name) {
			continue
		}
		err := unix.Fremovexattr(fd, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !strings.HasPrefix(name, "security.") {
			return t.place.error("removexattr "+name, err)
		}
	}
	return nil
}

func listXattrs(fd int) ([]string, error) {
	names, err := xattr(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	return splitNames(names), err
}

func splitNames(names []byte) []string {
	return strings.FieldsFunc(string(bytes.TrimRight(names, "\x00")), func(r rune) bool { return r == 0 })
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
