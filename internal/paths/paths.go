// Package paths takes paths apart and together as the kernel reads them. Package
// filepath cleans them meanwhile, which makes "." of "link/..", wherever the link
// leads.
package paths

import (
	"io/fs"
	"strings"
)

// Dir is the directory part of a path.
func Dir(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i+1]
	}
	return "."
}

// Join is the path of something in a directory.
func Join(dir, names string) string { return strings.TrimSuffix(dir, "/") + "/" + names }

// About names the file that an error is about, as an *fs.PathError. One that names a file
// already stays as it is: who opened that file knows best.
func About(op, path string, err error) error {
	if _, named := err.(*fs.PathError); named || err == nil {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
