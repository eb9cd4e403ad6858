package rsalanes

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	mathrand "math/rand/v2"
	"testing"

	"filippo.io/bigmod"
)

// numbers are blocks at the bounds, and random ones.
func numbers(t testing.TB, n *big.Int) [][]byte {
	t.Helper()
	size := (n.BitLen() + 7) / 8
	fill := func(x *big.Int) []byte { return x.FillBytes(make([]byte, size)) }
	less := func(k int64) *big.Int { return new(big.Int).Sub(n, big.NewInt(k)) }
	all := [][]byte{fill(big.NewInt(0)), fill(big.NewInt(1)), fill(big.NewInt(2)), fill(less(1)), fill(less(2)),
		fill(new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()-1))), fill(new(big.Int).Rsh(n, 1))}
	for range 5 {
		x, err := rand.Int(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fill(x))
	}
	return all
}

// swapped is a key whose first prime is the smaller, or the greater.
func swapped(private *rsa.PrivateKey) *rsa.PrivateKey {
	other := &rsa.PrivateKey{PublicKey: private.PublicKey, D: private.D, Primes: []*big.Int{private.Primes[1], private.Primes[0]}}
	other.Precompute()
	return other
}

// keysOf are a key for each of this processor's instructions.
func keysOf(t testing.TB, private *rsa.PrivateKey) (all []*Key) {
	t.Helper()
	for _, instructions := range available(t) {
		key, err := NewKey(NumbersOf(private), instructions)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key)
	}
	return all
}

func available(t testing.TB) []Instructions {
	t.Helper()
	switch Best() {
	case IFMA:
		return []Instructions{AVX2, IFMA}
	case AVX2:
		t.Log("a processor with AVX-512 IFMA is missing: its code is not tested")
		return []Instructions{AVX2}
	}
	t.Skip("a processor with AVX2 is missing")
	return nil
}

// The private operation of any number below the modulus, against math/big.
func TestExponentiate(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []*rsa.PrivateKey{private, swapped(private)} {
			for _, key := range keysOf(t, private) {
				key.checkAll(t, private, numbers(t, private.N), private.D)
			}
		}
	}
}

func (k *Key) checkAll(t testing.TB, private *rsa.PrivateKey, blocks [][]byte, d *big.Int) {
	t.Helper()
	// A prime itself and its multiples are zero in one lane.
	for _, p := range private.Primes {
		blocks = append(blocks, p.FillBytes(make([]byte, k.size)), new(big.Int).Sub(private.N, p).FillBytes(make([]byte, k.size)))
	}
	const some = 5 // four at once, and one
	for at := 0; at < len(blocks); at += some {
		for _, batch := range [][][]byte{blocks[at:min(at+some, len(blocks))], blocks[at : at+1]} {
			got, err := k.exponentiate(batch)
			if err != nil {
				t.Fatal(err)
			}
			for i, block := range batch {
				want := new(big.Int).Exp(new(big.Int).SetBytes(block), d, private.N).FillBytes(make([]byte, k.size))
				if !bytes.Equal(got[i], want) {
					t.Errorf("%d bits, %d of %d: %x to the d is wrong", 8*k.size, i, len(batch), block[:8])
				}
			}
		}
	}
}

// Products and squares of numbers at the bounds of the limbs, which an exponentiation
// hardly ever meets, against math/big. They are below four times the modulus, as sums and
// products of what is nearly reduced are.
func TestProducts(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keysOf(t, private) {
			forms := []*form{key.alone()}
			if key.four != nil {
				forms = append(forms, key.four())
			}
			for _, f := range forms {
				newLanes(key, f).checkProducts(t, private)
			}
		}
	}
}

func (v *lanes) checkProducts(t *testing.T, private *rsa.PrivateKey) {
	t.Helper()
	full := v.mask()
	for _, fill := range []func(limb int) uint64{
		func(int) uint64 { return 0 },
		func(int) uint64 { return full },
		func(limb int) uint64 { return full * uint64(limb&1) },
		func(limb int) uint64 { return full * uint64(limb/5&1) },
		func(int) uint64 {
			x, err := rand.Int(rand.Reader, big.NewInt(int64(full)+1))
			if err != nil {
				t.Fatal(err)
			}
			return x.Uint64()
		},
	} {
		room := private.Primes[0].BitLen() + 1 // bits
		for i := range v.limbs() {
			for number := range v.numbers() {
				at, mask := v.at(number, i), full>>max(0, min(v.radix*(i+1)-room, v.radix))
				v.x[at], v.chosen[at] = fill(i)&mask, fill(i)&mask
			}
		}
		v.square(&v.modulus, v.y, v.x)
		v.checkProduct(t, private, v.x, v.x)
		v.multiply(&v.modulus, v.y, v.x, v.chosen)
		v.checkProduct(t, private, v.x, v.chosen)
	}
}

// TestCarries multiplies modulo numbers of long runs of ones and zeros, in which carries
// run through all limbs. They are no primes, which multiplying does not need.
func TestCarries(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	runs := func(octets int) *big.Int {
		b := make([]byte, octets)
		for at := 0; at < octets; {
			value := []byte{0, 0xff, 0xff, byte(random.Uint32())}[random.IntN(4)]
			for end := at + 1 + random.IntN(octets); at < min(end, octets); at++ {
				b[at] = value
			}
		}
		return new(big.Int).SetBytes(b)
	}
	for _, instructions := range available(t) {
		for _, octets := range []int{128, 192, 256} {
			codes := []code{codeForOne(instructions, octets)}
			if instructions == IFMA {
				codes = append(codes, codeForFour(octets))
			}
			for _, c := range codes {
				for range 300 {
					private := &rsa.PrivateKey{Primes: []*big.Int{runs(octets), runs(octets)}}
					f := &form{code: c}
					for i, n := range private.Primes {
						n.SetBit(n, 0, 1).SetBit(n, 8*octets-1, 1)
						m, err := bigmod.NewModulus(n.Bytes())
						if err != nil {
							t.Fatal(err)
						}
						f.primes[i] = f.prime(m, n.Bytes())
					}
					v := newLanes(&Key{}, f)
					for number := range v.numbers() {
						for _, vectors := range [][]uint64{v.x, v.chosen} {
							v.set(vectors, number, v.toLimbs(runs(octets).Bytes(), v.limbs()))
						}
					}
					v.square(&v.modulus, v.y, v.x)
					v.checkProduct(t, private, v.x, v.x)
					v.multiply(&v.modulus, v.y, v.x, v.chosen)
					v.checkProduct(t, private, v.x, v.chosen)
					// By one: the result is a number of runs.
					v.multiply(&v.modulus, v.y, v.x, v.one)
					v.checkProduct(t, private, v.x, v.one)
				}
			}
		}
	}
}

// checkProduct holds y R against a b, number by number. Limbs of 28 bits may be a little
// greater.
func (v *lanes) checkProduct(t *testing.T, private *rsa.PrivateKey, a, b []uint64) {
	t.Helper()
	most := v.mask()
	if v.radix == 28 {
		most += 1 << 10
	}
	value := func(vectors []uint64, number int) *big.Int {
		sum := new(big.Int)
		for i := v.limbs() - 1; i >= 0; i-- {
			limb := vectors[v.at(number, i)]
			if limb > most {
				t.Fatalf("limb %d is %x", i, limb)
			}
			sum.Add(sum.Lsh(sum, uint(v.radix)), new(big.Int).SetUint64(limb))
		}
		return sum
	}
	for number := range v.numbers() {
		prime := private.Primes[number%2]
		got := value(v.y, number)
		if got.Cmp(new(big.Int).Lsh(prime, 1)) >= 0 {
			t.Errorf("%d limbs, number %d of %d: not below twice the modulus", v.limbs(), number, v.numbers())
		}
		got.Lsh(got, uint(v.radix*v.digits))
		want := new(big.Int).Mul(value(a, number), value(b, number))
		if got.Sub(got, want).Mod(got, prime).Sign() != 0 {
			t.Errorf("%d limbs, number %d of %d: a wrong product", v.limbs(), number, v.numbers())
		}
	}
}

// Exponents with long runs of zeros and ones. They need not belong to the public key
// here, where nothing is checked with it.
func TestOddExponents(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	one := big.NewInt(1)
	for _, d := range []*big.Int{
		one, big.NewInt(3), big.NewInt(31), big.NewInt(32),
		new(big.Int).Lsh(one, 1000), new(big.Int).Sub(new(big.Int).Lsh(one, 1000), one),
		new(big.Int).Sub(new(big.Int).Lsh(one, 700), new(big.Int).Lsh(one, 300)),
	} {
		odd := *private
		odd.D = d
		odd.Precomputed.Dp = new(big.Int).Mod(d, new(big.Int).Sub(private.Primes[0], one))
		odd.Precomputed.Dq = new(big.Int).Mod(d, new(big.Int).Sub(private.Primes[1], one))
		for _, key := range keysOf(t, &odd) {
			key.checkAll(t, &odd, numbers(t, private.N), d)
		}
	}
}

// A result that is wrong does not leave: crypto/rsa signs instead.
func TestFault(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, instructions := range available(t) {
		signer, err := NewSigner(NumbersOf(private), instructions, func() (*rsa.PrivateKey, error) { return private, nil })
		if err != nil {
			t.Fatal(err)
		}
		info := bytes.Repeat([]byte{7}, 51)
		want, err := signer.Sign(info)
		if err != nil || signer.Faults() != 0 {
			t.Fatal(err, signer.Faults())
		}
		signer.key.exponents[0][3] ^= 1
		if _, err := signer.key.Sign(info); err != ErrFault {
			t.Errorf("%s: a wrong exponent: %v", instructions, err)
		}
		got, err := signer.Sign(info)
		if err != nil || !bytes.Equal(got, want) || signer.Faults() != 1 {
			t.Errorf("%s: %v, %d faults", instructions, err, signer.Faults())
		}
	}
}

func TestLimbs(t *testing.T) {
	for _, radix := range []int{28, 52} {
		c := code{radix: radix}
		for size := 1; size < 300; size++ {
			octets := make([]byte, size)
			rand.Read(octets)
			limbs := c.toLimbs(octets, 8*size/radix+1)
			sum := new(big.Int)
			for i, limb := range limbs {
				if limb > c.mask() {
					t.Fatalf("%d octets: limb %d is %x", size, i, limb)
				}
				sum.Add(sum, new(big.Int).Lsh(new(big.Int).SetUint64(limb), uint(radix*i)))
			}
			if sum.Cmp(new(big.Int).SetBytes(octets)) != 0 || !bytes.Equal(c.fromLimbs(limbs, size), octets) {
				t.Errorf("%d octets are not those limbs", size)
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	bare := &rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D, Primes: good.Primes}
	three := *good
	three.Primes = append([]*big.Int{big.NewInt(3)}, good.Primes...)
	even := *good
	even.Primes = []*big.Int{new(big.Int).Add(good.Primes[0], big.NewInt(1)), good.Primes[1]}
	for name, key := range map[string]*rsa.PrivateKey{"1024 bits": small, "without CRT values": bare, "three primes": &three, "an even prime": &even} {
		for _, instructions := range available(t) {
			if _, err := NewKey(NumbersOf(key), instructions); err == nil {
				t.Errorf("%s, %s: taken", name, instructions)
			}
		}
	}
}

// FuzzExponentiate holds any block and any exponents against math/big.
func FuzzExponentiate(f *testing.F) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{1}, []byte{3})
	f.Fuzz(func(t *testing.T, block, exponent []byte) {
		d := new(big.Int).SetBytes(exponent)
		d.SetBit(d.Mod(d, private.N), 0, 1)
		odd := *private
		odd.Precomputed.Dp = new(big.Int).Mod(d, new(big.Int).Sub(private.Primes[0], big.NewInt(1)))
		odd.Precomputed.Dq = new(big.Int).Mod(d, new(big.Int).Sub(private.Primes[1], big.NewInt(1)))
		if odd.Precomputed.Dp.Sign() == 0 || odd.Precomputed.Dq.Sign() == 0 {
			return
		}
		x := new(big.Int).SetBytes(block)
		x.Mod(x, private.N)
		for _, key := range keysOf(t, &odd) {
			key.checkAll(t, &odd, [][]byte{x.FillBytes(make([]byte, key.size))}, d)
		}
	})
}
