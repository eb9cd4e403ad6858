package ecdsaonce

import (
	"crypto/elliptic"
	"math/big"

	"filippo.io/bigmod"
	"filippo.io/nistec"
)

// group is one of the curves of SP 800-186, section 3.2.1.
type group struct {
	size   int    // of a scalar and of a coordinate, in bytes
	excess int    // bits that these have more than the order
	order  string // big endian

	multiply func(scalar []byte) (x []byte, err error)         // the x of scalar G
	combine  func(a, b *big.Int, q []byte) (x []byte, ok bool) // the x of a G + b Q, with Q uncompressed
}

const (
	orderP384 = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
		"\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73"
	orderP521 = "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
		"\xfa\x51\x86\x87\x83\xbf\x2f\x96\x6b\x7f\xcc\x01\x48\xf7\x09\xa5\xd0\x3b\xb5\xc9\xb8\x89\x9c\x47\xae\xbb\x6f\xb7\x1e\x91\x38\x64\x09"
)

// groupOf returns nil for other curves.
func groupOf(curve elliptic.Curve) *group {
	switch curve {
	case elliptic.P384():
		return newGroup(orderP384, 0, nistec.NewP384Point)
	case elliptic.P521():
		return newGroup(orderP521, 7, nistec.NewP521Point)
	}
	return nil
}

// point is what the points of package nistec have in common.
type point[P any] interface {
	Add(p, q P) P
	Double(p P) P
	SetGenerator() P
	SetBytes(octets []byte) (P, error)
	ScalarMult(p P, scalar []byte) (P, error)
	BytesX() ([]byte, error)
}

func newGroup[P point[P]](order string, excess int, newPoint func() P) *group {
	g := &group{size: len(order), excess: excess, order: order}
	g.multiply = func(scalar []byte) ([]byte, error) {
		p, err := newPoint().ScalarMult(newPoint().SetGenerator(), scalar)
		if err != nil {
			return nil, err
		}
		return p.BytesX()
	}
	g.combine = func(a, b *big.Int, octets []byte) ([]byte, bool) {
		q, err := newPoint().SetBytes(octets)
		if err != nil {
			return nil, false
		}
		x, err := combine(a, b, q, newPoint, 8*g.size).BytesX()
		return x, err == nil // the point at infinity has none
	}
	return g
}

// combine returns a G + b Q, two bits of both scalars at a time (Shamir's trick).
func combine[P point[P]](a, b *big.Int, q P, newPoint func() P, length int) P {
	var table [4][4]P // [i][j] is i G + j Q
	g := newPoint().SetGenerator()
	for i := range table {
		for j := range table[i] {
			p := newPoint()
			switch {
			case j > 0:
				p.Add(table[i][j-1], q)
			case i > 0:
				p.Add(table[i-1][0], g)
			}
			table[i][j] = p
		}
	}
	sum := newPoint()
	for bit := length - 2; bit >= 0; bit -= 2 {
		sum.Double(sum)
		sum.Double(sum)
		if i, j := bits(a, bit), bits(b, bit); i|j != 0 {
			sum.Add(sum, table[i][j])
		}
	}
	return sum
}

func bits(x *big.Int, i int) uint { return x.Bit(i+1)<<1 | x.Bit(i) }

func (g *group) modulus() *bigmod.Modulus {
	n, err := bigmod.NewModulus([]byte(g.order))
	if err != nil {
		panic(err) // of a constant
	}
	return n
}

func (g *group) orderLess2() []byte {
	less := []byte(g.order)
	less[g.size-1] -= 2
	return less
}

// leftmost is as many of the leftmost bits as the order has, right-aligned (RFC 6979,
// section 2.3.2, bits2int).
func (g *group) leftmost(octets []byte) []byte {
	out := make([]byte, g.size)
	if len(octets) < g.size {
		copy(out[g.size-len(octets):], octets)
		return out
	}
	var above byte
	for i, octet := range octets[:g.size] {
		out[i] = octet>>g.excess | above<<(8-g.excess)
		above = octet
	}
	return out
}

// fromDigest takes a digest's leftmost bits for a number.
func (g *group) fromDigest(digest []byte, n *bigmod.Modulus) *bigmod.Nat {
	e, err := bigmod.NewNat().SetOverflowingBytes(g.leftmost(digest), n)
	if err != nil {
		panic(err) // it has as many bits as n
	}
	return e
}
