package bpf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	refuse := func(errno syscall.Errno, function, advice, format string, args ...any) (*kernel.Verdict, error) {
		return &kernel.Verdict{
			Kernel: k.Release(), Errno: errno, Func: function, Reason: fmt.Sprintf(format, args...), Advice: advice,
		}, nil
	}
	const cut = "get the file anew"
	switch hash := l.Hash(); {
	case scheme == 0:
		return refuse(syscall.E2BIG, "bpf_check_uarg_tail_zero", "load it on Linux 6.18 or later", "kernel %s knows no signatures of BPF programs", k.Release())
	case len(l.ExclusiveHash) != sha256.Size && l.ExclusiveHash != nil:
		return refuse(syscall.EINVAL, "map_create", cut, "excl_prog_hash has %d bytes, and not %d", len(l.ExclusiveHash), sha256.Size)
	case len(l.Instructions)/InstructionSize == 0 || len(l.Instructions)/InstructionSize > MaxInstructions:
		return refuse(syscall.E2BIG, "bpf_prog_load", cut, "a program of %d instructions", len(l.Instructions)/InstructionSize)
	case scheme == InstructionsAndMap && l.endsInside():
		return refuse(syscall.EINVAL, "bpf_check", cut, "the last instruction is half of one")
	case scheme == InstructionsAndMap && l.ExclusiveHash != nil && !bytes.Equal(hash[:], l.ExclusiveHash):
		return refuse(syscall.EACCES, "check_map_prog_compatibility", cut, "excl_prog_hash is that of another program")
	case len(l.Signature) == 0 && scheme == InstructionsAndMap, len(l.Signature) > MaxSignature:
		return refuse(syscall.EINVAL, "bpf_prog_verify_signature", "sign it again: sign-file bpf sign", "a signature of %d bytes: BPF_PROG_LOAD takes 1 to %d", len(l.Signature), MaxSignature)
	case scheme == InstructionsAndMap && len(l.Instructions)+len(l.Data) > MaxPayload:
		return refuse(syscall.E2BIG, "bpf_prog_verify_signature", "make the object smaller", "%d bytes of instructions and data, and %d may be signed", len(l.Instructions)+len(l.Data), MaxPayload)
	}
	v, err := judgePayload(judge, l, scheme)
	if err != nil || !v.Accepted {
		return v, err
	}
	if hash := l.Hash(); l.ExclusiveHash != nil && !bytes.Equal(hash[:], l.ExclusiveHash) {
		return refuse(syscall.EACCES, "check_map_prog_compatibility", cut, "excl_prog_hash is that of another program")
	}
	if l.Scheme() == Instructions {
		if refused, err := l.judgeLoader(k, scheme); refused != nil || err != nil {
			return refused, err
		}
	} else if scheme == Instructions && len(l.Data) > 0 {
		v.Lax = "this signature does not cover the data, and neither does the loader compare them"
	}
	return v, nil
}

// judgeLoader says what comes of a loader that compares the digest of its map, when its
// signature is accepted. Both results are nil where it runs.
func (l *Loader) judgeLoader(k *kernel.Kernel, scheme Scheme) (*kernel.Verdict, error) {
	if scheme == Instructions && l.readsExclusive() {
		if v, err := judgeExclusive(k); v != nil || err != nil {
			return v, err
		}
	}
	v := &kernel.Verdict{Kernel: k.Release(), Errno: syscall.EINVAL, Func: "BPF_PROG_RUN"}
	switch {
	case scheme == InstructionsAndMap:
		v.Reason = "the signature is accepted, and then the loader ends by itself: " + (&SchemeError{Instructions, scheme}).Error()
		v.Advice = otherScheme(scheme)
	case !l.DataMatches():
		v.Reason = "the loader is accepted, and then refuses its data by itself: their digest is another than it has"
		v.Advice = "get the file anew"
	default:
		return nil, nil
	}
	return v, nil
}

// judgeExclusive: struct bpf_map got the field excl in Linux 7.2, and in some release of
// 6.18 after 6.18.15, which lacks it; 6.18.44 has it. Where it is not, the verifier finds
// that the loader reads something else of the map (check_ptr_to_map_access). Both results
// are nil where the field is.
func judgeExclusive(k *kernel.Kernel) (*kernel.Verdict, error) {
	const without, with = 15, 44
	patch, known := k.Patch()
	is618 := known && !k.Since(6, 19)
	switch {
	case k.Since(7, 2) || is618 && patch >= with:
		return nil, nil
	case is618 && patch <= without:
		return &kernel.Verdict{
			Kernel: k.Release(), Errno: syscall.EACCES, Func: "check_ptr_to_map_access",
			Reason: "the signature is accepted, and then the verifier refuses the loader: it was made for Linux 7.2, and reads the field excl of struct bpf_map that this kernel lacks",
			Advice: "make the skeleton anew with bpftool of this kernel's own sources, or use a newer kernel",
		}, nil
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
	whole := *l
	whole.Instructions = l.Instructions[:len(l.Instructions)/InstructionSize*InstructionSize]
	payload := whole.Payload(scheme)
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
