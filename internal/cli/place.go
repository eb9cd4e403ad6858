package cli

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sign-file/internal/paths"
)

// place tells names in directories apart, whatever path leads there.
type place struct {
	device, inode uint64 // of the directory; 0 below --output-dir, where the names suffice
	name          string
}

func placeOf(path string) (place, error) {
	var dir unix.Stat_t
	if err := unix.Stat(paths.Dir(path), &dir); err != nil {
		return place{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return place{dir.Dev, dir.Ino, filepath.Base(path)}, nil
}

// fileAt tells files apart, whatever path leads there.
func fileAt(path string) (place, error) {
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return place{}, err
	}
	return place{device: file.Dev, inode: file.Ino}, nil
}

// isLink reports whether the path itself is a symbolic link.
func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
