package kernel

import (
	"testing"
	"time"

	"sign-file/test/kernel/vector"
	"sign-file/test/vm"
)

// bootTimeout is far above what the longest boot takes on a busy machine.
const bootTimeout = 20 * time.Minute

// TestVerdicts asks each kernel, in one boot, all that is made by hand.
func TestVerdicts(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k)
			b.offer()
			b.load(b.modules)
			b.enforce()
			b.load(b.enforced)
			b.loadCompressed()
			b.golden()
			b.values()
			b.cms()
			b.system()
			b.boot()
		})
	}
}

// enforce switches sig_enforce on for all that follows.
func (b *bench) enforce() {
	b.ask(vector.Vector{Name: "sig_enforce", Kind: vector.Enforce}, nil)
}

// offer puts certificates to add_key.
func (b *bench) offer() {
	for i, der := range certificates(b.T) {
		b.ask(vector.Vector{Name: sprint("certificate ", i), Kind: vector.Certificate, Data: der}, b.rings["nobody"])
	}
}
