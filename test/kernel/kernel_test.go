// Package kernel holds package kernel against booted kernels: two judges of the
// same bytes, and neither's answer stands here.
package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/test/kernel/vector"
	"sign-file/test/vm"
)

// trial is a vector with the judge that has to foretell its answer.
type trial struct {
	vector.Vector
	judge *kernel.Judge
	// inside is the module itself, where Data is compressed.
	inside []byte
}

// bench is one kernel, on both sides: what the machine trusts, the judges are told.
type bench struct {
	*testing.T
	kernel   vm.Kernel
	db       [][]byte // UEFI db
	keyrings []vector.Keyring
	files    []vm.File // for the machine's root directory
	cmdline  string
	trials   []trial

	modules, enforced *kernel.Judge // init_module without and with sig_enforce
	// rings judge messages by the name of the keyring, systems by the number.
	rings   map[string]*kernel.Judge
	systems map[uint64]*kernel.Judge
}

// everyone is the keyring with all test certificates.
const everyone = "everyone"

func newBench(t *testing.T, k vm.Kernel, fips bool) *bench {
	rules := rulesOf(t, k.Config())
	b := &bench{T: t, kernel: k}
	if fips {
		rules.FIPS, b.cmdline = true, "fips=1"
	}
	b.trustDB(rules)
	b.rings = map[string]*kernel.Judge{}
	b.ring(rules, everyone, certificates(t)...)
	b.ring(rules, "rsa2048", testKey(t, "rsa2048.x509"))
	b.ring(rules, "nobody")
	return b
}

// trustDB makes the judges of the kernel's own keyrings: what is built in, and what we
// put into db.
func (b *bench) trustDB(rules *kernel.Kernel) {
	b.db = [][]byte{testKey(b.T, "rsa2048.x509"), testKey(b.T, "p384.x509")}
	builtin, platform, modules := b.builtin(), &kernel.Ring{}, b.builtin()
	addTrusted(b.T, platform, b.db...)
	addTrusted(b.T, modules, b.db...) // Debian's kernels look into .platform too
	b.modules = kernel.NewJudge(rules, modules, kernel.Module)
	enforcing := *rules
	enforcing.Enforce = true
	b.enforced = kernel.NewJudge(&enforcing, modules, kernel.Module)
	secondary := kernel.NewJudge(rules, builtin, kernel.MapValue)
	b.systems = map[uint64]*kernel.Judge{
		vector.Builtin: secondary, vector.Secondary: secondary,
		vector.Platform: kernel.NewJudge(rules, platform, kernel.MapValue),
	}
}

// builtin trusts what is built into the kernel.
func (b *bench) builtin() *kernel.Ring {
	b.Helper()
	ring := &kernel.Ring{}
	if _, err := trust.Load(ring, b.kernel.Image()); err != nil {
		b.Fatal(err)
	}
	return ring
}

func rulesOf(t *testing.T, config string) *kernel.Kernel {
	t.Helper()
	rules, err := kernel.OfConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	rules.NoAutoload = true // the machine has no modprobe
	return rules
}

// ring makes a keyring on both sides.
func (b *bench) ring(rules *kernel.Kernel, name string, certificates ...[]byte) {
	b.keyrings = append(b.keyrings, vector.Keyring{Name: name, Certificates: certificates})
	ring := &kernel.Ring{}
	addTrusted(b.T, ring, certificates...)
	b.rings[name] = kernel.NewJudge(rules, ring, kernel.MapValue)
}

func addTrusted(t *testing.T, ring *kernel.Ring, certificates ...[]byte) {
	t.Helper()
	for _, der := range certificates {
		c, err := certificate.First(der)
		if err != nil {
			t.Fatal(err)
		}
		ring.Add(c)
	}
}

func testKey(t testing.TB, name string) []byte { return read(t, "../../testdata/keys/"+name) }

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// certificateOf reads a certificate of a test key.
func certificateOf(t testing.TB, name string) []byte {
	t.Helper()
	c, err := certificate.First(testKey(t, name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Raw
}

// certificates are those of the test keys, and of the odd ones that have one.
func certificates(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, pattern := range []string{"*.x509", "odd/*.pem"} {
		files, err := filepath.Glob("../../testdata/keys/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no certificates %s: %v", pattern, err)
		}
		for _, file := range files {
			if c, err := certificate.First(read(t, file)); err == nil {
				all = append(all, c.Raw)
			}
		}
	}
	return all
}

// judgeOf finds who foretells the answer to a message.
func (b *bench) judgeOf(v vector.Vector) *kernel.Judge {
	if v.Keyring != "" {
		return b.rings[v.Keyring]
	}
	return b.systems[v.System]
}

func (b *bench) ask(v vector.Vector, judge *kernel.Judge) {
	b.trials = append(b.trials, trial{Vector: v, judge: judge})
}

// message asks about a Value or Detached.
func (b *bench) message(v vector.Vector) { b.ask(v, b.judgeOf(v)) }

// foretell is what package kernel says.
func (t trial) foretell() (*kernel.Verdict, error) {
	data, signature := t.Patched()
	if t.Flags == moduleCompressed && t.inside == nil {
		return t.judge.PackedModule(bytes.NewReader(data), int64(len(data)))
	}
	if t.Flags == moduleCompressed {
		return t.judge.CompressedModule(bytes.NewReader(data), int64(len(data)), bytes.NewReader(t.inside), int64(len(t.inside)))
	}
	if t.inside != nil {
		data = t.inside
	}
	switch t.Kind {
	case vector.Module, vector.Insmod:
		return t.judge.Module(bytes.NewReader(data), int64(len(data)))
	case vector.Value:
		return t.judge.MapValue(data)
	case vector.Detached:
		return t.judge.Message(signature, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
	case vector.Certificate:
		return t.judge.Certificate(data)
	}
	return nil, fmt.Errorf("nobody judges a %s", t.Kind)
}

// boot puts all trials to the kernel, and compares.
func (b *bench) boot() {
	b.Helper()
	job := vector.Job{Keyrings: b.keyrings}
	for _, t := range b.trials {
		job.Vectors = append(job.Vectors, t.Vector)
	}
	var packed bytes.Buffer
	if err := job.Write(&packed); err != nil {
		b.Fatal(err)
	}
	reports := vm.Boot(b.T, b.kernel, vm.Options{
		Init:  "sign-file/test/kernel/init",
		Files: append(b.files, vm.File{Name: vector.File, Data: packed.Bytes()}),
		DB:    b.db, Cmdline: b.cmdline, Timeout: bootTimeout,
	})
	if len(reports) != len(b.trials) {
		b.Fatalf("%d answers to %d questions", len(reports), len(b.trials))
	}
	b.compare(reports)
}

func (b *bench) compare(reports []json.RawMessage) {
	b.Helper()
	accepted, bad := 0, 0
	answers := map[string]vector.Result{}
	for i, t := range b.trials {
		var r vector.Result
		if err := json.Unmarshal(reports[i], &r); err != nil {
			b.Fatal(err)
		}
		if r.Name != t.Name {
			b.Fatalf("an answer to %q for the question %q", r.Name, t.Name)
		}
		if t.Kind == vector.Enforce {
			continue
		}
		if _, again := answers[r.Name]; !again { // before digests
			answers[r.Name] = r
		}
		if r.Errno == 0 {
			accepted++
		}
		v, err := t.foretell()
		if err != nil {
			b.Errorf("%s: %v", t.Name, err)
			continue
		}
		if what := differs(t.Kind, v, r); what != "" {
			if bad++; bad <= maxDifferences {
				b.Errorf("%s %s: %s (%s from %s)", t.Kind, t.Name, what, v.Reason, v.Func)
			}
		}
	}
	b.comparePublished(answers)
	b.Logf("%s: %d trials, %d accepted by the kernel, %d differences", b.kernel.Release, len(b.trials), accepted, bad)
}

// maxDifferences bounds the output of a test that fails.
const maxDifferences = 200

// differs says in what a kernel's answer differs from what was foretold.
func differs(kind vector.Kind, v *kernel.Verdict, r vector.Result) string {
	want, loads := v.Errno, kind == vector.Module || kind == vector.Insmod
	if loads {
		want = v.LoadErrno
	}
	switch {
	case r.Errno != want:
		return fmt.Sprintf("the kernel says %s, keyring %s", name(r.Errno), name(want))
	case loads && strings.Contains(r.Taint, "E") != v.Taints:
		return fmt.Sprintf("the module's taint is %q, keyring says %v", r.Taint, v.Taints)
	case kind == vector.Value && v.Func == "mod_check_sig":
		// No released kernel has the trailer of a value in its hands: the init decided.
	case v.Log != "" && !v.Taints && !logged(r.Log, v.Log):
		return fmt.Sprintf("the kernel logged %q, keyring says %q", r.Log, v.Log)
	case v.Log == "" && logged(r.Log, "Loading of "):
		return fmt.Sprintf("the kernel logged %q, keyring says nothing", r.Log)
	}
	return ""
}

func logged(log []string, text string) bool {
	return slices.ContainsFunc(log, func(line string) bool { return strings.Contains(line, text) })
}

func name(e syscall.Errno) string {
	if e == 0 {
		return "OK"
	}
	return unix.ErrnoName(e)
}
