package rsalanes

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
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

// The private operation of any number below the modulus, against math/big.
func TestExponentiate(t *testing.T) {
	if !Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
	for _, bits := range []int{2048, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []*rsa.PrivateKey{private, swapped(private)} {
			key, err := NewKey(NumbersOf(private))
			if err != nil {
				t.Fatal(err)
			}
			key.checkAll(t, private, numbers(t, private.N), private.D)
		}
	}
}

func (k *Key) checkAll(t testing.TB, private *rsa.PrivateKey, blocks [][]byte, d *big.Int) {
	t.Helper()
	// A prime itself and its multiples are zero in one lane.
	for _, p := range private.Primes {
		blocks = append(blocks, p.FillBytes(make([]byte, k.size)), new(big.Int).Sub(private.N, p).FillBytes(make([]byte, k.size)))
	}
	for at := 0; at < len(blocks); at += Batch {
		for _, batch := range [][][]byte{blocks[at:min(at+Batch, len(blocks))], blocks[at : at+1]} {
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
	if !Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
	for _, bits := range []int{2048, 3072, 4096} {
		private, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		key, err := NewKey(NumbersOf(private))
		if err != nil {
			t.Fatal(err)
		}
		for _, signatures := range []int{1, Batch} {
			v := newLanes(key, signatures)
			for _, fill := range []func(limb int) uint64{
				func(int) uint64 { return 0 },
				func(int) uint64 { return limbMask },
				func(limb int) uint64 { return limbMask * uint64(limb&1) },
				func(limb int) uint64 { return limbMask * uint64(limb/rows&1) },
				func(int) uint64 {
					x, err := rand.Int(rand.Reader, big.NewInt(limbMask+1))
					if err != nil {
						t.Fatal(err)
					}
					return x.Uint64()
				},
			} {
				top := uint64(1)<<(bits/2+1-radix*(key.limbs-1)) - 1
				for i := range v.x {
					v.x[i], v.chosen[i] = fill(i/v.count), fill(i/v.count)
					if i/v.count == key.limbs-1 {
						v.x[i], v.chosen[i] = v.x[i]&top, v.chosen[i]&top
					}
				}
				v.square(v.y, v.x)
				v.checkProduct(t, private, v.x, v.x)
				v.multiply(v.y, v.x, v.chosen)
				v.checkProduct(t, private, v.x, v.chosen)
			}
		}
	}
}

// checkProduct holds y R against a b, lane by lane.
func (v *lanes) checkProduct(t *testing.T, private *rsa.PrivateKey, a, b []uint64) {
	t.Helper()
	value := func(vector []uint64, lane int) *big.Int {
		sum := new(big.Int)
		for i := v.key.limbs - 1; i >= 0; i-- {
			limb := vector[i*v.count+lane]
			if limb > limbMask {
				t.Fatalf("limb %d is %x", i, limb)
			}
			sum.Add(sum.Lsh(sum, radix), new(big.Int).SetUint64(limb))
		}
		return sum
	}
	for lane := range v.count {
		got := value(v.y, lane)
		got.Lsh(got, uint(radix*v.key.limbs))
		want := new(big.Int).Mul(value(a, lane), value(b, lane))
		if got.Sub(got, want).Mod(got, private.Primes[lane%2]).Sign() != 0 {
			t.Errorf("%d limbs, lane %d of %d: a wrong product", v.key.limbs, lane, v.count)
		}
	}
}

// Exponents with long runs of zeros and ones. They need not belong to the public key
// here, where nothing is checked with it.
func TestOddExponents(t *testing.T) {
	if !Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
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
		key, err := NewKey(NumbersOf(&odd))
		if err != nil {
			t.Fatal(err)
		}
		key.checkAll(t, &odd, numbers(t, private.N), d)
	}
}

// A result that is wrong does not leave: crypto/rsa signs instead.
func TestFault(t *testing.T) {
	if !Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(NumbersOf(private), func() (*rsa.PrivateKey, error) { return private, nil })
	if err != nil {
		t.Fatal(err)
	}
	info := bytes.Repeat([]byte{7}, 51)
	want, err := signer.Sign(info)
	if err != nil || signer.Faults() != 0 {
		t.Fatal(err, signer.Faults())
	}
	signer.key.primes[0].exponent[3] ^= 1
	if _, err := signer.key.Sign(info); err != ErrFault {
		t.Errorf("a wrong exponent: %v", err)
	}
	got, err := signer.Sign(info)
	if err != nil || !bytes.Equal(got, want) || signer.Faults() != 1 {
		t.Errorf("%v, %d faults", err, signer.Faults())
	}
}

func TestLimbs(t *testing.T) {
	for size := 1; size < 300; size++ {
		octets := make([]byte, size)
		rand.Read(octets)
		limbs := toLimbs(octets, 8*size/radix+1)
		sum := new(big.Int)
		for i, limb := range limbs {
			if limb > limbMask {
				t.Fatalf("%d octets: limb %d is %x", size, i, limb)
			}
			sum.Add(sum, new(big.Int).Lsh(new(big.Int).SetUint64(limb), uint(radix*i)))
		}
		if sum.Cmp(new(big.Int).SetBytes(octets)) != 0 || !bytes.Equal(fromLimbs(limbs, size), octets) {
			t.Errorf("%d octets are not those limbs", size)
		}
	}
}

func TestUnsupported(t *testing.T) {
	if !Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
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
		if _, err := NewKey(NumbersOf(key)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzExponentiate holds any block and any exponents against math/big.
func FuzzExponentiate(f *testing.F) {
	if !Supported() {
		f.Skip("a processor with AVX-512 IFMA is missing")
	}
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
		key, err := NewKey(NumbersOf(&odd))
		if err != nil {
			t.Fatal(err)
		}
		x := new(big.Int).SetBytes(block)
		key.checkAll(t, &odd, [][]byte{x.Mod(x, private.N).FillBytes(make([]byte, key.size))}, d)
	})
}
