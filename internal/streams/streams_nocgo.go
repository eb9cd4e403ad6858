//go:build !cgo

package streams

import (
	"os"

	"golang.org/x/sys/unix"
)

// closed knows Go's /dev/null by its being open for reading and writing. Callers that
// want to throw an answer away open it so too, but nobody reads from it to get
// something.
func closed() (c [3]bool) {
	var in, null unix.Stat_t
	flags, err := unix.FcntlInt(0, unix.F_GETFL, 0)
	if err != nil || unix.Fstat(0, &in) != nil || unix.Stat(os.DevNull, &null) != nil {
		return c
	}
	c[0] = flags&unix.O_ACCMODE == unix.O_RDWR && in.Rdev == null.Rdev && in.Mode&unix.S_IFMT == unix.S_IFCHR
	return c
}
