package rsalanes

import (
	"crypto/subtle"
	"math/big"
	"math/bits"
	"sync"

	"filippo.io/bigmod"
)

// PublicKey makes the public operation of RSA (RFC 8017, section 5.2.2), which takes nothing
// secret and so may take different times: by AVX-512 IFMA in a tenth of the time of math/big,
// and else by the faster of that and filippo.io/bigmod. It may be used by several goroutines
// at once.
type PublicKey struct {
	n, e *big.Int
	way  func() raiser
}

// raiser returns x to the public exponent, modulo n: both as long as the modulus, and below it.
type raiser func(x []byte) []byte

// NewPublicKey returns a key with a modulus and an exponent, whatever they are.
func NewPublicKey(n, e *big.Int) *PublicKey {
	k := &PublicKey{n: n, e: e}
	k.way = sync.OnceValue(k.fastest)
	return k
}

// Size is the length of the modulus in bytes.
func (k *PublicKey) Size() int { return (k.n.BitLen() + 7) / 8 }

// Raise returns x to the public exponent, modulo n, as long as the modulus. ok is false for
// an x that is not below n, and a key without a modulus.
func (k *PublicKey) Raise(x []byte) (result []byte, ok bool) {
	if x, ok = k.representative(x); !ok {
		return nil, false
	}
	return k.way()(x), true
}

// RaiseAgain is Raise by math/big alone: a result that is a reason to refuse something, which
// is seldom, is worth a second opinion.
func (k *PublicKey) RaiseAgain(x []byte) (result []byte, ok bool) {
	if x, ok = k.representative(x); !ok {
		return nil, false
	}
	return k.slowly(x), true
}

// representative is x as long as the modulus; ok is as Raise has it.
func (k *PublicKey) representative(x []byte) (padded []byte, ok bool) {
	number := new(big.Int).SetBytes(x)
	if k == nil || k.n == nil || k.n.Sign() <= 0 || number.Cmp(k.n) >= 0 {
		return nil, false
	}
	return number.FillBytes(make([]byte, k.Size())), true
}

// Verifies reports whether x to the public exponent is block.
func (k *PublicKey) Verifies(x, block []byte) bool {
	for _, raise := range []func([]byte) ([]byte, bool){k.Raise, k.RaiseAgain} {
		if got, ok := raise(x); ok && subtle.ConstantTimeCompare(got, block) == 1 {
			return true
		}
	}
	return false
}

// fastest knows that an exponent is short where nobody wants to be slow.
func (k *PublicKey) fastest() raiser {
	bits, usual := k.n.BitLen(), k.n.Bit(0) == 1 && k.e.Sign() > 0 && k.e.BitLen() <= 32
	if usual && Best() == IFMA && bits > 1 && bits <= maxSingle {
		return newSingle(k.n, k.e.Uint64()).raise
	}
	// Other lengths have no assembly there, and math/big is faster at them.
	if usual && (bits == 1024 || bits == 1536 || bits == 2048) {
		if m, err := bigmod.NewModulus(k.n.Bytes()); err == nil {
			return func(x []byte) []byte {
				nat, err := bigmod.NewNat().SetBytes(x, m)
				if err != nil {
					panic(err) // x is below n
				}
				return bigmod.NewNat().ExpShortVarTime(nat, uint(k.e.Uint64()), m).Bytes(m)
			}
		}
	}
	return k.slowly
}

func (k *PublicKey) slowly(x []byte) []byte {
	number := new(big.Int).SetBytes(x)
	return number.Exp(number, k.e, k.n).FillBytes(x)
}

// single is a modulus whose numbers are spread over all lanes.
type single struct {
	code
	octets   []byte // of the modulus
	exponent uint64
	modulus  modulus
	toForm   []uint64 // R R modulo n
	one      []uint64 // the number 1
}

// maxSingle is the most bits that a modulus may have: twice as much has to be below R.
const maxSingle = 8*10*52 - 2

func newSingle(n *big.Int, exponent uint64) *single {
	s := &single{code: codeForSingle(n.BitLen()), octets: n.Bytes(), exponent: exponent}
	s.modulus = modulus{vectors: s.number(s.octets), n0: make([]uint64, s.count)}
	for lane := range s.modulus.n0 {
		s.modulus.n0[lane] = s.negativeInverse(uint(n.Bits()[0]))
	}
	r := new(big.Int).Lsh(big.NewInt(1), uint(2*s.radix*s.digits))
	s.toForm, s.one = s.number(r.Mod(r, n).Bytes()), s.number([]byte{1})
	return s
}

// number is big endian octets in vectors.
func (s *single) number(octets []byte) []uint64 {
	v := aligned(s.vectors * s.count)
	for i, limb := range s.toLimbs(octets, s.limbs()) {
		v[s.at(0, i)] = limb
	}
	return v
}

func (s *single) raise(x []byte) []byte {
	base, power := s.number(x), aligned(s.vectors*s.count)
	s.multiply(&s.modulus, base, base, s.toForm)
	copy(power, base)
	for bit := bits.Len64(s.exponent) - 2; bit >= 0; bit-- {
		s.square(&s.modulus, power, power)
		if s.exponent>>bit&1 == 1 {
			s.multiply(&s.modulus, power, power, base)
		}
	}
	s.multiply(&s.modulus, power, power, s.one) // at most n
	limbs := make([]uint64, s.limbs())
	for i := range limbs {
		limbs[i] = power[s.at(0, i)]
	}
	result := s.fromLimbs(limbs, len(s.octets))
	if string(result) == string(s.octets) {
		clear(result)
	}
	return result
}
