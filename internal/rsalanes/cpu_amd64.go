package rsalanes

import "golang.org/x/sys/cpu"

// Best is the best Instructions that the processor has, and whose registers the operating
// system saves.
func Best() Instructions {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512IFMA:
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
	c.multiply = func(m *modulus, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &m.vectors[0], &m.n0[0])
	}
	c.square = func(m *modulus, out, a []uint64) {
		const blocks = 10 // of squares8: limbs that half counts
		squares8(&m.room[0], &a[0], c.vectors/blocks-1)
		reduce(&out[0], &m.room[0], &m.vectors[0], &m.n0[0])
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
	switch octets {
	case 1024 / 8:
		return overLanes(4, 5, pair8x5, gather8x5)
	case 1536 / 8:
		return overLanes(4, 8, pair8x8, gather8x8)
	}
	return overLanes(4, 10, pair8x10, gather8x10)
}

// codeForSingle is for a modulus of at most maxSingle bits.
func codeForSingle(bits int) code {
	switch {
	case bits <= 8*5*52-2:
		return overLanes(8, 5, single8x5, nil)
	case bits <= 8*8*52-2:
		return overLanes(8, 8, single8x8, nil)
	}
	return overLanes(8, 10, single8x10, nil)
}

func overLanes(parts, vectors int, product func(out, a, b, n, n0 *uint64), gather func(out, table, index *uint64)) code {
	c := code{radix: 52, count: 8, parts: parts, vectors: vectors, digits: parts * vectors, gather: gather}
	c.multiply = func(m *modulus, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &m.vectors[0], &m.n0[0])
	}
	c.square = func(m *modulus, out, a []uint64) { c.multiply(m, out, a, a) }
	return c
}

func spread28(octets int) code {
	c := code{radix: 28, count: 4, parts: 2}
	var product func(out, a, b, n, n0, room *uint64)
	switch octets {
	case 1024 / 8:
		c.vectors, product, c.gather = 19, pair4x19, gather4x19
	case 1536 / 8:
		c.vectors, product, c.gather = 28, pair4x28, gather4x28
	default:
		c.vectors, product, c.gather = 37, pair4x37, gather4x37
	}
	const atOnce = 4 // digits, of gen
	c.digits = (c.limbs() + atOnce - 1) / atOnce * atOnce
	c.room = c.vectors + 2*atOnce + c.digits
	c.multiply = func(m *modulus, out, a, b []uint64) {
		product(&out[0], &a[0], &b[0], &m.vectors[0], &m.n0[0], &m.room[0])
	}
	c.square = func(m *modulus, out, a []uint64) { c.multiply(m, out, a, a) }
	return c
}
