package bpf

import (
	"bytes"
)

// What a loader leaves to the host. libbpf before 1.8 lets the program that runs a signed
// loader choose how large maps are and what global variables start with: the loader takes
// max_entries and initial_value of struct bpf_map_desc from its context, and puts them over
// what is signed. Later ones don't ("libbpf: Skip initial_value override on signed loaders").

// Offsets in the loader's context, in bytes: struct bpf_loader_ctx, and after it struct
// bpf_map_desc of each map.
const (
	contextFlags = 4
	contextSize  = 24
	mapDescSize  = 16
	mapDescValue = 8 // initial_value
)

const (
	loadWord, loadDouble = 0x61, 0x79
	copyFromUser         = 148
)

// TakesFromHost reports whether the program that runs the loader can change sizes of maps or
// values of global variables, whatever is signed.
func (l *Loader) TakesFromHost() bool {
	return l.each(func(c code) bool {
		insn := c.rest
		isLoad := insn[0] == loadWord || insn[0] == loadDouble
		return isLoad && c.order.source(insn) == 6 && int16(c.order.Uint16(insn[2:])) >= contextSize
	})
}

// each calls f with the code from each instruction on until it is true, and reports whether
// it ever was.
func (l *Loader) each(f func(code) bool) bool {
	all := code{order: byteOrder(l.Instructions), rest: l.Instructions}
	for len(all.rest) >= InstructionSize {
		if f(all) {
			return true
		}
		size := InstructionSize
		if all.rest[0] == 0x18 {
			size *= 2
		}
		all.rest = all.rest[min(size, len(all.rest)):]
	}
	return false
}

// hostValue is where, in its data, a loader has what a map starts with, before it takes that
// from the host (bpf_gen__map_update_elem).
type hostValue struct{ index, offset, size int }

// hostValues finds them.
//
//	r3 = initial_value of map index; if (r3 == 0) goto +8
//	r1 = map 0 + offset; r2 = size; r0 = flags of the context; if (r0 & BPF_SKEL_KERNEL) goto +2
//	copy_from_user(); goto +1; probe_read_kernel()
func (l *Loader) hostValues() (found []hostValue) {
	l.each(func(c code) bool {
		offset := int16(c.order.Uint16(c.rest[2:]))
		if offset < contextSize || (offset-contextSize)%mapDescSize != mapDescValue ||
			!c.next(loadDouble, 3, 6, offset) || !c.next(0x15, 3, 0, 8) || len(c.rest) < 3*InstructionSize {
			return false
		}
		value := hostValue{
			index:  int(offset-contextSize) / mapDescSize,
			offset: int(c.immediate(c.rest[InstructionSize:])),
			size:   int(c.immediate(c.rest[2*InstructionSize:])),
		}
		if c.next(0x18, 1, pseudoMapIndexValue, 0) && c.next(0, 0, 0, 0) && c.next(0xb7, 2, 0, 0) && c.next(loadWord, 0, 6, contextFlags) &&
			c.next(0x45, 0, 0, 2) && c.call(copyFromUser) && c.next(0x05, 0, 0, 1) && c.call(probeReadKernel) {
			found = append(found, value)
		}
		return false
	})
	return found
}

// checkValues demands that the header gives the loader the values that are signed, as bpftool
// does, where the loader takes them from it.
func (r *reader) checkValues(h *header, l *Loader) {
	for _, value := range l.hostValues() {
		if value.index >= len(h.maps) {
			continue
		}
		name := h.maps[value.index]
		given, has := h.values[name]
		if !has {
			continue
		}
		end := value.offset + value.size
		if value.offset < 0 || value.size < 0 || end > len(l.Data) || !bytes.Equal(given.value, l.Data[value.offset:end]) {
			r.fail(given.start, "the values of %s are others than the loader's own, and would replace those", name)
		}
	}
}
