package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// words is a constant of a function: quadwords in memory.
func words(name string, values ...uint64) Mem {
	at := GLOBL(name, RODATA|NOPTR)
	for i, v := range values {
		DATA(8*i, U64(v))
	}
	return at
}

// spread52 is func(out, a, b, n, n0): out = a * b / 2^(52 limbs) modulo n, with AVX-512 IFMA,
// of two numbers that are spread over four lanes each (pair), or one over all eight (single).
// out may be a or b.
//
// a and t are in registers. t[0] of the lowest lane becomes zero, but for a carry; the same
// vector in the other lanes is what the lane below takes over at its top, so that dividing t
// by 2^52 is one permutation and new names for the registers.
func spread52(w width, vectors, parts int) {
	name := w.function(map[int]string{4: "pair", 8: "single"}[parts], vectors)
	TEXT(name, NOSPLIT, "func(out, a, b, n, n0 *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies numbers of %d limbs of 52 bits: out = a * b / 2^%d modulo n.", name, parts*vectors, 52*parts*vectors))
	out, a, b, n := Load(Param("out"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
	n0p := Load(Param("n0"), GP64())
	s := spreading{width: w, vectors: vectors, b: b, n: n,
		digits: []reg.VecPhysical{w.reg(20), w.reg(21)}, q: w.reg(22), n0: w.reg(23), over: w.reg(24), mask: w.reg(25),
		part: w.reg(26), lowest: w.reg(27), above: w.reg(28)}
	m := lanesOf(8, parts)
	mask := GP32()
	for _, k := range []struct {
		lanes uint32
		to    reg.OpmaskPhysical
	}{{m.isLowest, lowest}, {m.hasAbove, allButHighest}, {m.hasBelow, allButLowest}} {
		MOVL(U32(k.lanes), mask)
		KMOVW(mask, k.to)
	}
	first := words(name+"lowest", m.lowestOf...)
	VMOVDQU64(first, s.part)
	VMOVDQU64(first, s.lowest)
	VMOVDQU64(words(name+"above", m.above...), s.above)
	VMOVDQU64(w.limb(n0p, 0), s.n0)
	for i := range vectors {
		VMOVDQU64(w.limb(a, i), s.a(i))
		VPXORQ(s.t(i), s.t(i), s.t(i))
	}
	minusOne := s.mask
	VPTERNLOGQ(U8(0xff), minusOne, minusOne, minusOne)
	left := GP64()
	MOVQ(U32(parts), left)
	loop := name + "parts"
	Label(loop)
	for j := range vectors {
		s.digit(j)
	}
	VPSUBQ(minusOne, s.part, s.part)
	DECQ(left)
	JNZ(LabelRef(loop))
	below := s.above
	VMOVDQU64(words(name+"below", m.below...), below)
	s.carries(out, parts, below)
	VZEROUPPER()
	RET()
}

// The lanes of numbers that a mask leaves.
var lowest, allButHighest, allButLowest = reg.K1, reg.K2, reg.K3

// neighbours are, for each lane, others of its number, and whether there are any.
type neighbours struct {
	lowestOf, above, below       []uint64
	isLowest, hasAbove, hasBelow uint32
}

func lanesOf(count, parts int) (m neighbours) {
	for lane := range count {
		part := lane % parts
		m.lowestOf = append(m.lowestOf, uint64(lane-part))
		m.above = append(m.above, uint64(min(lane+1, count-1)))
		m.below = append(m.below, uint64(max(lane-1, 0)))
		bit := uint32(1) << lane
		if part == 0 {
			m.isLowest |= bit
		} else {
			m.hasBelow |= bit
		}
		if part < parts-1 {
			m.hasAbove |= bit
		}
	}
	return m
}

// spreading is function spread52's registers.
type spreading struct {
	width
	vectors             int
	b, n                reg.Register
	digits              []reg.VecPhysical // of b, in all lanes of a number: this one and the next
	q, n0, over, mask   reg.VecPhysical
	part, lowest, above reg.VecPhysical // lanes to take from
}

func (s spreading) t(i int) reg.VecPhysical { return s.reg(i % s.vectors) }
func (s spreading) a(i int) reg.VecPhysical { return s.reg(10 + i) }

// digit takes in the limb of b that is in vector j, of the lanes that part names. What the
// next q waits for goes first.
func (s spreading) digit(j int) {
	t := func(i int) reg.VecPhysical { return s.t(i + j) }
	digit, next := s.digits[j%2], s.digits[(j+1)%2]
	if j == 0 {
		VPERMQ(s.limb(s.b, 0), s.part, digit)
		VPMADD52LUQ(s.a(0), digit, t(0))
	}
	VPXORQ(s.q, s.q, s.q)
	VPMADD52LUQ(s.n0, t(0), s.q)
	VPERMQ(s.q, s.lowest, s.q)
	for i := 1; i < s.vectors; i++ {
		VPMADD52LUQ(s.a(i), digit, t(i))
	}
	for i := 1; i < s.vectors; i++ {
		VPMADD52HUQ(s.a(i-1), digit, t(i))
	}
	if j < s.vectors-1 {
		VPERMQ(s.limb(s.b, j+1), s.part, next)
		VPMADD52LUQ(s.a(0), next, t(1))
	}
	VPMADD52LUQ(s.limb(s.n, 0), s.q, t(0))
	VPMADD52LUQ(s.limb(s.n, 1), s.q, t(1))
	VPSRLQ_Z(U8(52), t(0), lowest, s.over)
	VPMADD52HUQ(s.limb(s.n, 0), s.q, t(1))
	VPERMQ_Z(t(0), s.above, allButHighest, t(0))
	VPADDQ(s.over, t(1), t(1))
	for i := 2; i < s.vectors; i++ {
		VPMADD52LUQ(s.limb(s.n, i), s.q, t(i))
		VPMADD52HUQ(s.limb(s.n, i-1), s.q, t(i))
	}
	VPMADD52HUQ(s.a(s.vectors-1), digit, t(s.vectors))
	VPMADD52HUQ(s.limb(s.n, s.vectors-1), s.q, t(s.vectors))
}

// carries gets each limb back to 52 bits: a carry may run through all lanes of a number.
// What is over in the highest is nothing.
func (s spreading) carries(out reg.Register, parts int, below reg.VecPhysical) {
	carry := s.over
	VPSRLQ(U8(12), s.mask, s.mask)
	VPXORQ(carry, carry, carry)
	for part := range parts {
		if part > 0 {
			VPERMQ_Z(carry, below, allButLowest, carry)
		}
		for i := range s.vectors {
			VPADDQ(carry, s.t(i), s.t(i))
			VPSRLQ(U8(52), s.t(i), carry)
			VPANDQ(s.mask, s.t(i), s.t(i))
		}
	}
	for i := range s.vectors {
		VMOVDQU64(s.t(i), s.limb(out, i))
	}
}

// digitsAtOnce is how many limbs of b function spread28 takes in one pass over a and n.
const digitsAtOnce = 4

// spread28 is func(out, a, b, n, n0, room): out = a * b / 2^(28 digits) modulo n, with
// AVX2, of two numbers that are spread over two lanes each; digits is the number of limbs,
// rounded up to what passes take. out may be a or b. Limbs of out are below 2^28 + 2^10.
//
// There are 16 registers, so t is in memory: room has t, of digitsAtOnce limbs more; what the
// heads of a pass leave; and the limbs of b, each in both lanes of its number.
//
// A pass adds the products of four digits with a, and then those of four q with n. The four
// q are found meanwhile, limb by limb, each waiting for the one before: that's the head,
// whose instructions are between those of the first sweep.
func spread28(w width, vectors int) {
	const parts = 2
	name := w.function("pair", vectors)
	digits := (parts*vectors + digitsAtOnce - 1) / digitsAtOnce * digitsAtOnce
	TEXT(name, NOSPLIT, "func(out, a, b, n, n0, room *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies numbers of %d limbs of 28 bits: out = a * b / 2^%d modulo n. room has %d vectors.",
		name, parts*vectors, 28*digits, vectors+2*digitsAtOnce+digits))
	out, a, b, n := Load(Param("out"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
	n0, room := Load(Param("n0"), GP64()), Load(Param("room"), GP64())
	const mask = 1<<28 - 1
	s := sweeps{width: w, vectors: vectors, a: a, n: n, n0: n0, room: room,
		mask: words(name+"mask", mask, mask, mask, mask), low: words(name+"low", 1<<64-1, 0, 1<<64-1, 0)}

	s.prepare(b, digits)
	digit, left := GP64(), GP64()
	LEAQ(s.digit(0), digit)
	MOVQ(U32(digits/digitsAtOnce), left)
	loop := name + "passes"
	Label(loop)
	for r := range digitsAtOnce {
		VMOVDQU(w.limb(digit, r), s.b(r))
	}
	s.first()
	s.second()
	ADDQ(U32(digitsAtOnce*w.bytes), digit)
	DECQ(left)
	JNZ(LabelRef(loop))
	s.carries(out)
	VZEROUPPER()
	RET()
}

// sweeps is where function spread28 is.
type sweeps struct {
	width
	vectors        int
	a, n, n0, room reg.Register
	mask, low      Mem // 28 bits; all bits of the lower lane
}

func (s sweeps) b(r int) reg.VecPhysical              { return s.reg(r) }
func (s sweeps) q(r int) reg.VecPhysical              { return s.reg(4 + r) }
func (s sweeps) sum(c int) reg.VecPhysical            { return s.reg(8 + c%4) } // of a column: four are under way
func (s sweeps) limbOfSweep() reg.VecPhysical         { return s.reg(12) }
func (s sweeps) product() reg.VecPhysical             { return s.reg(13) }
func (s sweeps) head() (sum, product reg.VecPhysical) { return s.reg(14), s.reg(15) }

func (s sweeps) t(c int) Mem     { return s.limb(s.room, c) }
func (s sweeps) left(c int) Mem  { return s.limb(s.room, s.vectors+digitsAtOnce+c) }
func (s sweeps) digit(i int) Mem { return s.limb(s.room, s.vectors+2*digitsAtOnce+i) }

// add adds x y to a sum.
func add(x Op, y, sum, product reg.VecPhysical) {
	VPMULUDQ(x, y, product)
	VPADDQ(product, sum, sum)
}

// Permutations of the doublewords of two lanes.
const (
	lowerInBoth = 0b01_00_01_00
	upperInBoth = 0b11_10_11_10
)

// prepare makes t zero, and spreads the limbs of b; digits it does not have are zero.
func (s sweeps) prepare(b reg.Register, digits int) {
	zero, digit := s.reg(0), s.reg(1)
	VPXOR(zero, zero, zero)
	for i := range s.vectors {
		VMOVDQU(zero, s.t(i))
		VPSHUFD(U8(lowerInBoth), s.limb(b, i), digit)
		VMOVDQU(digit, s.digit(i))
		VPSHUFD(U8(upperInBoth), s.limb(b, i), digit)
		VMOVDQU(digit, s.digit(s.vectors+i))
	}
	for i := 2 * s.vectors; i < digits; i++ {
		VMOVDQU(zero, s.digit(i))
	}
}

// first adds a times the digits, and finds every q.
func (s sweeps) first() {
	x, head := s.limbOfSweep(), s.heads()
	for c := range digitsAtOnce - 1 {
		VMOVDQU(s.t(c), s.sum(c))
	}
	for i := range s.vectors {
		VMOVDQU(s.limb(s.a, i), x)
		if top := i + digitsAtOnce - 1; top < s.vectors {
			VMOVDQU(s.t(top), s.sum(top))
		} else {
			VPXOR(s.sum(top), s.sum(top), s.sum(top))
		}
		for r := range digitsAtOnce {
			add(x, s.b(r), s.sum(i+r), s.product())
		}
		VMOVDQU(s.sum(i), s.t(i))
		for range 3 {
			if i >= digitsAtOnce && len(head) > 0 {
				head[0]()
				head = head[1:]
			}
		}
	}
	for _, instruction := range head {
		instruction()
	}
	for c := s.vectors; c < s.vectors+digitsAtOnce-1; c++ {
		VMOVDQU(s.sum(c), s.t(c))
	}
}

// heads is the instructions that make the lower lane's first limbs of t zero, one after the
// other, and keep what the upper lane has there, which is the lower's at its top.
func (s sweeps) heads() (all []func()) {
	do := func(f func()) { all = append(all, f) }
	sum, product := s.head()
	for c := range digitsAtOnce {
		if c == 0 {
			do(func() { VMOVDQU(s.t(0), sum) })
		} else {
			do(func() { VPADDQ(s.t(c), sum, sum) })
		}
		for r := range c {
			do(func() { add(s.limb(s.n, c-r), s.q(r), sum, product) })
		}
		do(func() { VPMULUDQ(s.limb(s.n0, 0), sum, s.q(c)) })
		do(func() { VPAND(s.mask, s.q(c), s.q(c)) })
		do(func() { VPSHUFD(U8(lowerInBoth), s.q(c), s.q(c)) })
		do(func() { add(s.limb(s.n, 0), s.q(c), sum, product) })
		do(func() { VPSRLDQ(U8(8), sum, product) })
		do(func() { VMOVDQU(product, s.left(c)) })
		do(func() { VPSRLQ(U8(28), sum, sum) })
		do(func() { VPAND(s.low, sum, sum) })
	}
	do(func() { VPADDQ(s.t(digitsAtOnce), sum, sum) })
	do(func() { VMOVDQU(sum, s.t(digitsAtOnce)) })
	return all
}

// second adds n times every q, and divides t by 2^(28 digitsAtOnce).
func (s sweeps) second() {
	x := s.limbOfSweep()
	for c := digitsAtOnce; c < 2*digitsAtOnce-1; c++ {
		VMOVDQU(s.t(c), s.sum(c))
		for r := c - digitsAtOnce + 1; r < digitsAtOnce; r++ {
			add(s.limb(s.n, c-r), s.q(r), s.sum(c), s.product())
		}
	}
	for i := digitsAtOnce; i < s.vectors; i++ {
		VMOVDQU(s.limb(s.n, i), x)
		top := i + digitsAtOnce - 1
		VMOVDQU(s.t(top), s.sum(top))
		if top >= s.vectors {
			VPADDQ(s.left(top-s.vectors), s.sum(top), s.sum(top))
		}
		for r := range digitsAtOnce {
			add(x, s.q(r), s.sum(i+r), s.product())
		}
		VMOVDQU(s.sum(i), s.t(i-digitsAtOnce))
	}
	top := s.vectors + digitsAtOnce - 1
	VMOVDQU(s.left(digitsAtOnce-1), s.sum(top))
	for c := s.vectors; c <= top; c++ {
		VMOVDQU(s.sum(c), s.t(c-digitsAtOnce))
	}
}

// carries gets each limb back to 28 bits, or a little more: what is over in the lower lane's
// last limb, 36 bits at most, is added to the upper's first two.
func (s sweeps) carries(out reg.Register) {
	sum, carry, mask := s.sum(0), s.reg(0), s.reg(1)
	VMOVDQU(s.mask, mask)
	reduced := func(i int, limb Mem) {
		VPADDQ(limb, carry, sum)
		VPSRLQ(U8(28), sum, carry)
		VPAND(mask, sum, sum)
		VMOVDQU(sum, s.limb(out, i))
	}
	VPXOR(carry, carry, carry)
	for i := range s.vectors {
		reduced(i, s.t(i))
	}
	VPSLLDQ(U8(8), carry, carry)
	reduced(0, s.limb(out, 0))
	VPADDQ(s.limb(out, 1), carry, carry)
	VMOVDQU(carry, s.limb(out, 1))
}
