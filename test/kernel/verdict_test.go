package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sign-file/kernel"
	"sign-file/test/kernel/vector"
	"sign-file/test/vm"
)

// bootTimeout is far above what the longest boot takes on a busy machine.
const bootTimeout = 20 * time.Minute

// TestVerdicts asks each kernel, in one boot, all that is made by hand.
func TestVerdicts(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k, false)
			b.offer()
			b.load(b.modules)
			b.enforce()
			b.load(b.enforced)
			b.loadCompressed()
			b.loadELF()
			b.golden(everyone)
			b.values()
			b.published()
			b.cms()
			b.displaced()
			b.undigested()
			b.system()
			b.digests()
			b.boot()
		})
	}
}

// TestFIPS asks each kernel, booted with fips=1, about all that is not a module.
func TestFIPS(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k, true)
			b.offer()
			b.golden(everyone)
			b.cms()
			b.boot()
		})
	}
}

// TestLockdown asks each kernel, booted with lockdown=integrity, about modules that it can't
// verify. They are few: the kernel does not log more.
func TestLockdown(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k, false)
			rules := b.modules.Kernel()
			rules.Lockdown, b.cmdline = true, "lockdown=integrity"
			judge := kernel.NewJudge(rules, b.builtin(), kernel.Module)
			plain := strip(t, k.Module(t, "dummy"))
			good := sign(t, plain, "rsa3072", "sha256", false)
			for name, file := range map[string][]byte{
				"Debian's own": k.Module(t, "dummy"), "unsigned": plain, "unknown key": good, "unknown hash": sign(t, plain, "rsa2048", "sm3", false),
				"zeros": attach(plain, make([]byte, 100)),
			} {
				b.ask(vector.Vector{Name: name, Kind: vector.Module, Data: file}, judge)
			}
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

// digests loads what the kernel has as modules, signed by Debian, and asks again
// about all messages: more of them can be verified now.
func (b *bench) digests() {
	for _, name := range []string{"libsha3", "sha3", "sha3_generic", "sha512_generic"} {
		if module := b.kernel.Module(b.T, name); module != nil {
			b.ask(vector.Vector{Name: name, Kind: vector.Module, Data: module, Keep: true}, b.enforced)
		}
	}
	config := string(read(b.T, b.kernel.Config()))
	for _, option := range []string{"SHA3", "SHA512"} {
		config = strings.Replace(config, "\nCONFIG_CRYPTO_"+option+"=m\n", "\nCONFIG_CRYPTO_"+option+"=y\n", 1)
	}
	path := filepath.Join(b.TempDir(), "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	const later = "everyone, later"
	b.ring(rulesOf(b.T, path), later, certificates(b.T)...)
	b.golden(later)
}
