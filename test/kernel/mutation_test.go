package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"sign-file/test/kernel/vector"
	"sign-file/test/vm"
)

// TestBitFlips asks each kernel, in one boot, about every value that differs from a
// good one in one bit, of RSA and of ECDSA.
func TestBitFlips(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k, false)
			data := read(t, "../../testdata/value.bin")
			for _, key := range []string{"rsa2048", "p256"} {
				b.flip(key, sign(t, data, key, "sha256", false))
			}
			b.boot()
		})
	}
}

func (b *bench) flip(name string, file []byte) {
	whole := value(len(file), file, 0)
	for bit := range len(whole) * 8 {
		b.message(vector.Vector{
			Name: fmt.Sprintf("%s, byte %d, bit %d", name, bit/8, bit%8), Kind: vector.Value, Data: whole,
			Patches: []vector.Patch{{Offset: bit / 8, XOR: 1 << (bit % 8)}}, Keyring: everyone,
		})
	}
}

// TestMutations asks each kernel, in one boot, about random mutations of signed
// modules, values, messages and certificates: SIGN_FILE_TEST_MUTATIONS of them, from
// the seed SIGN_FILE_TEST_SEED.
func TestMutations(t *testing.T) {
	count := number(t, "SIGN_FILE_TEST_MUTATIONS", 10000)
	seed := number(t, "SIGN_FILE_TEST_SEED", rand.Uint64())
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			t.Logf("SIGN_FILE_TEST_SEED=%d", seed)
			b := newBench(t, k, false)
			b.enforce()
			m := mutator{bench: b, random: rand.New(rand.NewPCG(seed, 0)), originals: b.originals()}
			for i := range count {
				m.mutate(int(i))
			}
			b.boot()
		})
	}
}

// number reads a number from the environment.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// original is a vector that mutations start from. Most of them change its last bytes
// from soft on, where the signature is.
type original struct {
	vector.Vector
	soft int
}

// originals are as varied as they get: mutations of one find other paths than those of another.
func (b *bench) originals() []original {
	plain := strip(b.T, b.kernel.Module(b.T, "dummy"))
	data := read(b.T, "../../testdata/value.bin")
	var all []original
	for _, key := range []string{"rsa2048", "p384", "rsa3072"} {
		file := sign(b.T, data, key, "sha256", key == "p384")
		all = append(all,
			original{vector.Vector{Name: "module " + key, Kind: vector.Module, Data: sign(b.T, plain, key, "sha256", false)}, len(plain)},
			original{vector.Vector{Name: "value " + key, Kind: vector.Value, Data: value(len(file), file, 8), Keyring: everyone}, 0})
	}
	options := openSSL(b.T)
	for _, name := range sorted(options) {
		all = append(all, original{vector.Vector{
			Name: "message " + name, Kind: vector.Detached, Keyring: everyone,
			Data: data, Signature: signCMS(b.T, data, options[name]...),
		}, len(data)})
	}
	for _, name := range []string{"rsa2048", "p256", "odd/issued-by-ca"} {
		der := certificateOf(b.T, name)
		all = append(all, original{vector.Vector{Name: "certificate " + name, Kind: vector.Certificate, Data: der}, 0})
	}
	return all
}

type mutator struct {
	*bench
	random    *rand.Rand
	originals []original
}

// mutate asks about one mutation: three of four are modules and values.
func (m *mutator) mutate(number int) {
	choice := m.originals[m.random.IntN(len(m.originals))]
	if m.random.IntN(4) != 0 {
		choice = m.originals[m.random.IntN(6)]
	}
	v := choice.Vector
	v.Name = fmt.Sprintf("%d, %s", number, v.Name)
	if m.random.IntN(3) == 0 && v.Kind != vector.Module {
		m.edit(&v)
	} else {
		v.Patches = m.patches(len(v.Data)+len(v.Signature), choice.soft)
	}
	switch v.Kind {
	case vector.Module:
		m.ask(v, m.enforced)
	case vector.Certificate:
		m.ask(v, m.rings["nobody"])
	default:
		m.message(v)
	}
}

// patches changes up to four bytes, near each other or not.
func (m *mutator) patches(size, soft int) []vector.Patch {
	var patches []vector.Patch
	at := m.offset(size, soft)
	for range 1 + m.random.IntN(4) {
		if m.random.IntN(2) == 0 {
			at = m.offset(size, soft)
		} else {
			at = min(at+1, size-1)
		}
		xor := byte(1) << m.random.IntN(8)
		if m.random.IntN(2) == 0 {
			xor = byte(1 + m.random.IntN(255))
		}
		patches = append(patches, vector.Patch{Offset: at, XOR: xor})
	}
	return patches
}

func (m *mutator) offset(size, soft int) int {
	if m.random.IntN(8) == 0 {
		soft = 0
	}
	return soft + m.random.IntN(size-soft)
}

// edit removes, repeats or inserts bytes.
func (m *mutator) edit(v *vector.Vector) {
	part := &v.Data
	if v.Kind == vector.Detached {
		part = &v.Signature
	}
	at := m.random.IntN(len(*part))
	end := min(at+1+m.random.IntN(20), len(*part))
	piece := bytes.Clone((*part)[at:end])
	switch m.random.IntN(4) {
	case 0:
		*part = slices.Concat((*part)[:at], (*part)[end:])
	case 1:
		*part = slices.Concat((*part)[:end], piece, (*part)[end:])
	case 2:
		*part = (*part)[:at]
	default:
		for i := range piece {
			piece[i] = byte(m.random.IntN(256))
		}
		*part = slices.Concat((*part)[:at], piece, (*part)[at:])
	}
}
