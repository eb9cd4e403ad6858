//go:build timing

package rsalanes

import (
	"crypto/rand"
	"crypto/rsa"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTiming compares the times of two classes of work as dudect does: one exponentiation
// of a fixed block against those of random ones, and one with exponents of few bits
// against one with exponents of many. It is no proof, and it needs a quiet machine: make
// timing, by hand.
func TestTiming(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, instructions := range available(t) {
		key, err := NewKey(NumbersOf(private), instructions)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(string(instructions), func(t *testing.T) { key.timing(t, private) })
	}
}

func (k *Key) timing(t *testing.T, private *rsa.PrivateKey) {
	t.Helper()
	random := func() []byte {
		x, err := rand.Int(rand.Reader, private.N)
		if err != nil {
			t.Fatal(err)
		}
		return x.FillBytes(make([]byte, k.size))
	}
	fixed := big.NewInt(2).FillBytes(make([]byte, k.size))
	report(t, "blocks", func(class int) (*Key, []byte) {
		if class == 0 {
			return k, fixed
		}
		return k, random()
	})
	few, many := *k, *k
	for i := range few.exponents {
		few.exponents[i] = make([]byte, len(k.exponents[i]))
		many.exponents[i] = slices.Repeat([]byte{tableSize - 1}, len(k.exponents[i]))
	}
	report(t, "exponents", func(class int) (*Key, []byte) {
		return []*Key{&few, &many}[class], fixed
	})
}

// report measures two classes in random order, and prints Welch's t of what is below the
// ninth decile: above 5 there is something to look at.
func report(t *testing.T, what string, prepare func(class int) (*Key, []byte)) {
	t.Helper()
	const rounds = 20000
	var times [2][]float64
	for range rounds {
		class := mathrand.IntN(2)
		key, block := prepare(class)
		start := time.Now()
		if _, err := key.exponentiate([][]byte{block}); err != nil {
			t.Fatal(err)
		}
		times[class] = append(times[class], float64(time.Since(start)))
	}
	var mean, variance [2]float64
	for class, all := range times {
		slices.Sort(all)
		all = all[:len(all)*9/10]
		for _, x := range all {
			mean[class] += x / float64(len(all))
		}
		for _, x := range all {
			variance[class] += (x - mean[class]) * (x - mean[class]) / float64(len(all)) / float64(len(all))
		}
	}
	welch := (mean[0] - mean[1]) / math.Sqrt(variance[0]+variance[1])
	t.Logf("%s: %.0f and %.0f ns, t = %.1f", what, mean[0], mean[1], welch)
}
