package kernel

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
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

	// Loads and LoadErrno are what init_module and finit_module make of it: without
	// sig_enforce a module that merely can't be verified is loaded, and taints the
	// kernel.
	Loads     bool
	Taints    bool
	LoadErrno syscall.Errno

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
	return &Verdict{
		Kernel: j.kernel.Name, Errno: refusal.Errno, Func: refusal.Func, Reason: refusal.Reason, Log: refusal.Log,
		Advice: advice(refusal), LoadErrno: refusal.Errno,
	}, nil
}

// Name is the errno's symbol, for instance EBADMSG.
func (v *Verdict) Name() string { return unix.ErrnoName(v.Errno) }

// load is the end of module_sig_check.
func (v *Verdict) load(enforce bool) {
	what, tolerated := map[syscall.Errno]string{
		syscall.ENODATA: "unsigned module",
		syscall.ENOPKG:  "module with unsupported crypto",
		syscall.ENOKEY:  "module with unavailable key",
	}[v.Errno]
	switch {
	case !tolerated:
	case enforce:
		v.LoadErrno = syscall.EKEYREJECTED
		v.Log = "Loading of " + what + " is rejected"
	default:
		v.Loads, v.Taints, v.LoadErrno = true, true, 0
	}
}

// advice says what to do about a refusal.
func advice(r *Refusal) string {
	switch r.Func {
	case "x509_key_preparse", "mod_is_hash_blacklisted":
		return "use a build that is not blacklisted: this one was revoked on purpose"
	case "copy_module_from_user":
		return "check that this is a module at all"
	case "module_xz_decompress", "module_gzip_decompress":
		return "compress it as the kernel's build does (xz --check=crc32 --lzma2=dict=1MiB, gzip -n, zstd): sign-file sign --replace does so, or unpack it"
	case "kernel_read_file":
		return "leave debugging information out (strip --strip-debug) and sign again"
	}
	switch r.Errno {
	case syscall.ENODATA, syscall.ENOENT:
		return "sign it: sign-file <hash algo> <key> <x509> <file>"
	case syscall.ENOKEY:
		return "enrol the signer's certificate (mokutil --import cert.der, or UEFI db), or sign with a key that this kernel trusts; verify it with --trusted cert.der"
	case syscall.ENOPKG:
		return "sign with an RSA key and sha256, which every kernel has"
	case syscall.EMSGSIZE:
		return "sign without embedded certificates: the message is too long"
	case syscall.EBADMSG, syscall.EINVAL:
		return "take the signature off and sign again with sign-file"
	}
	return adviceRejected(r)
}

// adviceRejected is for EKEYREJECTED, which has many meanings.
func adviceRejected(r *Refusal) string {
	switch r.Func {
	case "pkcs7_verify":
		return "sign again as sign-file does: plain data, without signed attributes (openssl cms -noattr)"
	case "pkcs7_sig_note_authenticated_attr":
		return "sign again without these signed attributes (openssl cms -noattr)"
	}
	return "get the file anew, or sign it again: it is not what was signed, or another key has signed it"
}

// reason drops the errno of an error that is explained otherwise.
func reason(err error) string {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return err.Error()
}
