package bpf

import "syscall"

// BoundError is a program with something of the kernel's that its signature does not cover:
// Linux 7.3 and later refuse such a one, where it is signed (Documentation/bpf/signing.rst).
type BoundError struct {
	what     string
	function string // which refuses it
	errno    syscall.Errno
}

func (e *BoundError) Error() string {
	return "it names " + e.what + ", and on Linux 7.3 and later a signed program may use only the maps that its signature covers, by their index, and no BTF"
}

// checkBound finds what Linux 7.3 lets no signed program have. The BTF of kernel functions is
// looked up first (add_kfunc_call), and then the constants in their order.
func (l *Loader) checkBound() *BoundError {
	const call, kernelFunction = 0x85, 2   // BPF_PSEUDO_KFUNC_CALL
	const mapFD, mapValue, btfID = 1, 2, 3 // BPF_PSEUDO_MAP_FD and its like
	var function, constant *BoundError
	l.each(func(c code) bool {
		insn := c.rest
		source := c.order.source(insn)
		switch {
		case insn[0] == call && source == kernelFunction && int16(c.order.Uint16(insn[2:])) > 0:
			function = &BoundError{"a function of a kernel module", "fd_array_get_btf", syscall.EACCES}
		case insn[0] != 0x18 || constant != nil:
		case source == mapFD || source == mapValue:
			constant = &BoundError{"a map by its descriptor", "check_and_resolve_insns", syscall.EINVAL}
		case source == btfID:
			constant = &BoundError{"a variable of the kernel", "__add_used_btf", syscall.EACCES}
		}
		return function != nil
	})
	if function != nil {
		return function
	}
	return constant
}
