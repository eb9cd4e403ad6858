package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sign-file/internal/paths"
)

// Target is where a file goes.
type Target struct {
	path   string
	model  os.FileInfo // the file that is replaced; nil when there is none
	direct bool        // written as it stands: a pipe, a device, /dev/stdout

	perm      os.FileMode // of a file that takes nothing over; 0 stands for 0666
	exclusive bool        // Commit replaces nothing
}

// maxLinks is the kernel's MAXSYMLINKS.
const maxLinks = 40

// Entry is the directory entry itself: a symbolic link is replaced by the new
// file, which takes over the permissions of the link's target. This is what
// sign-file's rename does to a module signed in place. A link of /proc is refused:
// as root it would be /dev/stdin itself that is lost.
func Entry(path string) (*Target, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Target{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	_, magic, err := resolve(path)
	if magic {
		err = &os.PathError{Op: "replace", Path: path, Err: errors.New("leads to a file that is open, which can't be replaced (name the file itself)")}
	}
	if err != nil {
		return nil, err
	}
	return &Target{path: path, model: info}, nil
}

// New is the directory entry itself, for a file that takes over no permissions: it
// gets perm, less the umask. Unless replace is set, Commit fails with fs.ErrExist
// where something bears the name already.
func New(path string, perm os.FileMode, replace bool) *Target {
	return &Target{path: path, perm: perm, exclusive: !replace}
}

// Follow is the file that open(2) with O_CREAT would reach, as sign-file opens
// <dest>: links are followed, and what is no regular file is written directly.
func Follow(path string) (*Target, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		info = nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, &os.PathError{Op: "open", Path: path, Err: unix.EISDIR}
	case !info.Mode().IsRegular():
		return &Target{path: path, model: info, direct: true}, nil
	}
	end, magic, err := resolve(path)
	if err != nil {
		return nil, err
	}
	if magic {
		return &Target{path: path, model: info, direct: true}, nil
	}
	if info != nil {
		// rename(2) asks for the directory's permission only; who may not
		// write the file may not replace it here either.
		if err := unix.Faccessat(unix.AT_FDCWD, end, unix.W_OK, unix.AT_EACCESS); err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
	return &Target{path: end, model: info}, nil
}

// Is reports whether the target is that file now, under whatever name.
func (t *Target) Is(info os.FileInfo) bool { return t.model != nil && os.SameFile(t.model, info) }

// Direct reports whether Create opens the target itself, so that what is
// written can't be taken back.
func (t *Target) Direct() bool { return t.direct }

// resolve follows symbolic links in the last component. magic tells that it met
// one of /proc (/dev/stdout, /dev/fd/3): a file already open, with no name to
// replace that its reader would see.
func resolve(path string) (end string, magic bool, err error) {
	for range maxLinks {
		next, magic, err := readLink(path)
		if err != nil || magic || next == "" {
			return path, magic, err
		}
		if !filepath.IsAbs(next) {
			next = paths.Join(paths.Dir(path), next)
		}
		path = next
	}
	return "", false, &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
}

// readLink returns where a link points, or "" for what is no link. The link is
// held open meanwhile, so that it's the same one that is checked and read.
func readLink(path string) (next string, magic bool, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return "", false, nil
	}
	if err != nil {
		return "", false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var link unix.Stat_t
	var filesystem unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &link), unix.Fstatfs(fd, &filesystem)); err != nil {
		return "", false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if link.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, nil
	}
	if filesystem.Type == unix.PROC_SUPER_MAGIC {
		return "", true, nil
	}
	if err := mayFollow(path, &link); err != nil {
		return "", false, err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", false, &os.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(buf[:n]), false, nil
}

// mayFollow is the rule of the sysctl fs.protected_symlinks, which open(2) would
// have kept for us: in a sticky directory that all may write (/tmp), only links
// of one's own or of the directory's owner are followed.
func mayFollow(path string, link *unix.Stat_t) error {
	var dir unix.Stat_t
	if err := unix.Stat(paths.Dir(path), &dir); err != nil {
		return &os.PathError{Op: "stat", Path: paths.Dir(path), Err: err}
	}
	const shared = unix.S_ISVTX | unix.S_IWOTH
	if dir.Mode&shared == shared && link.Uid != uint32(os.Geteuid()) && link.Uid != dir.Uid {
		return fmt.Errorf("%s: a symbolic link of another user in a shared directory is not followed: %w", path, unix.EACCES)
	}
	return nil
}
