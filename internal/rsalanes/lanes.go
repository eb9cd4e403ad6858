package rsalanes

import "unsafe"

// lanes is the work for as many signatures as a form's vectors have room for: number 2i is
// that of signature i modulo p, and number 2i+1 modulo q.
type lanes struct {
	*form
	exponents *[2][]byte

	modulus      modulus
	one          []uint64
	low, high    []uint64 // the blocks, below and above B
	x, y, chosen []uint64
	table        []uint64
	index        []uint64
}

const tableSize = 1 << windowBits

func newLanes(k *Key, f *form) *lanes {
	v := &lanes{form: f, exponents: &k.exponents}
	size := f.vectors * f.count
	parts := []*[]uint64{&v.modulus.vectors, &v.one, &v.low, &v.high, &v.x, &v.y, &v.chosen}
	all := aligned((len(parts)+tableSize)*size + (f.room+2)*f.count)
	take := func(n int) (part []uint64) {
		part, all = all[:n:n], all[n:]
		return part
	}
	for _, part := range parts {
		*part = take(size)
	}
	v.table = take(tableSize * size)
	v.modulus.room = take(f.room * f.count)
	v.modulus.n0, v.index = take(f.count), take(f.count)
	for number := range v.numbers() {
		p := &f.primes[number%2]
		v.set(v.modulus.vectors, number, p.modulus)
		v.set(v.one, number, p.one)
	}
	v.setAll(v.modulus.n0, func(prime int) uint64 { return f.primes[prime].n0 })
	return v
}

// numbers is how many there are in a vector.
func (v *lanes) numbers() int { return v.count / v.parts }

// aligned makes room that begins at a cache line.
func aligned(n int) []uint64 {
	const line = 8
	room := make([]uint64, n+line)
	skip := (line - int(uintptr(unsafe.Pointer(&room[0]))/8)%line) % line
	return room[skip : skip+n]
}

func (v *lanes) set(vectors []uint64, number int, limbs []uint64) {
	for i, limb := range limbs {
		vectors[v.at(number, i)] = limb
	}
}

// setAll sets each lane of one vector to what its prime has, 0 or 1.
func (v *lanes) setAll(vector []uint64, to func(prime int) uint64) {
	for lane := range vector {
		vector[lane] = to(lane / v.parts % 2)
	}
}

// clear wipes what is secret.
func (v *lanes) clear() {
	for _, part := range [][]uint64{v.modulus.vectors, v.one, v.low, v.high, v.x, v.y, v.chosen, v.modulus.room, v.table, v.modulus.n0, v.index} {
		clear(part)
	}
}

// load puts the blocks of signatures into their lanes, in two parts: block = high B + low.
func (v *lanes) load(blocks [][]byte) {
	limbs := v.limbs()
	for number := range v.numbers() {
		all := v.toLimbs(blocks[number/2], 2*limbs)
		v.set(v.low, number, all[:limbs])
		v.set(v.high, number, all[limbs:])
	}
}

// power raises the blocks to the exponents of their lanes, into x.
func (v *lanes) power() {
	size := v.vectors * v.count
	entry := func(i int) []uint64 { return v.table[i*size : (i+1)*size] }
	v.toMontgomery(entry(1))
	copy(entry(0), v.one)
	for i := 2; i < tableSize; i += 2 {
		v.square(&v.modulus, entry(i), entry(i/2))
		v.multiply(&v.modulus, entry(i+1), entry(i), entry(1))
	}
	for w := range v.exponents[0] {
		v.setAll(v.index, func(prime int) uint64 { return uint64(v.exponents[prime][w]) })
		v.gather(&v.chosen[0], &v.table[0], &v.index[0])
		if w == 0 {
			copy(v.x, v.chosen)
			continue
		}
		for range windowBits {
			v.square(&v.modulus, v.y, v.x)
			v.x, v.y = v.y, v.x
		}
		v.multiply(&v.modulus, v.y, v.x, v.chosen)
		v.x, v.y = v.y, v.x
	}
	// Out of Montgomery's form: a product with 1 is at most the modulus.
	clear(v.chosen)
	for number := range v.numbers() {
		v.chosen[v.at(number, 0)] = 1
	}
	v.multiply(&v.modulus, v.y, v.x, v.chosen)
	v.x, v.y = v.y, v.x
}

// toMontgomery makes block R, the sum of high (B R R) / R and low (R R) / R.
func (v *lanes) toMontgomery(out []uint64) {
	product := func(out, half []uint64, power func(*prime) []uint64) {
		for number := range v.numbers() {
			v.set(v.chosen, number, power(&v.primes[number%2]))
		}
		v.multiply(&v.modulus, out, half, v.chosen)
	}
	product(v.x, v.low, func(p *prime) []uint64 { return p.low })
	product(v.y, v.high, func(p *prime) []uint64 { return p.high })
	for number := range v.numbers() {
		var carry uint64
		for i := range v.limbs() {
			at := v.at(number, i)
			sum := v.x[at] + v.y[at] + carry
			out[at], carry = sum&v.mask(), sum>>v.radix
		}
	}
}

// result is a number of x, big endian, in so many octets.
func (v *lanes) result(number, size int) []byte {
	limbs := make([]uint64, v.limbs())
	defer clear(limbs)
	for i := range limbs {
		limbs[i] = v.x[v.at(number, i)]
	}
	return v.fromLimbs(limbs, size)
}
