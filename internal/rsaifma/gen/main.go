// Command gen writes the assembly of package rsaifma, and its Go declarations.
//
//	go run . -out ../amm_amd64.s -stubs ../stubs_amd64.go -pkg rsaifma
//
// Numbers have radix 2^52: limb j of a number is in the low 52 bits of a quadword. Lanes
// are vertical, so that nothing is ever moved between them: a vector holds one limb of
// several numbers.
//
//	          lane 0   lane 1   lane 2 …
//	limb 0   [a0.0    a1.0     a2.0    …]   one ZMM: eight lanes (four signatures, {p, q})
//	limb 1   [a0.1    a1.1     a2.1    …]   one YMM: four lanes (one or two signatures)
//	…
//
// amm multiplies lane by lane, each modulo its own odd modulus (almost Montgomery
// multiplication: the result is below 2^(52 limbs) and not fully reduced). For each limb
// b[i], the products with all limbs of a are added to an accumulator, and then as many
// times the modulus as makes its lowest limb zero:
//
//	t   += a * b[i]
//	q    = t[0] * n0 mod 2^52        n0 is -1/n mod 2^52
//	t   += n * q
//	t    = t / 2^52
//
// VPMADD52LUQ and VPMADD52HUQ add the low and the high half of a product of 52-bit
// limbs to a 64-bit lane. A lane of t takes up to 4 halves for each of at most 40 values
// of i, and a carry: it stays below 2^52 * 161 < 2^60 and needs no carries before the end.
//
// All memory is addressed by pointers and counters that are the same whatever the
// numbers are; there is no branch but that of the loops, which count limbs and entries.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// width is a size of vectors: the register with a number, and its bytes.
type width struct {
	name  string
	bytes int
	reg   func(int) reg.VecPhysical
}

func zmm(i int) reg.VecPhysical {
	return []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}[i]
}

func ymm(i int) reg.VecPhysical {
	return []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
		reg.Y16, reg.Y17, reg.Y18, reg.Y19, reg.Y20, reg.Y21, reg.Y22, reg.Y23, reg.Y24, reg.Y25, reg.Y26, reg.Y27, reg.Y28, reg.Y29, reg.Y30, reg.Y31}[i]
}

// rows is how many limbs of b are multiplied in one pass over a and n. Their products
// with a column need a window of rows+1 limbs of a and of n, which fits the registers.
const rows = 5

// name is that of a function in package rsaifma, for instance amm8x40.
func (w width) function(what string, limbs int) string {
	return fmt.Sprintf("%s%sx%d", what, w.name, limbs)
}

// limb is a limb of a number in memory.
func (w width) limb(base reg.Register, i int) Mem { return Mem{Base: base, Disp: i * w.bytes} }

// amm is func(out, a, b, n, n0): out = a * b / 2^(52 limbs) modulo n. out is none of the
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
			VMOVDQU64(w.limb(n, c), nn(c))
			VMOVDQU64(w.limb(t, c), sum)
		} else {
			VPXORQ(sum, sum, sum)
		}
		for r := range rows {
			product(an, bn(r), c-r, limbs, sum)
		}
		for r := range min(rows, c) {
			if r == c-1 || c > rows {
				continue
			}
			product(nn, q(r), c-r, limbs, sum)
		}
		if c > 0 {
			VPXORQ(late, late, late)
			for r := range min(rows, c) {
				if r == c-1 || c > rows {
					product(nn, q(r), c-r, limbs, late)
				}
			}
			VPADDQ(late, sum, sum)
		}
		if 0 < c && c <= rows {
			VPADDQ(carry, sum, sum)
		}
		if c >= rows {
			VMOVDQU64(sum, w.limb(t, c-rows))
			continue
		}
		VPXORQ(q(c), q(c), q(c))
		VPMADD52LUQ(n0, sum, q(c))
		VPMADD52LUQ(nn(0), q(c), sum)
		VPSRLQ(U8(52), sum, carry)
	}
	ADDQ(U32(rows*w.bytes), b)
	DECQ(passes)
	JNZ(LabelRef(loop))

	// Each limb gets back to 52 bits. What is over in the last one is nothing.
	mask, sum := w.reg(0), w.reg(1)
	VPTERNLOGQ(U8(0xff), mask, mask, mask)
	VPSRLQ(U8(12), mask, mask)
	VPXORQ(carry, carry, carry)
	for i := range limbs {
		VPADDQ(w.limb(t, i), carry, sum)
		VPSRLQ(U8(52), sum, carry)
		VPANDQ(mask, sum, sum)
		VMOVDQU64(sum, w.limb(t, i))
	}
	VZEROUPPER()
	RET()
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

// entries is how many powers the table has: windows of five bits.
const entries = 32

// gather is func(out, table, index): each lane takes its entry of the table. Every entry
// is read, and those of other lanes are masked out, so that no address depends on an index.
func gather(w width, limbs int) {
	TEXT(w.function("gather", limbs), NOSPLIT, "func(out, table, index *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s selects %s numbers of %d limbs, lane by lane.", w.function("gather", limbs), w.name, limbs))
	out, table := Load(Param("out"), GP64()), Load(Param("table"), GP64())
	index := Load(Param("index"), GP64())
	wanted, entry, minusOne := w.reg(29), w.reg(30), w.reg(31)
	VMOVDQU64(w.limb(index, 0), wanted)
	VPTERNLOGQ(U8(0xff), minusOne, minusOne, minusOne)
	at, count := GP64(), GP64()
	const most = 20 // limbs in registers
	for first := 0; first < limbs; first += most {
		part := min(most, limbs-first)
		for i := range part {
			VPXORQ(w.reg(i), w.reg(i), w.reg(i))
		}
		VPXORQ(entry, entry, entry)
		MOVQ(table, at)
		MOVQ(U32(entries), count)
		loop := fmt.Sprintf("%s_%d", w.function("entries", limbs), first)
		Label(loop)
		VPCMPEQQ(entry, wanted, reg.K1)
		for i := range part {
			VMOVDQU64(w.limb(at, first+i), reg.K1, w.reg(i))
		}
		VPSUBQ(minusOne, entry, entry)
		ADDQ(U32(limbs*w.bytes), at)
		DECQ(count)
		JNZ(LabelRef(loop))
		for i := range part {
			VMOVDQU64(w.reg(i), w.limb(out, first+i))
		}
	}
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64")
	for _, w := range []width{{"8", 64, zmm}, {"4", 32, ymm}} {
		for _, limbs := range []int{20, 30, 40} {
			amm(w, limbs)
			gather(w, limbs)
		}
	}
	Generate()
}
