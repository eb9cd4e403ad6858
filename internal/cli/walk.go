package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sign-file/internal/compressed"
	"sign-file/internal/paths"
)

// walkModules calls found for a file, or for every module below a directory, with
// its path relative to that directory, and for what can't be read. Links inside a
// tree are passed over: what they point to is signed under its own name. So is
// the directory except, which may be nil, unless it is the path itself.
func walkModules(path string, except os.FileInfo, found func(module, relative string, err error)) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		found(path, filepath.Base(path), err)
		return
	}
	walkDirectory(path, "", except, found)
}

// walkDirectory is filepath.WalkDir but for cleaning paths. relative is empty, or
// ends with a slash.
func walkDirectory(dir, relative string, except os.FileInfo, found func(module, relative string, err error)) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		found(dir, "", err)
	}
	for _, entry := range entries {
		path, name := paths.Join(dir, entry.Name()), relative+entry.Name()
		switch {
		case entry.IsDir():
			if !same(entry, except) {
				walkDirectory(path, name+"/", except, found)
			}
		case entry.Type() != fs.ModeSymlink && isModule(name):
			found(path, name, nil)
		}
	}
}

// same tells whether an entry is that file, which may be nil.
func same(entry fs.DirEntry, file os.FileInfo) bool {
	if file == nil {
		return false
	}
	info, err := entry.Info()
	return err == nil && os.SameFile(info, file)
}

func isModule(name string) bool {
	_, ok := compressed.Of(name)
	return ok || strings.HasSuffix(name, ".ko")
}

// place tells names in directories apart, whatever path leads there.
type place struct {
	device, inode uint64 // of the directory; 0 below --output-dir, where names alone do
	name          string
}

func placeOf(path string) (place, error) {
	var dir unix.Stat_t
	if err := unix.Stat(paths.Dir(path), &dir); err != nil {
		return place{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return place{dir.Dev, dir.Ino, filepath.Base(path)}, nil
}
