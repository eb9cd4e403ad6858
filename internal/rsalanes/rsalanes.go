// Package rsalanes makes RSA PKCS#1 v1.5 signatures with AVX-512 IFMA, four at once or one
// by itself, several times faster than crypto/rsa: x86-64 servers since Ice Lake and Zen 4
// have these instructions.
//
// A Key signs DigestInfos. Every result is verified with the public key before it is
// returned. What the keys' secrets touch is constant-time: the exponentiation of
// amm_amd64.s, and filippo.io/bigmod, the standard library's own arithmetic, around it.
// docs/performance.md says more.
package rsalanes

//go:generate go -C gen run . -out ../amm_amd64.s -stubs ../stubs_amd64.go -pkg rsalanes

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"math/big"

	"filippo.io/bigmod"

	"sign-file/internal/rsapublic"
)

// ErrUnsupported refuses keys that are not of the usual form, and machines without the
// instructions: crypto/rsa signs with those.
var ErrUnsupported = errors.New("rsalanes: not a key, or not a machine, for AVX-512 IFMA")

// ErrFault says that a result did not verify, and was dropped. The machine has erred, or
// the key's numbers do not belong together.
var ErrFault = errors.New("rsalanes: a signature that the public key does not verify")

// radix is the number of bits in a limb.
const radix = 52

const limbMask = 1<<radix - 1

// Key is an RSA private key of 2048, 3072 or 4096 bits with two primes of half that
// length. It may be used by several goroutines at once.
type Key struct {
	public *rsapublic.Key
	size   int // of a signature, in bytes
	limbs  int // of a prime

	p, q      *bigmod.Modulus
	qInv      *bigmod.Nat // 1/q modulo p
	octetsOfQ []byte      // big endian

	primes [2]prime // p, q
}

// prime is what a lane needs of p or q, in limbs.
type prime struct {
	modulus, one, r2, r3 []uint64 // one is R modulo the prime, r2 and r3 its powers; R is 2^(52 limbs)
	n0                   uint64   // -1/prime modulo 2^52
	exponent             []byte   // d modulo prime-1, in windows of five bits, the highest first
}

// Numbers are those of an RSAPrivateKey (RFC 8017, appendix A.1.2): big endian, without
// leading zeros. That they belong together is not checked: each signature is.
type Numbers struct {
	Public             rsa.PublicKey
	P, Q, Dp, Dq, QInv []byte
}

// NumbersOf are those of a key that crypto/rsa has precomputed.
func NumbersOf(private *rsa.PrivateKey) Numbers {
	n := Numbers{Public: private.PublicKey}
	pre := &private.Precomputed
	if len(private.Primes) == 2 && pre.Dp != nil && pre.Dq != nil && pre.Qinv != nil {
		n.P, n.Q = private.Primes[0].Bytes(), private.Primes[1].Bytes()
		n.Dp, n.Dq, n.QInv = pre.Dp.Bytes(), pre.Dq.Bytes(), pre.Qinv.Bytes()
	}
	return n
}

// maxExponent is crypto/rsa's limit: a key that it refuses is refused on every machine.
const maxExponent = 1<<31 - 1

// Takes reports whether NewKey takes a key: RSA of 2048, 3072 or 4096 bits, with an odd
// public exponent of at most 31 bits and two odd primes of half the length, on a machine
// that is Supported.
func (n *Numbers) Takes() bool {
	bits := 0
	if n.Public.N != nil {
		bits = n.Public.N.BitLen()
	}
	if !Supported() || bits != 2048 && bits != 3072 && bits != 4096 {
		return false
	}
	if e := n.Public.E; e < 3 || e > maxExponent || e&1 == 0 {
		return false
	}
	half := bits / 16
	for _, p := range [][]byte{n.P, n.Q} {
		if len(p) != half || p[0] < 0x80 || p[half-1]&1 == 0 {
			return false
		}
	}
	for _, x := range [][]byte{n.Dp, n.Dq, n.QInv} {
		if len(x) == 0 || len(x) > half {
			return false
		}
	}
	return true
}

// NewKey prepares a key. The error is ErrUnsupported where crypto/rsa is to be used.
func NewKey(n Numbers) (*Key, error) {
	if !n.Takes() {
		return nil, ErrUnsupported
	}
	size := n.Public.Size()
	k := &Key{public: rsapublic.New(n.Public.N, big.NewInt(int64(n.Public.E))), size: size, limbs: size*4/radix + 1}
	if k.limbs%rows != 0 { // 1024, 1536 and 2048 bits take 20, 30 and 40
		k.limbs += rows - k.limbs%rows
	}
	return k, k.prepare(&n)
}

// rows is that of gen: the number of limbs is a multiple of it.
const rows = 5

func (k *Key) prepare(n *Numbers) (err error) {
	half := k.size / 2
	if k.p, k.primes[0], err = k.newPrime(n.P, padded(n.Dp, half)); err != nil {
		return err
	}
	if k.q, k.primes[1], err = k.newPrime(n.Q, padded(n.Dq, half)); err != nil {
		return err
	}
	if k.qInv, err = bigmod.NewNat().SetBytes(padded(n.QInv, half), k.p); err != nil {
		return ErrUnsupported
	}
	k.octetsOfQ = bytes.Clone(n.Q)
	return nil
}

func padded(x []byte, size int) []byte { return append(make([]byte, size-len(x)), x...) }

func (k *Key) newPrime(octets, exponent []byte) (*bigmod.Modulus, prime, error) {
	m, err := bigmod.NewModulus(octets)
	if err != nil {
		return nil, prime{}, ErrUnsupported
	}
	// R modulo the prime, by doubling the highest power of two below it.
	top := make([]byte, len(octets))
	top[0] = 0x80
	one, err := bigmod.NewNat().SetBytes(top, m)
	if err != nil {
		return nil, prime{}, ErrUnsupported
	}
	for range radix*k.limbs - (8*len(octets) - 1) {
		one.Add(one, m)
	}
	r2 := bigmod.NewNat().ExpandFor(m).Add(one, m)
	r2.Mul(one, m)
	r3 := bigmod.NewNat().ExpandFor(m).Add(r2, m)
	r3.Mul(one, m)
	limbs := func(x *bigmod.Nat) []uint64 { return toLimbs(x.Bytes(m), k.limbs) }
	return m, prime{
		modulus: toLimbs(octets, k.limbs), one: limbs(one), r2: limbs(r2), r3: limbs(r3),
		n0: negativeInverse(m.Nat().Bits()[0]), exponent: windows(exponent),
	}, nil
}

// negativeInverse is -1/n modulo 2^52, by Newton's iteration, which doubles the number of
// right bits each time.
func negativeInverse(n uint) uint64 {
	inverse := uint64(n) // three bits
	for range 5 {
		inverse *= 2 - uint64(n)*inverse
	}
	return -inverse & limbMask
}

// windowBits is the length of a window of an exponent.
const windowBits = 5

// windows cuts an exponent, big endian, into windows, the highest first. Which bits go
// where does not depend on them.
func windows(exponent []byte) []byte {
	bits := 8 * len(exponent)
	count := (bits + windowBits - 1) / windowBits
	out := make([]byte, count)
	for w := range out {
		var value byte
		for b := range windowBits {
			if at := windowBits*(count-1-w) + b; at < bits {
				value |= exponent[len(exponent)-1-at/8] >> (at % 8) & 1 << b
			}
		}
		out[w] = value
	}
	return out
}

// toLimbs turns big endian octets into limbs, the lowest first.
func toLimbs(octets []byte, limbs int) []uint64 {
	out := make([]uint64, limbs)
	for i := range octets {
		octet, bit := uint64(octets[len(octets)-1-i]), 8*i
		limb, shift := bit/radix, bit%radix
		if limb >= limbs {
			break
		}
		out[limb] |= octet << shift & limbMask
		if over := shift + 8 - radix; over > 0 && limb+1 < limbs {
			out[limb+1] |= octet >> (8 - over)
		}
	}
	return out
}

// fromLimbs reverses toLimbs.
func fromLimbs(limbs []uint64, size int) []byte {
	out := make([]byte, size)
	for i := range out {
		bit := 8 * i
		limb, shift := bit/radix, bit%radix
		if limb >= len(limbs) {
			break
		}
		value := limbs[limb] >> shift
		if over := shift + 8 - radix; over > 0 && limb+1 < len(limbs) {
			value |= limbs[limb+1] << (8 - over)
		}
		out[size-1-i] = byte(value)
	}
	return out
}
