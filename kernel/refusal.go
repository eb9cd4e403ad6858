package kernel

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/kernel/internal/ber"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
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
	// Advice is what to do, where that is more than what to do about its cause.
	Advice string

	cause string // a Cause's name, where that is not the errno's
}

// refuse returns a *Refusal whose reason is formatted.
func refuse(errno syscall.Errno, function, format string, args ...any) error {
	return &Refusal{Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...)}
}

// logged is refuse for an error that the kernel prints a line about.
func logged(errno syscall.Errno, function, log, format string, args ...any) error {
	return &Refusal{Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...), Log: log}
}

// advised gives a refusal its cause and its own advice; empty is what its errno has.
func advised(err error, cause, format string, args ...any) error {
	refusal := RefusalOf(err)
	if refusal == nil {
		return err
	}
	more := *refusal
	more.cause, more.Advice = cause, fmt.Sprintf(format, args...)
	return &more
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s (%s from %s)", r.Reason, r.Name(), r.Func)
}

// Name returns the errno's symbol, for instance EBADMSG.
func (r *Refusal) Name() string { return ErrnoName(r.Errno) }

// ErrnoName is an errno's symbol as the kernel writes it: EOPNOTSUPP, which has the number
// of ENOTSUP.
func ErrnoName(errno syscall.Errno) string {
	if errno == syscall.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(errno)
}

// Unwrap gives errors.Is the errno.
func (r *Refusal) Unwrap() error { return r.Errno }

// RefusalOf says what the kernel makes of an error of the formats: of package
// module_signature as mod_verify_sig does, of package mapvalue as
// bpf_map_verify_value_sig. It returns nil for an error that is none of the kernel's.
func RefusalOf(err error) *Refusal {
	var refusal *Refusal
	var trailer *modsig.TrailerError
	var value *mapvalue.FormatError
	var asn1 *ber.Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &trailer):
		return ofTrailer(trailer)
	case errors.As(err, &value):
		return ofValue(value)
	case errors.As(err, &asn1):
		return &Refusal{Errno: asn1.Errno, Func: "asn1_ber_decoder", Reason: asn1.Reason}
	}
	return nil
}

func ofTrailer(e *modsig.TrailerError) *Refusal {
	// Where the content ends is not to be told any more, so nothing takes the signature off.
	r := &Refusal{Errno: syscall.EBADMSG, Func: "mod_check_sig", Reason: e.Reason, Advice: "get the file anew, or build it again, and sign that: its trailer is damaged, and sign-file can't take such a one off"}
	switch e.Kind {
	case modsig.NoRoom:
		r.Func = "mod_verify_sig"
	case modsig.BadType:
		r.Errno, r.Log = syscall.ENOPKG, "not signed with expected PKCS#7 message"
	case modsig.NoContent:
		r.Advice = "build the file again, and sign that: there is nothing in this one"
	case modsig.NotZero:
		r.Log = "PKCS#7 signature info has unexpected non-zero params"
	}
	return r
}

// mapFunction is that of the series of 2022.
const mapFunction = "bpf_map_verify_value_sig"

func ofValue(e *mapvalue.FormatError) *Refusal {
	r := &Refusal{Errno: syscall.ENOENT, Func: mapFunction, Reason: e.Reason}
	if e.Kind == mapvalue.BadSize {
		r.Errno = syscall.EINVAL
	}
	return r
}
