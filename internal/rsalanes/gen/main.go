// Command gen writes the assembly of package rsalanes, and its Go declarations.
//
//	go run . -out ../amm_amd64.s -stubs ../stubs_amd64.go -pkg rsalanes
//
// A vector has eight lanes of 64 bits (a ZMM register) or four (a YMM register), and a
// number is made of limbs, each in a lane. There are two layouts.
//
// Vertical, for four signatures: limb j of all numbers is in vector j. Nothing is ever
// moved between lanes.
//
//	           lane 0   lane 1   lane 2 …
//	vector 0  [a0.0    a1.0     a2.0    …]   eight numbers (four signatures, {p, q})
//	vector 1  [a0.1    a1.1     a2.1    …]   of as many limbs as vectors
//
// Spread, for one signature: a number's limbs are spread over several lanes, so that all
// work for the pair of numbers of one signature (p, q), or for the single one of the public
// operation.
//
//	           lane 0   lane 1   lane 2   lane 3   lane 4 …
//	vector 0  [p.0     p.10     p.20     p.30     q.0    …]   8 lanes, 10 vectors: 40 limbs
//	vector 1  [p.1     p.11     p.21     p.31     q.1    …]
//
// The product in both is almost Montgomery multiplication, each number modulo its own odd
// modulus n. For each limb b[i] the products with all limbs of a are added to an accumulator,
// and then as many times the modulus as makes its lowest limb zero:
//
//	t   += a * b[i]
//	q    = t[0] * n0 mod 2^radix      n0 is -1/n mod 2^radix
//	t   += n * q
//	t    = t / 2^radix
//
// The result is not fully reduced: it is below 2 n if a and b are.
//
// AVX-512 IFMA has limbs of 52 bits. VPMADD52LUQ and VPMADD52HUQ add the low and the high
// half of a product of two limbs to a lane. A lane of t takes up to 4 halves for each of at
// most 80 values of i, and a carry: it stays below 2^52 * 321 < 2^61 and needs no carries
// before the end. AVX2 has limbs of 28 bits, whose products VPMULUDQ makes. A lane of t takes
// two of them for each of at most 76 values of i: it stays below 2^64 as long as limbs
// are below 2^28 + 2^10.
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

// name is that of a function in package rsalanes, for instance amm8x40.
func (w width) function(what string, limbs int) string {
	return fmt.Sprintf("%s%sx%d", what, w.name, limbs)
}

// limb is a limb of a number in memory.
func (w width) limb(base reg.Register, i int) Mem { return Mem{Base: base, Disp: i * w.bytes} }

func main() {
	ConstraintExpr("amd64")
	eight, four := width{"8", 64, zmm}, width{"4", 32, ymm}
	for _, limbs := range []int{20, 30, 40} {
		amm(eight, limbs)
		reduce(eight, limbs)
		gather(eight, limbs)
	}
	squares(eight)
	for _, vectors := range []int{5, 8, 10} {
		spread52(eight, vectors, 4)
		gather(eight, vectors)
		spread52(eight, vectors, 8)
	}
	for _, vectors := range []int{19, 28, 37} {
		spread28(four, vectors)
		gatherAVX2(four, vectors)
	}
	Generate()
}
