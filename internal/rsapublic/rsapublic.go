// Package rsapublic is the public operation of RSA (RFC 8017, section 5.2.2), which takes
// nothing secret and so may take different times: several times faster than crypto/rsa at
// 4096 bits, twice at 2048.
package rsapublic

import (
	"math/big"
	"sync"

	"filippo.io/bigmod"
)

// Key is an RSA public key. It may be used by several goroutines at once.
type Key struct {
	n, e    *big.Int
	modulus func() *bigmod.Modulus
}

// New returns a key with a modulus and an exponent, whatever they are.
func New(n, e *big.Int) *Key {
	return &Key{n: n, e: e, modulus: sync.OnceValue(func() *bigmod.Modulus {
		// Other lengths have no assembly there, and math/big is faster at them. An exponent
		// is short where nobody wants to be slow.
		if bits := n.BitLen(); bits != 1024 && bits != 1536 && bits != 2048 || n.Bit(0) == 0 || e.BitLen() > 32 || e.Sign() <= 0 {
			return nil
		}
		m, err := bigmod.NewModulus(n.Bytes())
		if err != nil {
			return nil
		}
		return m
	})}
}

// Size is the length of the modulus in bytes.
func (k *Key) Size() int { return (k.n.BitLen() + 7) / 8 }

// Raise returns x to the public exponent, modulo n, as long as the modulus. ok is false for
// an x that is not below n, and a key without a modulus.
func (k *Key) Raise(x []byte) (result []byte, ok bool) {
	number := new(big.Int).SetBytes(x)
	if k == nil || k.n == nil || k.n.Sign() <= 0 || number.Cmp(k.n) >= 0 {
		return nil, false
	}
	room := make([]byte, k.Size())
	if m := k.modulus(); m != nil {
		if nat, err := bigmod.NewNat().SetBytes(number.FillBytes(room), m); err == nil {
			return bigmod.NewNat().ExpShortVarTime(nat, uint(k.e.Uint64()), m).Bytes(m), true
		}
	}
	return number.Exp(number, k.e, k.n).FillBytes(room), true
}
