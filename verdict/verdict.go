// Package verdict is how every room says what the kernel would answer: an errno,
// the kernel function that decides, and the reason in words.
package verdict

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Refusal is an error that the kernel would return for the same bytes.
// errors.Is(err, syscall.EBADMSG) and the like see through it.
type Refusal struct {
	Errno  syscall.Errno
	Func   string // the kernel function that decides, as in Linux 6.12
	Reason string // lower case, no period
	// Log is what the kernel prints with it, for those who read dmesg: the
	// constant part of the line, empty for none.
	Log string
}

// Refuse returns a *Refusal whose reason is formatted.
func Refuse(errno syscall.Errno, function, format string, args ...any) error {
	return &Refusal{Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...)}
}

// Logged is Refuse for an error that the kernel prints a line about.
func Logged(errno syscall.Errno, function, log, format string, args ...any) error {
	return &Refusal{Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...), Log: log}
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s (%s from %s)", r.Reason, r.Name(), r.Func)
}

// Name returns the errno's symbol, for instance EBADMSG.
func (r *Refusal) Name() string { return unix.ErrnoName(r.Errno) }

// Unwrap gives errors.Is the errno.
func (r *Refusal) Unwrap() error { return r.Errno }
