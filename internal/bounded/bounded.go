// Package bounded reads what others wrote up to a limit: files, streams, the output of
// a command. What is larger ends in an error that tells the limit, and never in memory.
package bounded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// TooLargeError says that there was more to read than the limit allows.
type TooLargeError struct {
	Limit int64 // in bytes
}

func (e *TooLargeError) Error() string { return "larger than " + Size(e.Limit) }

// Size writes a number of bytes for people: as whole MiB or KiB where it is that.
func Size(n int64) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Read reads all of r if that is at most limit bytes, and returns a *TooLargeError
// otherwise. Errors of r are returned as they are.
func Read(r io.Reader, limit int64) ([]byte, error) { return ReadExpected(r, limit, 0) }

// ReadFile reads a file of at most limit bytes. Every error is an *fs.PathError with
// the file's name, a *TooLargeError wrapped in one.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return FromFile(f, limit)
}

// Open is os.Open by OpenAt.
func Open(path string) (*os.File, error) {
	fd, err := OpenAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Stranger reports whether a file's owner is neither root nor the user.
func Stranger(uid uint32) bool { return uid != 0 && uid != uint32(os.Geteuid()) }

// ForeignFIFO says why one is not opened: it could be made to wait forever.
const ForeignFIFO = "a FIFO of another user, which is not waited for"

// OpenAt is openat(2) for reading, and waits for no FIFO of a Stranger's. It is without the
// poller of package os, which needs two descriptors of its own, and ends the program where
// there are none.
func OpenAt(dir int, name string, flags int) (fd int, err error) {
	if fd, err = OpenRaw(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|flags, 0); err != nil {
		return -1, err
	}
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0) // or package os would poll it
	}
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO {
		if Stranger(stat.Uid) && !isPipe(fd) {
			err = errors.New(ForeignFIFO)
		} else {
			err = awaitWriter(fd)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// awaitWriter waits until a FIFO has something to read, or its writers are gone: open(2)
// does so without O_NONBLOCK, and before the first writer a read would find the end.
func awaitWriter(fd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isPipe tells a pipe, which /dev/stdin may lead to, from a FIFO: its owner has made it to be
// read.
func isPipe(fd int) bool {
	var filesystem unix.Statfs_t
	return unix.Fstatfs(fd, &filesystem) == nil && filesystem.Type == unix.PIPEFS_MAGIC
}

// OpenRaw is openat(2), once more after a signal as package os does it, and close-on-exec.
func OpenRaw(dir int, name string, flags int, perm uint32) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, unix.O_CLOEXEC|flags, perm)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// FromFile is like ReadFile, with a file that is open. It reads from the file's offset.
func FromFile(f *os.File, limit int64) ([]byte, error) {
	var size int64
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	b, err := ReadExpected(f, limit, size)
	if _, named := err.(*fs.PathError); err != nil && !named {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return b, err
}

// ReadExpected is like Read, and makes room for the expected size at once: of a key, no
// copy is left behind by a buffer that grows. On failure what was read is wiped.
func ReadExpected(r io.Reader, limit, expected int64) ([]byte, error) {
	var b bytes.Buffer
	if expected <= limit {
		b.Grow(int(expected) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && int64(b.Len()) > limit {
		err = &TooLargeError{limit}
	}
	if err != nil {
		clear(b.Bytes())
		return nil, err
	}
	return b.Bytes(), nil
}

// Buffer keeps the beginning of what is written to it, and takes the rest without
// keeping it: a command that writes too much goes on, and memory does not. It may be read
// while it is written to. It has no ReadFrom, which io.Copy would prefer to Write.
type Buffer struct {
	Limit int // in bytes

	mutex     sync.Mutex
	kept      []byte
	truncated bool
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	room := max(b.Limit-len(b.kept), 0)
	if len(p) > room {
		b.truncated = true
		b.kept = append(b.kept, p[:room]...)
	} else {
		b.kept = append(b.kept, p...)
	}
	return len(p), nil
}

// Bytes returns what was kept.
func (b *Buffer) Bytes() []byte {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return bytes.Clone(b.kept)
}

// Truncated reports whether more was written than is kept.
func (b *Buffer) Truncated() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.truncated
}
