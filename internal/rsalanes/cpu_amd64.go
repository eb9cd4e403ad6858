package rsalanes

import "golang.org/x/sys/cpu"

// Best is the best Instructions that the processor has, and whose registers the operating
// system saves.
func Best() Instructions {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512IFMA:
		return IFMA
	case cpu.X86.HasAVX2:
		return AVX2
	}
	return None
}

// codeForFour is the vertical layout of gen, for primes of so many octets.
func codeForFour(octets int) code {
	c := code{radix: 52, count: 8, parts: 1}
	var product func(out, a, b, n, n0 *uint64)
	var reduce func(out, wide, n, n0 *uint64)
	switch octets {
	case 1024 / 8:
		c.vectors, product, reduce, c.gather = 20, amm8x20, reduce8x20, gather8x20
	case 1536 / 8:
		c.vectors, product, reduce, c.gather = 30, amm8x30, reduce8x30, gather8x30
	default:
		c.vectors, product, reduce, c.gather = 40, amm8x40, reduce8x40, gather8x40
	}
	c.digits, c.room = c.limbs(), 2*c.limbs()
	c.multiply = func(v *lanes, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &v.modulus[0], &v.n0[0])
	}
	c.square = func(v *lanes, out, a []uint64) {
		const blocks = 10 // of squares8: limbs that half counts
		squares8(&v.room[0], &a[0], v.vectors/blocks-1)
		reduce(&out[0], &v.room[0], &v.modulus[0], &v.n0[0])
	}
	return c
}

// codeForOne is the spread layout of gen.
func codeForOne(instructions Instructions, octets int) code {
	if instructions == IFMA {
		return spread52(octets)
	}
	return spread28(octets)
}

func spread52(octets int) code {
	c := code{radix: 52, count: 8, parts: 4}
	var product func(out, a, b, n, n0 *uint64)
	switch octets {
	case 1024 / 8:
		c.vectors, product, c.gather = 5, spread8x5, gather8x5
	case 1536 / 8:
		c.vectors, product, c.gather = 8, spread8x8, gather8x8
	default:
		c.vectors, product, c.gather = 10, spread8x10, gather8x10
	}
	c.digits = c.limbs()
	c.multiply = func(v *lanes, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &v.modulus[0], &v.n0[0])
	}
	c.square = func(v *lanes, out, a []uint64) { c.multiply(v, out, a, a) }
	return c
}

func spread28(octets int) code {
	c := code{radix: 28, count: 4, parts: 2}
	var product func(out, a, b, n, n0, room *uint64)
	switch octets {
	case 1024 / 8:
		c.vectors, product, c.gather = 19, spread4x19, gather4x19
	case 1536 / 8:
		c.vectors, product, c.gather = 28, spread4x28, gather4x28
	default:
		c.vectors, product, c.gather = 37, spread4x37, gather4x37
	}
	const atOnce = 4 // digits, of gen
	c.digits = (c.limbs() + atOnce - 1) / atOnce * atOnce
	c.room = c.vectors + 2*atOnce + c.digits
	c.multiply = func(v *lanes, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &v.modulus[0], &v.n0[0], &v.room[0])
	}
	c.square = func(v *lanes, out, a []uint64) { c.multiply(v, out, a, a) }
	return c
}
