package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows is how many limbs of b are multiplied in one pass over a and n. Their products
// with a column need a window of rows+1 limbs of a and of n, which fits the registers.
const rows = 5

// amm is func(out, a, b, n, n0), for the vertical layout: out = a * b / 2^(52 limbs) modulo n. out is none of the
// others.
func amm(w width, limbs int) {
	TEXT(w.function("amm", limbs), NOSPLIT, "func(out, a, b, n, n0 *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies %s pairs of numbers of %d limbs: out = a * b / 2^%d modulo n.", w.function("amm", limbs), w.name, limbs, 52*limbs))
	t, a, b, n := Load(Param("out"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
	n0p := Load(Param("n0"), GP64())
	window := func(first int) func(int) reg.VecPhysical {
		return func(i int) reg.VecPhysical { return w.reg(first + i%(rows+1)) }
	}
	an, nn := window(0), window(rows+1) // limbs of a, and of n
	bn := func(r int) reg.VecPhysical { return w.reg(12 + r) }
	q := func(r int) reg.VecPhysical { return w.reg(17 + r) }
	n0, carry := w.reg(22), w.reg(31)
	// Each column has two sums, so that what waits for the last q does not make the
	// rest wait too.
	sums := func(c int) (sum, late reg.VecPhysical) { return w.reg(23 + c%4), w.reg(27 + c%4) }

	m := modulus{width: w, limbs: limbs, n: n, n0: n0, carry: carry, nn: nn, q: q}
	VMOVDQU64(w.limb(n0p, 0), n0)
	VPXORQ(carry, carry, carry)
	for i := range limbs {
		VMOVDQU64(carry, w.limb(t, i))
	}
	passes := GP64()
	MOVQ(U32(limbs/rows), passes)
	loop := w.function("rows", limbs)
	Label(loop)
	for r := range rows {
		VMOVDQU64(w.limb(b, r), bn(r))
	}
	for c := range limbs + rows {
		sum, late := sums(c)
		if c < limbs {
			VMOVDQU64(w.limb(a, c), an(c))
			VMOVDQU64(w.limb(t, c), sum)
		} else {
			VPXORQ(sum, sum, sum)
		}
		for r := range rows {
			product(an, bn(r), c-r, limbs, sum)
		}
		m.reduce(c, sum, late)
		if c >= rows {
			VMOVDQU64(sum, w.limb(t, c-rows))
		}
	}
	ADDQ(U32(rows*w.bytes), b)
	DECQ(passes)
	JNZ(LabelRef(loop))
	w.normalize(t, t, limbs)
	VZEROUPPER()
	RET()
}

// modulus is n on its way through the columns of a pass.
type modulus struct {
	width
	limbs     int
	n         reg.Register
	n0, carry reg.VecPhysical
	nn        func(int) reg.VecPhysical // a window of n
	q         func(int) reg.VecPhysical
}

// reduce adds n q to a column, and finds a q in each of the first.
func (m modulus) reduce(c int, sum, late reg.VecPhysical) {
	if c < m.limbs {
		VMOVDQU64(m.limb(m.n, c), m.nn(c))
	}
	for r := range min(rows, c) {
		if r == c-1 || c > rows {
			continue
		}
		product(m.nn, m.q(r), c-r, m.limbs, sum)
	}
	if c > 0 {
		VPXORQ(late, late, late)
		for r := range min(rows, c) {
			if r == c-1 || c > rows {
				product(m.nn, m.q(r), c-r, m.limbs, late)
			}
		}
		VPADDQ(late, sum, sum)
	}
	if 0 < c && c <= rows {
		VPADDQ(m.carry, sum, sum)
	}
	if c < rows {
		VPXORQ(m.q(c), m.q(c), m.q(c))
		VPMADD52LUQ(m.n0, sum, m.q(c))
		VPMADD52LUQ(m.nn(0), m.q(c), sum)
		VPSRLQ(U8(52), sum, m.carry)
	}
}

// normalize gets each limb back to 52 bits. What is over in the last one is nothing.
func (w width) normalize(from, to reg.Register, limbs int) {
	mask, sum, carry := w.reg(0), w.reg(1), w.reg(31)
	VPTERNLOGQ(U8(0xff), mask, mask, mask)
	VPSRLQ(U8(12), mask, mask)
	VPXORQ(carry, carry, carry)
	for i := range limbs {
		VPADDQ(w.limb(from, i), carry, sum)
		VPSRLQ(U8(52), sum, carry)
		VPANDQ(mask, sum, sum)
		VMOVDQU64(sum, w.limb(to, i))
	}
}

// reduce is func(out, wide, n, n0): out = wide / 2^(52 limbs) modulo n, where wide has
// twice the limbs, without carries, and is used up.
func reduce(w width, limbs int) {
	TEXT(w.function("reduce", limbs), NOSPLIT, "func(out, wide, n, n0 *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s reduces %s numbers of %d columns: out = wide / 2^%d modulo n. wide is used up.", w.function("reduce", limbs), w.name, 2*limbs, 52*limbs))
	out, wide, n, n0p := Load(Param("out"), GP64()), Load(Param("wide"), GP64()), Load(Param("n"), GP64()), Load(Param("n0"), GP64())
	m := modulus{width: w, limbs: limbs, n: n, n0: w.reg(22), carry: w.reg(31),
		nn: func(i int) reg.VecPhysical { return w.reg(i % (rows + 1)) },
		q:  func(r int) reg.VecPhysical { return w.reg(17 + r) }}
	VMOVDQU64(w.limb(n0p, 0), m.n0)
	passes := GP64()
	MOVQ(U32(limbs/rows), passes)
	loop := w.function("columns", limbs)
	Label(loop)
	for c := range limbs + rows {
		sum, late := w.reg(23+c%4), w.reg(27+c%4)
		VMOVDQU64(w.limb(wide, c), sum)
		m.reduce(c, sum, late)
		if c >= rows {
			VMOVDQU64(sum, w.limb(wide, c))
		}
	}
	ADDQ(U32(rows*w.bytes), wide)
	DECQ(passes)
	JNZ(LabelRef(loop))
	w.normalize(wide, out, limbs)
	VZEROUPPER()
	RET()
}

// squares is func(wide, a, half): the columns of a * a, without carries. a has 2 half + 2
// blocks of limbs, at least four.
//
// All products of different limbs are added up first, tile by tile of 5 x 5 limbs, and
// doubled; then come the squares of the limbs. What the head of main.go says of a lane of t is
// true here too: a product that counts twice is added once and doubled.
//
//	        a0…4    a5…9   a10…14
//	a0…4   [diag. ][tile 1][tile 2 …        tile I+J is added to columns 5(I+J) and up
//	a5…9           [diag. ][tile 3 …
//
// It goes from step to step: step s finishes columns 5s and up, with all tiles I < J of
// I + J = s, and the diagonal one if s is even. Their number grows by one every other step
// as long as J fits, and then shrinks; first is the lowest I of a step, and last its J.
func squares(w width) {
	TEXT("squares"+w.name, NOSPLIT, "func(wide, a *uint64, half int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("squares%s writes the columns of a * a, of %s numbers of 10 half + 10 limbs, without carries.", w.name, w.name))
	wide, first, half := Load(Param("wide"), GP64()), Load(Param("a"), GP64()), Load(Param("half"), GP64())
	q := squaring{width: w, wide: wide, first: first, last: GP64(), i: GP64(), j: GP64(), count: GP64()}
	block := U32(rows * w.bytes)

	tiles := GP64()
	MOVQ(first, q.last)
	MOVQ(first, q.i)
	q.begin(true)
	q.finishEven()
	ADDQ(block, q.last)
	MOVQ(U32(1), tiles)
	q.begin(false)
	q.tiles("first", tiles)
	q.finishOdd()

	growing := "growing" + w.name
	Label(growing)
	ADDQ(block, q.last)
	q.begin(false)
	q.tiles(growing+"even", tiles)
	q.finishEven()
	ADDQ(block, q.last)
	ADDQ(U32(1), tiles)
	q.begin(false)
	q.tiles(growing+"odd", tiles)
	q.finishOdd()
	DECQ(half)
	JNZ(LabelRef(growing))

	DECQ(tiles)
	shrinking := "shrinking" + w.name
	Label(shrinking)
	ADDQ(block, q.first)
	q.begin(false)
	q.tiles(shrinking+"even", tiles)
	q.finishEven()
	ADDQ(block, q.first)
	q.begin(false)
	q.tiles(shrinking+"odd", tiles)
	q.finishOdd()
	DECQ(tiles)
	JNZ(LabelRef(shrinking))

	q.begin(false)
	q.finishEven()
	ADDQ(block, q.i)
	q.begin(false)
	q.finishOdd()
	VZEROUPPER()
	RET()
}

// squaring is where function squares is.
type squaring struct {
	width
	wide, first, last reg.Register
	i, j, count       reg.Register // the blocks of a tile, and how many tiles are left
}

func (q squaring) x(r int) reg.VecPhysical    { return q.reg(r) }
func (q squaring) y(r int) reg.VecPhysical    { return q.reg(rows + r) }
func (q squaring) low(c int) reg.VecPhysical  { return q.reg(10 + c) } // the low halves of products, 0 to 8
func (q squaring) high(c int) reg.VecPhysical { return q.reg(18 + c) } // the high halves, 1 to 9

func (q squaring) load(to func(int) reg.VecPhysical, from reg.Register, block int) {
	for r := range rows {
		VMOVDQU64(q.limb(from, block*rows+r), to(r))
	}
}

// begin takes over what the step before has left for this one's columns.
func (q squaring) begin(nothing bool) {
	for c := range 2*rows - 1 {
		switch {
		case nothing || c >= rows:
			VPXORQ(q.low(c), q.low(c), q.low(c))
		case c == rows-1:
			VMOVDQU64(q.high(c+rows), q.low(c))
		default:
			VPADDQ(q.low(c+rows), q.high(c+rows), q.low(c))
		}
	}
	for c := 1; c < 2*rows; c++ {
		VPXORQ(q.high(c), q.high(c), q.high(c))
	}
}

// tiles adds so many tiles, and leaves i at the block behind the last one's.
func (q squaring) tiles(label string, number reg.Register) {
	MOVQ(q.first, q.i)
	MOVQ(q.last, q.j)
	MOVQ(number, q.count)
	Label(label)
	q.load(q.x, q.i, 0)
	q.load(q.y, q.j, 0)
	for u := range rows {
		for r := range rows {
			VPMADD52LUQ(q.x(r), q.y(u), q.low(r+u))
		}
		for r := range rows {
			VPMADD52HUQ(q.x(r), q.y(u), q.high(r+u+1))
		}
	}
	ADDQ(U32(rows*q.bytes), q.i)
	SUBQ(U32(rows*q.bytes), q.j)
	DECQ(q.count)
	JNZ(LabelRef(label))
}

// finishEven adds the diagonal tile, of block i, and writes five columns.
func (q squaring) finishEven() {
	q.load(q.x, q.i, 0)
	for u := range rows {
		for r := range u {
			VPMADD52LUQ(q.x(r), q.x(u), q.low(r+u))
			VPMADD52HUQ(q.x(r), q.x(u), q.high(r+u+1))
		}
	}
	q.finish(0)
}

// finishOdd writes the other columns of that tile's squares: i is one block ahead.
func (q squaring) finishOdd() {
	q.load(q.x, q.i, -1)
	q.finish(rows)
}

func (q squaring) finish(offset int) {
	for c := range rows {
		if c > 0 {
			VPADDQ(q.high(c), q.low(c), q.low(c))
		}
		VPADDQ(q.low(c), q.low(c), q.low(c))
		limb := q.x((c + offset) / 2)
		if (c+offset)%2 == 0 {
			VPMADD52LUQ(limb, limb, q.low(c))
		} else {
			VPMADD52HUQ(limb, limb, q.low(c))
		}
		VMOVDQU64(q.low(c), q.limb(q.wide, c))
	}
	ADDQ(U32(rows*q.bytes), q.wide)
}

// product adds to a column the low half of x[j] y and the high half of x[j-1] y.
func product(x func(int) reg.VecPhysical, y reg.VecPhysical, j, limbs int, sum reg.VecPhysical) {
	if 0 <= j && j < limbs {
		VPMADD52LUQ(x(j), y, sum)
	}
	if 0 <= j-1 && j-1 < limbs {
		VPMADD52HUQ(x(j-1), y, sum)
	}
}
