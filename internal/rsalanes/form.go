package rsalanes

import "filippo.io/bigmod"

// code is functions that compute with vectors, and how these have numbers in them.
type code struct {
	radix   int // bits of a limb
	count   int // lanes of a vector
	parts   int // lanes of a number
	vectors int // of a number, which has as many limbs in each of its lanes
	digits  int // R is 2^(radix digits)
	room    int // vectors that multiply and square use

	// All are modulo n, and out is none of the others but where a function says so.
	multiply func(m *modulus, out, a, b []uint64) // out = a b / R
	square   func(m *modulus, out, a []uint64)    // out = a a / R
	gather   func(out, table, index *uint64)      // an entry of the table for each lane
}

// modulus is what products are reduced by.
type modulus struct {
	vectors []uint64
	n0      []uint64 // -1/n modulo 2^radix, in each lane
	room    []uint64 // for products
}

// limbs is how many a number has.
func (c *code) limbs() int { return c.parts * c.vectors }

// at is where a limb of a number is.
func (c *code) at(number, limb int) int {
	return limb%c.vectors*c.count + number*c.parts + limb/c.vectors
}

// form is a key as some code has it.
type form struct {
	code
	primes [2]prime // p, q
}

// prime is what a number's lanes need of p or q, in limbs.
type prime struct {
	modulus []uint64
	one     []uint64 // R modulo the prime
	low     []uint64 // R R, and B R R, where B is what number the limbs just have no room for:
	high    []uint64 // they turn the lower and the upper half of a block into Montgomery's form
	n0      uint64   // -1/prime modulo 2^radix
}

func (k *Key) form(c code) *form {
	return &form{c, [2]prime{c.prime(k.p, k.octets[0]), c.prime(k.q, k.octets[1])}}
}

func (c *code) prime(m *bigmod.Modulus, octets []byte) prime {
	// Powers of two, by doubling the highest below the modulus.
	top := make([]byte, len(octets))
	top[0] = 0x80
	power, err := bigmod.NewNat().SetBytes(top, m)
	if err != nil {
		panic(err) // m has its highest bit set
	}
	exponent := 8*len(octets) - 1
	double := func(to int) *bigmod.Nat {
		for ; exponent < to; exponent++ {
			power.Add(power, m)
		}
		return bigmod.NewNat().ExpandFor(m).Add(power, m)
	}
	b := double(c.radix * c.limbs())
	r := double(c.radix * c.digits)
	low := bigmod.NewNat().ExpandFor(m).Add(r, m)
	low.Mul(r, m)
	high := b.Mul(low, m)
	limbs := func(x *bigmod.Nat) []uint64 { return c.toLimbs(x.Bytes(m), c.limbs()) }
	return prime{
		modulus: c.toLimbs(octets, c.limbs()), one: limbs(r), low: limbs(low), high: limbs(high),
		n0: c.negativeInverse(m.Nat().Bits()[0]),
	}
}

func (c *code) mask() uint64 { return 1<<c.radix - 1 }

// negativeInverse is -1/n modulo 2^radix, by Newton's iteration, which doubles the number of
// right bits each time.
func (c *code) negativeInverse(n uint) uint64 {
	inverse := uint64(n) // three bits
	for range 5 {
		inverse *= 2 - uint64(n)*inverse
	}
	return -inverse & c.mask()
}

// toLimbs turns big endian octets into limbs, the lowest first, and drops what these have no
// room for.
func (c *code) toLimbs(octets []byte, limbs int) []uint64 {
	out := make([]uint64, limbs+1)
	limb, shift := 0, 0
	for i := len(octets) - 1; i >= 0 && limb < limbs; i-- {
		out[limb] |= uint64(octets[i]) << shift & c.mask()
		if shift += 8; shift >= c.radix {
			shift -= c.radix
			limb++
			out[limb] = uint64(octets[i]) >> (8 - shift)
		}
	}
	return out[:limbs]
}

// fromLimbs reverses toLimbs. It takes limbs without carries.
func (c *code) fromLimbs(limbs []uint64, size int) []byte {
	out := make([]byte, size)
	var carry uint64
	bits, next := 0, 0 // of carry
	for i := size - 1; i >= 0; i-- {
		if bits < 8 && next < len(limbs) {
			carry += limbs[next] << bits
			bits += c.radix
			next++
		}
		out[i] = byte(carry)
		carry >>= 8
		bits -= 8
	}
	return out
}
