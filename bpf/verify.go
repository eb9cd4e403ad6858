package bpf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"sign-file/kernel"
)

// SchemeOf is the scheme of a kernel; 0 of one that knows none.
func SchemeOf(k *kernel.Kernel) Scheme {
	switch {
	case k == nil || !k.Since(6, 18):
		return 0
	case k.Since(7, 3):
		return InstructionsAndMap
	}
	return Instructions
}

// Verify says what a kernel makes of a signed loader: what BPF_PROG_LOAD returns for its
// signature, what BPF_MAP_CREATE returns for its map, and what the loader itself would
// return when it runs, if that compares its data. The judge is one of usage kernel.BPF, for
// the keyring that the program names. The map is taken to be made as bpf_load_and_run makes
// it: exclusive where ExclusiveHash is not nil, frozen, and on Linux 7.3 bound with
// fd_array_cnt. What the verifier of BPF programs says of the instructions is not foretold.
// An error says why there is no verdict.
func Verify(judge *kernel.Judge, l *Loader) (*kernel.Verdict, error) {
	if judge == nil || judge.Kernel() == nil {
		return nil, errors.New("not decided: no kernel to judge by")
	}
	k := judge.Kernel()
	scheme := SchemeOf(k)
	if v := l.refusedBefore(k, scheme); v != nil {
		return v, nil
	}
	if l.lacksData() {
		return nil, fmt.Errorf("not decided: %w", ErrNoData)
	}
	if l.Signature == nil {
		return nil, errors.New("not decided: no signature, and without one a kernel takes it as it takes any program")
	}
	v, err := judgePayload(judge, l, scheme)
	if err != nil || !v.Accepted {
		return v, err
	}
	if !l.mayUseMap() {
		return refusal(k, syscall.EACCES, whereHash, getAnew, reasonHash), nil
	}
	if scheme == InstructionsAndMap {
		if err := l.checkBound(); err != nil {
			return refusal(k, err.errno, err.function, otherScheme(scheme), "the signature is accepted, and then the verifier refuses the program: %v", err), nil
		}
	}
	if l.Scheme() == Instructions {
		if refused, err := l.judgeLoader(k, scheme); refused != nil || err != nil {
			return refused, err
		}
	} else if scheme == Instructions && len(l.Data) > 0 {
		v.Lax = "this signature does not cover the data, and neither does the loader compare them"
	}
	if l.TakesFromHost() {
		v.Lax = strings.TrimPrefix(v.Lax+"; "+hostSays, "; ")
	}
	return v, nil
}

const (
	getAnew    = "get the file anew"
	whereHash  = "check_map_prog_compatibility"
	whereField = "check_ptr_to_map_access"
	whereRun   = "BPF_PROG_RUN" // the loader itself, and no function of the kernel
	reasonHash = "excl_prog_hash is that of another program"
	hostSays   = "what runs the loader may change sizes of maps and values of global variables, which bpftool of Linux 7.2 or later prevents"
)

func refusal(k *kernel.Kernel, errno syscall.Errno, function, advice, format string, args ...any) *kernel.Verdict {
	return &kernel.Verdict{Kernel: k.Release(), Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...), Advice: advice}
}

// mayUseMap: excl_prog_hash of the map is that of the program.
func (l *Loader) mayUseMap() bool {
	hash := l.Hash()
	return l.ExclusiveHash == nil || bytes.Equal(hash[:], l.ExclusiveHash)
}

// refusedBefore is what a kernel refuses before it looks at the signature; nil for nothing.
// From Linux 7.3 on the map is bound first.
func (l *Loader) refusedBefore(k *kernel.Kernel, scheme Scheme) *kernel.Verdict {
	const where = "bpf_prog_verify_signature"
	count, size, bound := len(l.Instructions)/InstructionSize, len(l.Instructions)+len(l.Data), scheme == InstructionsAndMap
	switch {
	case scheme == 0 && l.ExclusiveHash != nil:
		return refusal(k, syscall.EINVAL, "map_create", "load it on Linux 6.18 or later", "kernel %s knows neither exclusive maps nor signatures of BPF programs", k.Release())
	case scheme == 0:
		return refusal(k, syscall.E2BIG, "bpf_check_uarg_tail_zero", "load it on Linux 6.18 or later", "kernel %s knows no signatures of BPF programs", k.Release())
	case l.ExclusiveHash != nil && len(l.Data) == 0:
		return refusal(k, syscall.EINVAL, "map_create", getAnew, "the loader's map would have no bytes")
	case len(l.ExclusiveHash) != sha256.Size && l.ExclusiveHash != nil:
		return refusal(k, syscall.EINVAL, "map_create", getAnew, "excl_prog_hash has %d bytes, and not %d", len(l.ExclusiveHash), sha256.Size)
	case count == 0 || count > MaxInstructions:
		return refusal(k, syscall.E2BIG, "bpf_prog_load", getAnew, "a program of %d instructions", count)
	case bound && l.endsInside():
		return refusal(k, syscall.EINVAL, "bpf_check", getAnew, "the last instruction is half of one")
	case bound && !l.mayUseMap():
		return refusal(k, syscall.EACCES, whereHash, getAnew, reasonHash)
	case bound && l.Signature != nil && len(l.Signature) == 0, len(l.Signature) > MaxSignature:
		return refusal(k, syscall.EINVAL, where, "sign it again: sign-file bpf sign", "a signature of %d bytes: BPF_PROG_LOAD takes 1 to %d", len(l.Signature), MaxSignature)
	case bound && size > MaxPayload:
		return refusal(k, syscall.E2BIG, where, "make the object smaller", "%d bytes of instructions and data, and %d may be signed", size, MaxPayload)
	}
	return nil
}

// judgeLoader says what comes of a loader that compares the digest of its map, when its
// signature is accepted. Both results are nil where it runs.
func (l *Loader) judgeLoader(k *kernel.Kernel, scheme Scheme) (*kernel.Verdict, error) {
	if l.readsExclusive() {
		if v, err := judgeExclusive(k); v != nil || err != nil {
			return v, err
		}
	}
	switch {
	case scheme == InstructionsAndMap:
		return refusal(k, syscall.EINVAL, whereRun, otherScheme(scheme), "the signature is accepted, and then the loader ends by itself: %v", &SchemeError{Instructions, scheme}), nil
	case !l.DataMatches():
		return refusal(k, syscall.EINVAL, whereRun, getAnew, "the loader is accepted, and then refuses its data by itself: their digest is another than it has"), nil
	}
	return nil, nil
}

// judgeExclusive: struct bpf_map has the field excl in Linux 7.2, not in 7.3, and in some
// releases of 6.18: 6.18.15 lacks it, 6.18.44 has it. Where it is not, the verifier finds
// that the loader reads something else of the map. Both results are nil where the field is.
func judgeExclusive(k *kernel.Kernel) (*kernel.Verdict, error) {
	const without, with = 15, 44
	patch, known := k.Patch()
	is618 := known && !k.Since(6, 19)
	const refused = "the signature is accepted, and then the verifier refuses the loader: it was made for Linux 7.2, and reads the field excl of struct bpf_map that this kernel lacks"
	switch {
	case k.Since(7, 3):
		return refusal(k, syscall.EACCES, whereField, otherScheme(InstructionsAndMap), refused), nil
	case is618 && patch <= without:
		return refusal(k, syscall.EACCES, whereField, "make the skeleton anew with bpftool of this kernel's own sources, or use a newer kernel", refused), nil
	case k.Since(7, 2) || is618 && patch >= with:
		return nil, nil
	}
	return nil, fmt.Errorf("not decided: the loader was made for Linux 7.2 and reads the field excl of struct bpf_map, which 6.18.15 lacks and 6.18.44 has; whether kernel %s has it is not known (name its whole release)", k.Release())
}

// endsInside: the last instruction is the first half of one of 16 bytes.
func (l *Loader) endsInside() bool {
	last := len(l.Instructions)/InstructionSize - 1
	return l.Instructions[last*InstructionSize] == 0x18
}

// judgePayload judges the signature, and tells one that was made for the other scheme.
func judgePayload(judge *kernel.Judge, l *Loader, scheme Scheme) (*kernel.Verdict, error) {
	v, err := judgeAs(judge, l, scheme)
	if err != nil || v.Accepted {
		return v, err
	}
	v.Kernel = judge.Kernel().Release()
	switch v.Cause {
	case "malformed", "mismatch":
		v.Advice = "get the file anew, or sign it again: sign-file bpf sign <hash algo> <key> <x509> <skeleton>"
	case "unavailable-key":
		v.Advice = "put the signer's certificate into the keyring that keyring_id names, or have keyring_id name one that has it (0 builtin, 1 secondary, 2 platform, or a serial number)"
	}
	other := Instructions + InstructionsAndMap - scheme
	if len(l.Data) == 0 {
		return v, nil
	}
	if made := l.Scheme(); made != scheme {
		v.Reason += "; the loader was made for Linux " + made.kernels()
		v.Advice = otherScheme(scheme)
	}
	if as, err := judgeAs(judge, l, other); err == nil && as.Accepted {
		v.Reason = "this is a signature for Linux " + other.kernels() + " (" + other.covers() + "), and this kernel verifies " + scheme.covers()
		v.Advice = otherScheme(scheme)
	}
	return v, nil
}

func judgeAs(judge *kernel.Judge, l *Loader, scheme Scheme) (*kernel.Verdict, error) {
	payload := l.Payload(scheme)
	v, err := judge.Message(l.Signature, io.NewSectionReader(bytes.NewReader(payload), 0, int64(len(payload))))
	if v != nil {
		v.Kernel = judge.Kernel().Release()
	}
	return v, err
}

func (s Scheme) kernels() string {
	if s == Instructions {
		return "6.18 to 7.2"
	}
	return "7.3 and later"
}

func (s Scheme) covers() string {
	if s == Instructions {
		return "the instructions alone"
	}
	return "the instructions and the map"
}

func otherScheme(s Scheme) string {
	bpftool := "6.18 to 7.2"
	if s == InstructionsAndMap {
		bpftool = "7.3 or later"
	}
	return "make the skeleton anew with bpftool of Linux " + bpftool + " (gen skeleton -L -S), and sign that: sign-file bpf sign"
}
