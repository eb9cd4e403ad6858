package rsalanes

import "unsafe"

// lanes are numbers in vectors, limb by limb: signature i has its work modulo p in lane
// 2i and modulo q in lane 2i+1. Lanes that no signature needs repeat the first one's.
type lanes struct {
	key   *Key
	count int // 4 or 8
	code  code

	modulus, n0, one, r2, r3 []uint64
	low, high                []uint64 // the blocks, below and above R
	x, y, chosen             []uint64
	wide                     []uint64 // for squares
	table                    []uint64
	index                    []uint64
}

// code is the functions for a number of lanes and of limbs.
type code struct {
	amm     func(out, a, b, n, n0 *uint64)
	squares func(wide, a *uint64, half int)
	reduce  func(out, wide, n, n0 *uint64)
	gather  func(out, table, index *uint64)
}

const tableSize = 1 << windowBits

func newLanes(k *Key, signatures int) *lanes {
	v := &lanes{key: k, count: 4}
	if signatures > 2 {
		v.count = 8
	}
	v.code = codeFor(v.count, k.limbs)
	size := k.limbs * v.count
	parts := []*[]uint64{&v.modulus, &v.one, &v.r2, &v.r3, &v.low, &v.high, &v.x, &v.y, &v.chosen}
	all := aligned((len(parts)+2+tableSize)*size + 2*v.count)
	take := func(n int) (part []uint64) {
		part, all = all[:n:n], all[n:]
		return part
	}
	for _, part := range parts {
		*part = take(size)
	}
	v.wide = take(2 * size)
	v.table = take(tableSize * size)
	v.n0, v.index = take(v.count), take(v.count)
	for lane := range v.count {
		p := &k.primes[lane%2]
		v.set(v.modulus, lane, p.modulus)
		v.set(v.one, lane, p.one)
		v.set(v.r2, lane, p.r2)
		v.set(v.r3, lane, p.r3)
		v.n0[lane] = p.n0
	}
	return v
}

// aligned makes room that begins at a cache line.
func aligned(n int) []uint64 {
	const line = 8
	room := make([]uint64, n+line)
	skip := (line - int(uintptr(unsafe.Pointer(&room[0]))/8)%line) % line
	return room[skip : skip+n]
}

func (v *lanes) set(vector []uint64, lane int, limbs []uint64) {
	for i, limb := range limbs {
		vector[i*v.count+lane] = limb
	}
}

// clear wipes what is secret.
func (v *lanes) clear() {
	for _, part := range [][]uint64{v.modulus, v.one, v.r2, v.r3, v.low, v.high, v.x, v.y, v.chosen, v.wide, v.table, v.n0, v.index} {
		clear(part)
	}
}

func (v *lanes) multiply(out, a, b []uint64) {
	v.code.amm(&out[0], &a[0], &b[0], &v.modulus[0], &v.n0[0])
}

func (v *lanes) square(out, a []uint64) {
	v.code.squares(&v.wide[0], &a[0], v.key.limbs/(2*rows)-1)
	v.code.reduce(&out[0], &v.wide[0], &v.modulus[0], &v.n0[0])
}

// load puts blocks into the lanes, in two parts: block = high R + low.
func (v *lanes) load(blocks [][]byte) {
	limbs := v.key.limbs
	for lane := range v.count {
		block := blocks[0]
		if lane/2 < len(blocks) {
			block = blocks[lane/2]
		}
		all := toLimbs(block, 2*limbs)
		v.set(v.low, lane, all[:limbs])
		v.set(v.high, lane, all[limbs:])
	}
}

// power raises the blocks to the exponents of their lanes, into x.
func (v *lanes) power() {
	size := v.key.limbs * v.count
	entry := func(i int) []uint64 { return v.table[i*size : (i+1)*size] }
	// block R = high R^3 / R + low R^2 / R
	v.multiply(v.x, v.low, v.r2)
	v.multiply(v.y, v.high, v.r3)
	v.add(entry(1), v.x, v.y)
	copy(entry(0), v.one)
	for i := 2; i < tableSize; i += 2 {
		v.square(entry(i), entry(i/2))
		v.multiply(entry(i+1), entry(i), entry(1))
	}
	for w := range v.key.primes[0].exponent {
		for lane := range v.count {
			v.index[lane] = uint64(v.key.primes[lane%2].exponent[w])
		}
		v.code.gather(&v.chosen[0], &v.table[0], &v.index[0])
		if w == 0 {
			copy(v.x, v.chosen)
			continue
		}
		for range windowBits {
			v.square(v.y, v.x)
			v.x, v.y = v.y, v.x
		}
		v.multiply(v.y, v.x, v.chosen)
		v.x, v.y = v.y, v.x
	}
	// Out of Montgomery's form: a product with 1 is at most the modulus.
	clear(v.chosen)
	for lane := range v.count {
		v.chosen[lane] = 1
	}
	v.multiply(v.y, v.x, v.chosen)
	v.x, v.y = v.y, v.x
}

// add adds numbers whose sum fits the limbs.
func (v *lanes) add(out, a, b []uint64) {
	for lane := range v.count {
		var carry uint64
		for i := lane; i < len(out); i += v.count {
			sum := a[i] + b[i] + carry
			out[i], carry = sum&limbMask, sum>>radix
		}
	}
}

// result is a lane of x, big endian.
func (v *lanes) result(lane int) []byte {
	limbs := make([]uint64, v.key.limbs)
	defer clear(limbs)
	for i := range limbs {
		limbs[i] = v.x[i*v.count+lane]
	}
	return fromLimbs(limbs, v.key.size/2)
}
