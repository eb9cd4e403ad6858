// Package bpf reads, signs and judges signed BPF programs.
//
// What is signed is the loader of a light skeleton (bpftool gen skeleton -L -S): a program
// of type BPF_PROG_TYPE_SYSCALL that makes the maps and loads the programs. Its data is one
// array map. Linux 6.18 to 7.2 verify a signature of the loader's instructions, and the
// loader compares the map's digest with one in its instructions. Linux 7.3 verifies a
// signature of the instructions and the map's contents, and its loader compares nothing
// (Documentation/bpf/signing.rst). A loader of the one kind is of no use on a kernel of the
// other, whoever has signed it.
package bpf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// Scheme says what a program's signature covers.
type Scheme int

const (
	// Instructions is that of Linux 6.18 to 7.2.
	Instructions Scheme = iota + 1
	// InstructionsAndMap is that of Linux 7.3 and later.
	InstructionsAndMap
)

// String names the first kernel that has the scheme.
func (s Scheme) String() string {
	switch s {
	case Instructions:
		return "6.18"
	case InstructionsAndMap:
		return "7.3"
	}
	return "unknown"
}

const (
	// InstructionSize is sizeof(struct bpf_insn), in bytes.
	InstructionSize = 8
	// MaxInstructions is how many a program may have (BPF_COMPLEXITY_LIMIT_INSNS).
	MaxInstructions = 1_000_000
	// MaxPayload is how much a signature may cover, in bytes (DYNPTR_MAX_SIZE), and how much
	// data is read here.
	MaxPayload = 1<<24 - 1
	// MaxSignature is how long a PKCS#7 message may be, in bytes (KMALLOC_MAX_CACHE_SIZE
	// with pages of 4 KiB).
	MaxSignature = 8192
)

// Loader is a program with its map, as BPF_PROG_LOAD and BPF_MAP_CREATE get them.
type Loader struct {
	Instructions []byte
	// Data is the contents of the program's only map; empty for a program without one.
	Data []byte
	// Signature is the PKCS#7 message, DER; nil if there is none.
	Signature []byte
	// ExclusiveHash is the map's excl_prog_hash, the Hash of the one program that may use
	// it; nil if it is not known.
	ExclusiveHash []byte
}

// ErrNoInstructions is why nothing is a loader: it has no instructions, or not whole ones.
var ErrNoInstructions = errors.New("no BPF program: its instructions are not a positive multiple of 8 bytes")

// SizeError says that a loader is larger than kernels take it.
type SizeError struct {
	What        string // what is too large, with its unit
	Size, Limit int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%d %s, and kernels take at most %d", e.Size, e.What, e.Limit)
}

// Check returns why no kernel would look at the loader's signature, whatever it is: one of
// the errors above.
func (l *Loader) Check() error {
	n := len(l.Instructions)
	switch {
	case n == 0 || n%InstructionSize != 0:
		return ErrNoInstructions
	case n/InstructionSize > MaxInstructions:
		return &SizeError{"instructions", n / InstructionSize, MaxInstructions}
	case l.endsInside():
		return errEndsInside
	}
	return nil
}

// ends reports whether the last instruction ends the program or jumps, as check_subprogs wants
// it. Text and data that are no program hardly ever do.
func (l *Loader) ends() bool {
	const jump, end = 0x00, 0x90
	code := l.whole()
	opcode := code[len(code)-InstructionSize]
	isJump, operation := opcode&7 == 5 || opcode&7 == 6, opcode&0xf0
	return isJump && (operation == jump || operation == end)
}

var errNoEnd = errors.New("no BPF program: its last instruction neither ends it nor jumps")

var errEndsInside = errors.New("no BPF program: its last instruction is half of one")

// whole are the instructions without what is less than one behind them: bpf_load_and_run counts
// only whole ones.
func (l *Loader) whole() []byte {
	return l.Instructions[:len(l.Instructions)/InstructionSize*InstructionSize]
}

// Payload is what a signature of a scheme covers.
func (l *Loader) Payload(s Scheme) []byte {
	if s == InstructionsAndMap {
		return slices.Concat(l.whole(), l.Data)
	}
	return bytes.Clone(l.whole())
}

// Hash is the program's digest, which excl_prog_hash of its map must be. Descriptors of
// maps, which differ from run to run, count as zero (bpf_prog_calc_tag).
func (l *Loader) Hash() [sha256.Size]byte {
	const (
		immediate = 4 // where struct bpf_insn has it
		wide      = 0x18
		mapFD     = 1 // BPF_PSEUDO_MAP_FD
		mapValue  = 2 // BPF_PSEUDO_MAP_VALUE
	)
	code := bytes.Clone(l.whole())
	order := byteOrder(code)
	inside := false
	for insn := range slices.Chunk(code, InstructionSize) {
		source := order.source(insn)
		switch {
		case !inside && insn[0] == wide && (source == mapFD || source == mapValue):
			inside = true
			clear(insn[immediate:])
		case inside && bytes.Equal(insn[:immediate], make([]byte, immediate)):
			inside = false
			clear(insn[immediate:])
		default:
			inside = false
		}
	}
	return sha256.Sum256(code)
}

// order is the byte order of a program. Its registers share a byte, in that order too.
type order struct{ binary.ByteOrder }

func (o order) source(insn []byte) byte {
	if o.ByteOrder == binary.BigEndian {
		return insn[1] & 15
	}
	return insn[1] >> 4
}

// registers is the byte with both.
func (o order) registers(destination, source byte) byte {
	if o.ByteOrder == binary.BigEndian {
		return destination<<4 | source
	}
	return source<<4 | destination
}

// byteOrder tells the one of a loader by its first instruction, r6 = r1
// (bpf_gen__init). What begins otherwise is taken to be little-endian.
func byteOrder(code []byte) order {
	if len(code) >= InstructionSize && code[0] == 0xbf && code[1] == 0x61 {
		return order{binary.BigEndian}
	}
	return order{binary.LittleEndian}
}

// Scheme is the one that the loader was made for: InstructionsAndMap, unless it compares
// the digest of its map.
func (l *Loader) Scheme() Scheme {
	if _, compares := l.comparedHash(); compares {
		return Instructions
	}
	return InstructionsAndMap
}

// comparedHash finds the digest that a loader for Linux 6.18 to 7.2 has in its
// instructions. It is where libbpf's emit_signature_match puts it and in the way that it
// does, or nowhere: a comparison that is not reached, or has no consequence, is none.
//
//	r6 = r1                  bpf_gen__init: the stack is cleared
//	...
//	goto check
//	cleanup: ...             closes what is open, and ends the program with r7
//	check:                   from Linux 7.2 on: if (map 0's excl != 1) goto cleanup
//	r1 = map 0; r2 = *(u64 *)(r1 + 8 * i); r3 = word i; r7 = -EINVAL; if (r2 != r3) goto cleanup
//
// Before Linux 7.2 it went to the second instruction of cleanup, which ends in the same way.
func (l *Loader) comparedHash() (hash []byte, compares bool) {
	const words, cleanup = sha256.Size / 8, 7 // instructions before cleanup
	if len(l.Instructions) < cleanup*InstructionSize {
		return nil, false
	}
	c := code{order: byteOrder(l.Instructions), rest: l.Instructions}
	ok := c.next(0xbf, 6, 1, 0) && c.next(0xbf, 1, 10, 0) && c.next(0x07, 1, 0, 0) && c.next(0xb7, 2, 0, 0) && c.next(0xb7, 3, 0, 0) && c.call(probeReadKernel)
	skip := int(int16(c.order.Uint16(c.rest[2:])))
	if !ok || !c.next(0x05, 0, 0, int16(skip)) || !c.cleanup() || c.at != cleanup+skip {
		return nil, false
	}
	target := cleanup + 1
	if exclusive := c; exclusive.mapHead(0x61, sha256.Size) {
		if target = cleanup; !exclusive.fails(0x55, 2, 0, 1, target) {
			return nil, false
		}
		c = exclusive
	}
	for len(hash) < words*8 {
		if !c.mapHead(0x79, len(hash)) || len(c.rest) < 2*InstructionSize {
			return nil, false
		}
		word := c.rest
		if !c.next(0x18, 3, 0, 0) || !c.next(0, 0, 0, 0) || !c.fails(0x5d, 2, 3, 0, target) {
			return nil, false
		}
		value := uint64(c.order.Uint32(word[4:])) | uint64(c.order.Uint32(word[12:]))<<32
		hash = append(hash, make([]byte, 8)...)
		c.order.PutUint64(hash[len(hash)-8:], value)
	}
	return hash, true
}

// code reads instructions one after the other.
type code struct {
	order order
	at    int // of the next instruction
	rest  []byte
}

// next skips an instruction, if it is that one, whatever its immediate is.
func (c *code) next(opcode, destination, source byte, offset int16) bool {
	if len(c.rest) < InstructionSize || c.rest[0] != opcode || c.rest[1] != c.order.registers(destination, source) || int16(c.order.Uint16(c.rest[2:])) != offset {
		return false
	}
	c.at, c.rest = c.at+1, c.rest[InstructionSize:]
	return true
}

// immediate is that of the instruction that next has skipped.
func (c *code) immediate(all []byte) int32 {
	return int32(c.order.Uint32(all[4:]))
}

// Numbers of the helpers that a loader calls (enum bpf_func_id).
const (
	probeReadKernel = 113
	sysClose        = 168
)

// call skips a call of a helper.
func (c *code) call(helper int32) bool {
	head := c.rest
	return c.next(0x85, 0, 0, 0) && c.immediate(head) == helper
}

// cleanup skips the code that a loader ends with when it fails: it closes the descriptors on
// the stack, those in the map, and returns r7.
//
//	r1 = *(u32 *)(r10 - 136 + 4 * i); if (r1 s<= 0) goto +1; sys_close()
//	r0 = map 0 + 4 * i; r1 = *(u32 *)r0; if (r1 s<= 0) goto +2; r9 = r1; sys_close()
//	r0 = r7; exit
func (c *code) cleanup() bool {
	const stack = -136 // sizeof(struct loader_stack)
	for offset := int16(stack); c.next(0x61, 1, 10, offset); offset += 4 {
		if !c.next(0xd5, 1, 0, 1) || !c.call(sysClose) {
			return false
		}
	}
	for c.next(0x18, 0, pseudoMapIndexValue, 0) {
		if !c.next(0, 0, 0, 0) || !c.next(0x61, 1, 0, 0) || !c.next(0xd5, 1, 0, 2) || !c.next(0xbf, 9, 1, 0) || !c.call(sysClose) {
			return false
		}
	}
	return c.next(0xbf, 0, 7, 0) && c.next(0x95, 0, 0, 0)
}

// mapHead skips r1 = map 0; r2 = *(r1 + offset).
func (c *code) mapHead(load byte, offset int) bool {
	head := c.rest
	return c.next(0x18, 1, pseudoMapIndex, 0) && c.immediate(head) == 0 &&
		c.next(0, 0, 0, 0) && c.immediate(head[InstructionSize:]) == 0 && c.next(load, 2, 1, int16(offset))
}

// fails skips r7 = -EINVAL; if (r2 != what) goto target.
func (c *code) fails(jump, destination, source byte, immediate int32, target int) bool {
	head := c.rest
	return c.next(0xb7, 7, 0, 0) && c.immediate(head) == -int32(syscall.EINVAL) &&
		c.next(jump, destination, source, int16(target-c.at-1)) && c.immediate(head[InstructionSize:]) == immediate
}

// readsExclusive tells the loaders of libbpf from Linux 7.2 on that compare their map's
// digest: before that they read the u32 excl, which follows sha in struct bpf_map.
//
//	r1 = map 0; r2 = *(u32 *)(r1 + 32)
func (l *Loader) readsExclusive() bool {
	o := byteOrder(l.Instructions)
	for at := 0; at+InstructionSize <= len(l.Instructions); at += InstructionSize {
		c := code{order: o, rest: l.Instructions[at:]}
		if c.mapHead(0x61, sha256.Size) {
			return true
		}
	}
	return false
}

// usesMap reports whether an instruction names a map, or a value in one, by a descriptor or
// by an index.
func (l *Loader) usesMap() bool {
	const mapFD, mapValue = 1, 2 // BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
	code := l.whole()
	o := byteOrder(code)
	for at := 0; at < len(code); at += InstructionSize {
		if code[at] != 0x18 {
			continue
		}
		switch o.source(code[at:]) {
		case mapFD, mapValue, pseudoMapIndex, pseudoMapIndexValue:
			return true
		}
		at += InstructionSize // the other half of the constant
	}
	return false
}

// ErrNoData says that the loader uses a map, and that what is in it is not known. A signature of the
// instructions would let any contents in, where that is all that is verified.
var ErrNoData = errors.New("the loader uses a map, and its contents are empty or not named")

// lacksData is why ErrNoData is returned.
func (l *Loader) lacksData() bool { return len(l.Data) == 0 && (l.ExclusiveHash != nil || l.usesMap()) }

// BPF_PSEUDO_MAP_IDX and BPF_PSEUDO_MAP_IDX_VALUE: the immediate is an index into fd_array.
const (
	pseudoMapIndex      = 5
	pseudoMapIndexValue = 6
)

// DataMatches reports whether the loader will take its own data: whether the digest that
// it compares is theirs. One for Linux 7.3 leaves that to the kernel.
func (l *Loader) DataMatches() bool {
	hash, compares := l.comparedHash()
	if !compares {
		return true
	}
	sum := sha256.Sum256(padded(l.Data))
	return bytes.Equal(sum[:], hash)
}

// padded: an array's elements are multiples of 8 bytes long, and array_map_get_hash
// covers all of them.
func padded(data []byte) []byte {
	return append(bytes.Clone(data), make([]byte, -len(data)&7)...)
}
