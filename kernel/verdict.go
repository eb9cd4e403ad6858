package kernel

import (
	"cmp"
	"errors"
	"syscall"
)

// Verdict is what a kernel says.
type Verdict struct {
	// Accepted: the signature was verified with a trusted certificate.
	Accepted bool
	// Kernel names the rules.
	Kernel string

	// Errno is what the check of the signature returns, Func the kernel function
	// that decides, Reason says it in words and Advice what to do about it. Log is
	// the constant part of the line in the kernel's log, empty for none. All are
	// zero for what is accepted.
	Errno  syscall.Errno
	Func   string
	Reason string
	Log    string
	Advice string
	// Cause is the name of the Cause that it is an instance of.
	Cause string

	// Loads and LoadErrno are what init_module and finit_module make of it: without
	// sig_enforce a module that merely can't be verified is loaded, and taints the
	// kernel. They are set only where modules are judged.
	Loads  bool
	Taints bool
	// NoModule is why a file whose signature lets it through is no module.
	NoModule  error
	LoadErrno syscall.Errno
	// Unsure is why it is not known whether a module that can't be verified is loaded: of
	// the running kernel it can't be told whether it is locked down. Empty where it is known.
	Unsure string

	// Lax says what no signer would have written, though the kernel accepts it.
	Lax string

	// Container is how a module is compressed, nil if it is not.
	Container *Container

	Signers  []Signer // those that verified, at least one
	DataSize int64    // how much is signed, in bytes
}

// refused makes a verdict of a refusal. Other errors stay errors: there is none.
func (j *Judge) refused(err error) (*Verdict, error) {
	refusal := RefusalOf(err)
	if refusal == nil {
		return nil, err
	}
	cause := causeOf(refusal)
	switch {
	case j.usage == MapValue && (cause.Name == "malformed" || cause.Name == "mismatch"):
		cause.Advice = "get the value anew, or sign its data again: sign-file map sign <hash algo> <key> <x509> <data> <value>"
	case j.usage == Firmware && cause.Name == "unsigned":
		cause.Advice = adviceFirmware
	}
	return &Verdict{
		Cause: cause.Name, Kernel: j.kernel.Name, Errno: refusal.Errno, Func: refusal.Func, Reason: refusal.Reason, Log: refusal.Log,
		Advice: cmp.Or(refusal.Advice, cause.Advice), LoadErrno: refusal.Errno,
	}, nil
}

// Name is the errno's symbol, for instance EBADMSG.
func (v *Verdict) Name() string { return ErrnoName(v.Errno) }

// load is the end of module_sig_check, which a kernel without CONFIG_MODULE_SIG lacks.
func (v *Verdict) load(k *Kernel) {
	if k.NoModules {
		v.withoutModules()
		return
	}
	if k.Unchecked && v.Errno != syscall.ENOEXEC && v.Errno != syscall.EFBIG {
		v.Loads, v.LoadErrno = true, 0
		return
	}
	what, tolerated := map[syscall.Errno]string{
		syscall.ENODATA: "unsigned module",
		syscall.ENOPKG:  "module with unsupported crypto",
		syscall.ENOKEY:  "module with unavailable key",
	}[v.Errno]
	switch {
	case v.Accepted:
		v.Loads = true
	case !tolerated:
	case k.Enforce:
		v.LoadErrno = syscall.EKEYREJECTED
		v.Log = "Loading of " + what + " is rejected"
	case k.Lockdown: // security_locked_down(LOCKDOWN_MODULE_SIGNATURE)
		v.LoadErrno = syscall.EPERM
		v.Log = "unsigned module loading is restricted"
	case k.unsure != "":
		v.LoadErrno, v.Unsure = 0, k.unsure
	default:
		v.Loads, v.Taints, v.LoadErrno = true, true, 0
	}
}

// withoutModules is what sys_ni_syscall makes of init_module and finit_module, whatever
// the file is.
func (v *Verdict) withoutModules() {
	v.Loads, v.Taints, v.LoadErrno, v.Log = false, false, syscall.ENOSYS, ""
	for _, c := range Causes() {
		if c.Name == causeNoModules && !v.Accepted {
			v.Advice = c.Advice
		}
	}
}

// reason drops the errno of an error that is explained otherwise.
func reason(err error) string {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return err.Error()
}
