package rsalanes

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"filippo.io/bigmod"
)

// Sign returns the PKCS#1 v1.5 signature (RFC 8017, section 8.2.1) of a DER DigestInfo.
func (k *Key) Sign(digestInfo []byte) ([]byte, error) {
	signatures, err := k.SignBatch([][]byte{digestInfo})
	if err != nil {
		return nil, err
	}
	return signatures[0], nil
}

// Batch is how many DigestInfos SignBatch signs in less time than it takes one by one: 4, or
// 1 if there is no such number.
func (k *Key) Batch() int {
	if k.four == nil {
		return 1
	}
	return 4
}

// SignBatch signs DigestInfos, Batch at once. If one of the results is wrong, all are
// dropped.
func (k *Key) SignBatch(digestInfos [][]byte) ([][]byte, error) {
	blocks := make([][]byte, len(digestInfos))
	for i, info := range digestInfos {
		if len(info) > k.size-11 {
			return nil, errors.New("rsalanes: a DigestInfo too long for the key")
		}
		blocks[i] = pad(info, k.size)
	}
	results, err := k.exponentiate(blocks)
	if err != nil {
		return nil, err
	}
	for i := range results {
		// All of this is public by now, if the result is right; a wrong one never leaves.
		if !k.public.Verifies(results[i], blocks[i]) {
			return nil, ErrFault
		}
	}
	return results, nil
}

// pad is EMSA-PKCS1-v1_5 (RFC 8017, section 9.2) from the DigestInfo on.
func pad(info []byte, size int) []byte {
	block := make([]byte, size)
	block[1] = 1
	end := size - len(info)
	for i := 2; i < end-1; i++ {
		block[i] = 0xff
	}
	copy(block[end:], info)
	return block
}

// exponentiate raises numbers below n, big endian, to the private exponent.
func (k *Key) exponentiate(blocks [][]byte) ([][]byte, error) {
	results := make([][]byte, 0, len(blocks))
	for len(blocks) > 0 {
		size, f := 1, k.alone
		if n := k.Batch(); n > 1 && n <= len(blocks) {
			size, f = n, k.four
		}
		some, err := k.exponentiateWith(f(), blocks[:size])
		if err != nil {
			return nil, err
		}
		results, blocks = append(results, some...), blocks[size:]
	}
	return results, nil
}

// exponentiateWith raises as many numbers as the form has room for.
func (k *Key) exponentiateWith(f *form, blocks [][]byte) ([][]byte, error) {
	v := newLanes(k, f)
	defer v.clear()
	v.load(blocks)
	v.power()
	results := make([][]byte, len(blocks))
	for i := range blocks {
		var err error
		if results[i], err = k.combine(v.result(2*i, k.size/2), v.result(2*i+1, k.size/2)); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// combine is Garner's recombination (RFC 8017, section 5.1.2, step 2.b) of what came out
// modulo p and modulo q, big endian.
func (k *Key) combine(modP, modQ []byte) ([]byte, error) {
	defer clear(modP)
	defer clear(modQ)
	mP, err := bigmod.NewNat().SetOverflowingBytes(modP, k.p)
	if err != nil {
		return nil, ErrFault
	}
	mQ, err := bigmod.NewNat().SetOverflowingBytes(modQ, k.q)
	if err != nil {
		return nil, ErrFault
	}
	// Both primes have the same length, so what is below q is less than twice p.
	below, err := bigmod.NewNat().SetOverflowingBytes(mQ.Bytes(k.q), k.p)
	if err != nil {
		return nil, ErrFault
	}
	h := mP.Sub(below, k.p).Mul(k.qInv, k.p)
	return k.mulAdd(h.Bytes(k.p), k.octets[1], mQ.Bytes(k.q)), nil
}

// mulAdd is a * b + c, which fits a signature's size; all are big endian and half as long.
// What it does depends only on their length.
func (k *Key) mulAdd(a, b, c []byte) []byte {
	defer clear(a)
	defer clear(c)
	const word = 8
	half := k.size / 2 / word
	at := func(x []byte, i int) uint64 { return binary.BigEndian.Uint64(x[len(x)-word*(i+1):]) }
	sum := make([]uint64, 2*half)
	defer clear(sum)
	for i := range half {
		sum[i] = at(c, i)
	}
	for i := range half {
		factor := at(a, i)
		var over uint64
		for j := range half {
			high, low := bits.Mul64(factor, at(b, j))
			var carry uint64
			low, carry = bits.Add64(low, over, 0)
			high += carry
			sum[i+j], carry = bits.Add64(sum[i+j], low, 0)
			over = high + carry
		}
		sum[i+half] = over
	}
	out := make([]byte, k.size)
	for i, w := range sum {
		binary.BigEndian.PutUint64(out[k.size-word*(i+1):], w)
	}
	return out
}
