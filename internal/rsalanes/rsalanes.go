// Package rsalanes makes RSA PKCS#1 v1.5 signatures with the vectors of x86-64 processors,
// several times faster than crypto/rsa: with AVX-512 IFMA, which servers have since Ice Lake
// and Zen 4, one by itself or four at once, and with AVX2, which nearly all others have.
//
// A Key signs DigestInfos, and a PublicKey opens signatures. Every signature is verified
// before it is returned. What the keys' secrets touch is constant-time: the exponentiation of
// amm_amd64.s, and filippo.io/bigmod, the standard library's own arithmetic, around it.
// docs/performance.md says more.
package rsalanes

//go:generate go -C gen run . -out ../amm_amd64.s -stubs ../stubs_amd64.go -pkg rsalanes

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"math/big"
	"sync"

	"filippo.io/bigmod"
)

// ErrUnsupported refuses keys that are not of the usual form, and machines without the
// instructions: crypto/rsa signs with those.
var ErrUnsupported = errors.New("rsalanes: not a key, or not a machine, for AVX2 or AVX-512 IFMA")

// ErrFault says that a result did not verify, and was dropped. The machine has erred, or
// the key's numbers do not belong together.
var ErrFault = errors.New("rsalanes: a signature that the public key does not verify")

// Instructions are a processor's that a Key computes with.
type Instructions string

// Instructions that are enough, the best last.
const (
	None Instructions = ""
	AVX2 Instructions = "AVX2"
	IFMA Instructions = "AVX-512 IFMA"
)

// Key is an RSA private key of 2048, 3072 or 4096 bits with two primes of half that
// length. It may be used by several goroutines at once.
type Key struct {
	public *PublicKey
	size   int // of a signature, in bytes

	p, q      *bigmod.Modulus
	qInv      *bigmod.Nat // 1/q modulo p
	octets    [2][]byte   // p and q, big endian
	exponents [2][]byte   // d modulo p-1 and q-1, in windows of five bits, the highest first

	alone, four func() *form // four is nil where only IFMA would have it
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
// with any of the Instructions.
func (n *Numbers) Takes() bool {
	bits := 0
	if n.Public.N != nil {
		bits = n.Public.N.BitLen()
	}
	if Best() == None || bits != 2048 && bits != 3072 && bits != 4096 {
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

// NewKey prepares a key for instructions of the machine: Best, or lesser ones. The error is
// ErrUnsupported where crypto/rsa is to be used.
func NewKey(n Numbers, instructions Instructions) (*Key, error) {
	if best := Best(); !n.Takes() || instructions != best && (instructions != AVX2 || best != IFMA) {
		return nil, ErrUnsupported
	}
	half := n.Public.Size() / 2
	k := &Key{
		public:    NewPublicKey(n.Public.N, big.NewInt(int64(n.Public.E))),
		size:      2 * half,
		octets:    [2][]byte{bytes.Clone(n.P), bytes.Clone(n.Q)},
		exponents: [2][]byte{windows(padded(n.Dp, half)), windows(padded(n.Dq, half))},
	}
	var err error
	if k.p, err = bigmod.NewModulus(n.P); err != nil {
		return nil, ErrUnsupported
	}
	if k.q, err = bigmod.NewModulus(n.Q); err != nil {
		return nil, ErrUnsupported
	}
	if k.qInv, err = bigmod.NewNat().SetBytes(padded(n.QInv, half), k.p); err != nil {
		return nil, ErrUnsupported
	}
	k.alone = sync.OnceValue(func() *form { return k.form(codeForOne(instructions, half)) })
	if instructions == IFMA {
		k.four = sync.OnceValue(func() *form { return k.form(codeForFour(half)) })
	}
	return k, nil
}

func padded(x []byte, size int) []byte { return append(make([]byte, size-len(x)), x...) }

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
