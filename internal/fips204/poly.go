package fips204

import (
	"crypto/sha3"
	"encoding/binary"
	"sync"
)

const (
	n           = 256
	q           = 8380417
	droppedBits = 13      // d: of t, which the public key leaves out
	zeta        = 1753    // a 512th root of unity modulo q
	inverseN    = 8347681 // of n, modulo q
)

// poly is a polynomial, or its transform: coefficients modulo q, reduced.
type poly [n]uint32

func add(a, b uint32) uint32 {
	if a += b; a >= q {
		a -= q
	}
	return a
}

func subtract(a, b uint32) uint32 { return add(a, q-b) }

func multiply(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % q) }

// zetas are the powers of zeta in bit-reversed order (FIPS 204, appendix B).
var zetas = sync.OnceValue(func() *[n]uint32 {
	var z [n]uint32
	power := uint32(1)
	for i := range n {
		var reversed int
		for bit := range 8 {
			reversed |= i >> bit & 1 << (7 - bit)
		}
		z[reversed] = power
		power = multiply(power, zeta)
	}
	return &z
})

// ntt is algorithm 41, in place.
func (w *poly) ntt() {
	m, zetas := 0, zetas()
	for length := n / 2; length >= 1; length /= 2 {
		for start := 0; start < n; start += 2 * length {
			m++
			for j := start; j < start+length; j++ {
				t := multiply(zetas[m], w[j+length])
				w[j+length] = subtract(w[j], t)
				w[j] = add(w[j], t)
			}
		}
	}
}

// inverseNTT is algorithm 42, in place.
func (w *poly) inverseNTT() {
	m, zetas := n, zetas()
	for length := 1; length < n; length *= 2 {
		for start := 0; start < n; start += 2 * length {
			m--
			for j := start; j < start+length; j++ {
				t := w[j]
				w[j] = add(t, w[j+length])
				w[j+length] = multiply(q-zetas[m], subtract(t, w[j+length]))
			}
		}
	}
	for j := range w {
		w[j] = multiply(w[j], inverseN)
	}
}

// addProduct adds the product of two transforms.
func (w *poly) addProduct(a, b *poly) {
	for j := range w {
		w[j] = add(w[j], multiply(a[j], b[j]))
	}
}

func (w *poly) subtractProduct(a, b *poly) {
	for j := range w {
		w[j] = subtract(w[j], multiply(a[j], b[j]))
	}
}

// expand is one entry of ExpandA (algorithm 32): RejNTTPoly (algorithm 30).
func expand(rho []byte, column, row int) (a poly) {
	xof := sha3.NewSHAKE128()
	xof.Write(rho)
	xof.Write([]byte{byte(column), byte(row)})
	var block [168]byte
	for j := 0; j < n; {
		xof.Read(block[:])
		for b := block[:]; len(b) > 0 && j < n; b = b[3:] {
			v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2]&0x7f)<<16
			if v < q {
				a[j] = v
				j++
			}
		}
	}
	return a
}

// sampleInBall is algorithm 29.
func sampleInBall(seed []byte, tau int) (c poly) {
	xof := sha3.NewSHAKE256()
	xof.Write(seed)
	var signBytes [8]byte
	xof.Read(signBytes[:])
	signs := binary.LittleEndian.Uint64(signBytes[:])
	for i := n - tau; i < n; i++ {
		var b [1]byte
		for xof.Read(b[:]); int(b[0]) > i; {
			xof.Read(b[:])
		}
		c[i] = c[b[0]]
		c[b[0]] = 1
		if signs&1 == 1 {
			c[b[0]] = q - 1
		}
		signs >>= 1
	}
	return c
}

// unpack reads n numbers of some bits each, least significant bit first (the
// bits of algorithm 18), and returns what follows them.
func unpack(w *poly, packed []byte, bits int) []byte {
	var buffer uint64
	have := 0
	for j := range w {
		for ; have < bits; have += 8 {
			buffer |= uint64(packed[0]) << have
			packed = packed[1:]
		}
		w[j] = uint32(buffer) & (1<<bits - 1)
		buffer >>= bits
		have -= bits
	}
	return packed
}

// pack is SimpleBitPack (algorithm 16) for numbers of some bits each.
func pack(w *poly, bits int) []byte {
	packed := make([]byte, 0, n*bits/8)
	var buffer uint32
	have := 0
	for _, v := range w {
		buffer |= v << have
		for have += bits; have >= 8; have -= 8 {
			packed = append(packed, byte(buffer))
			buffer >>= 8
		}
	}
	return packed
}
