package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/gate"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/mapvalue"
	"sign-file/signfile"
)

// inMachine skips a test that must not run on the kernel that everything else
// depends on: test/kernel boots one for it.
func inMachine(t testing.TB) {
	t.Helper()
	if os.Getenv("SIGN_FILE_IN_MACHINE") == "" {
		t.Skip("runs in a virtual machine only: make test-kernel")
	}
}

// testKey is the path of a file of a key pair of testdata without its suffix: the
// machine has them in its root directory.
func testKey(name string) string { return "/" + name }

func readCertificate(t testing.TB, name string) *certificate.Certificate {
	t.Helper()
	data, err := os.ReadFile(testKey(name) + ".x509")
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.First(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sign makes a map value with a key of testdata.
func sign(t testing.TB, name, hash, data string) []byte {
	t.Helper()
	key, err := keys.Open(context.Background(), testKey(name)+".key", nil)
	if err != nil {
		t.Fatal(err)
	}
	algorithm, err := digest.Lookup(hash)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: readCertificate(t, name), Digest: algorithm})
	if err != nil {
		t.Fatal(err)
	}
	var signed bytes.Buffer
	if err := signer.Sign(context.Background(), &signed, bytes.NewReader([]byte(data))); err != nil {
		t.Fatal(err)
	}
	value, err := mapvalue.Encode(signed.Bytes(), []byte("unverified"), valueSize)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

const valueSize = 2048

func release() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}

// atLeast tells the running kernel's version.
func atLeast(major, minor int) bool {
	var x, y int
	fmt.Sscanf(release(), "%d.%d", &x, &y)
	return x > major || x == major && y >= minor
}

// triggers are those that the running kernel has.
func triggers() []gate.Trigger {
	if atLeast(6, 18) {
		return []gate.Trigger{gate.Program, gate.Inbox}
	}
	return []gate.Trigger{gate.Inbox}
}

// forEachTrigger creates a gate for each trigger, and takes it down at the end.
func forEachTrigger(t *testing.T, spec gate.Spec, test func(*testing.T, *gate.Gate, *gate.Loader)) {
	inMachine(t)
	for _, trigger := range triggers() {
		t.Run(trigger.String(), func(t *testing.T) {
			spec.Trigger = trigger
			spec.Name = "test"
			if err := gate.Create(gate.DefaultDir, spec); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := gate.Remove(gate.DefaultDir, spec.Name); err != nil {
					t.Error(err)
				}
			})
			g, err := gate.Open(gate.DefaultDir, spec.Name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { g.Close() })
			l, err := g.Loader()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			test(t, g, l)
		})
	}
}

func trusting(t testing.TB, names ...string) gate.Spec {
	inMachine(t)
	s := gate.Spec{KeySize: 4, ValueSize: valueSize, MaxEntries: 16}
	for _, name := range names {
		s.Keyring.Certificates = append(s.Keyring.Certificates, readCertificate(t, name))
	}
	return s
}

// newJudge is package kernel as the running kernel.
func newJudge(t testing.TB, names ...string) *kernel.Judge {
	t.Helper()
	rules, err := kernel.Of(release())
	if err != nil {
		t.Fatal(err)
	}
	rules.NoAutoload = true // there are no modules in the machine
	var ring kernel.Ring
	for _, name := range names {
		ring.Add(readCertificate(t, name))
	}
	return kernel.NewJudge(rules, &ring, kernel.MapValue)
}

// answer is what the kernel should say of a value: an errno.
func answer(t testing.TB, judge *kernel.Judge, value []byte) syscall.Errno {
	t.Helper()
	verdict, err := judge.MapValue(value)
	if err != nil {
		t.Fatal(err)
	}
	return verdict.Errno
}

func TestPublish(t *testing.T) {
	inMachine(t)
	trusted := []string{"rsa2048", "p256"}
	good := sign(t, "rsa2048", "sha256", "hello")
	flipped := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	size := 4 + len("hello")
	candidates := map[string][]byte{
		"RSA":               good,
		"ECDSA":             sign(t, "p256", "sha256", "hello, hello"), // a module in Debian's 6.1
		"SHA-512":           sign(t, "rsa2048", "sha512", "hello"),
		"unknown key":       sign(t, "rsa3072", "sha256", "hello"),
		"changed data":      flipped(4),
		"changed message":   flipped(size + 1),
		"changed signature": flipped(size + 300),
		"size too large":    flipped(0),
		"size wrong":        flipped(3),
		"changed tail":      flipped(valueSize - 1),
		"zeros":             make([]byte, valueSize),
		"one byte":          sign(t, "rsa2048", "sha256", "x"),
	}
	judge := newJudge(t, trusted...)
	forEachTrigger(t, trusting(t, trusted...), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		key := uint32(0)
		for name, value := range candidates {
			key++
			k := []byte{byte(key), 0, 0, 0}
			want := answer(t, judge, value)
			err := l.Publish(k, value)
			var errno syscall.Errno
			errors.As(err, &errno)
			if errno != want {
				t.Errorf("%s: %v, and package kernel expects %v", name, err, want)
			}
			entries, err := g.Entries()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, e := range entries {
				if !bytes.Equal(e.Key, k) {
					continue
				}
				found = true
				v, err := mapvalue.Decode(value)
				if err != nil || !bytes.HasPrefix(e.Value, value[:4+len(v.Signed)]) || !bytes.Equal(e.Data, v.Data) {
					t.Errorf("%s: published %d bytes %.40q", name, len(e.Data), e.Value)
				}
				if rest := e.Value[4+len(v.Signed):]; !bytes.Equal(rest, make([]byte, len(rest))) {
					t.Errorf("%s: the tail is published", name)
				}
			}
			if found != (want == 0) {
				t.Errorf("%s: published: %v", name, found)
			}
		}
	})
}

// Every message that the real sign-file has made for testdata, as map values, and every
// single-bit flip of one of them: the gate says what package kernel expects.
func TestVectors(t *testing.T) {
	inMachine(t)
	module, err := os.ReadFile("/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	messages, _ := filepath.Glob("/*.p7s")
	if len(messages) < 60 {
		t.Fatalf("%d messages", len(messages))
	}
	vectors := map[string][]byte{}
	for _, path := range messages {
		message, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, err := signfile.Block(message)
		if err != nil {
			t.Fatal(err)
		}
		if vectors[path], err = mapvalue.Encode(slices.Concat(module, block), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	small := sign(t, "rsa2048", "sha256", "data")[:4+4+446+40]
	for i := range small {
		for bit := range 8 {
			flipped := bytes.Clone(small)
			flipped[i] ^= 1 << bit
			vectors[fmt.Sprintf("bit %d of byte %d", bit, i)] = flipped
		}
	}
	trusted := []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384"}
	spec := trusting(t, trusted...)
	spec.ValueSize, spec.MaxEntries = 16<<10, 1
	forEachTrigger(t, spec, func(t *testing.T, _ *gate.Gate, l *gate.Loader) {
		judge := newJudge(t, trusted...)
		accepted := 0
		for name, value := range vectors {
			padded := append(bytes.Clone(value), make([]byte, int(spec.ValueSize)-len(value))...)
			var errno syscall.Errno
			err := l.Publish(make([]byte, 4), value)
			errors.As(err, &errno)
			if want := answer(t, judge, padded); errno != want {
				t.Errorf("%s: %v, and package kernel expects %v", name, err, want)
			}
			if err == nil {
				accepted++
			}
		}
		t.Logf("%d vectors, %d accepted", len(vectors), accepted)
	})
}

// The command line, as a system's owner would use it.
func TestCommands(t *testing.T) {
	inMachine(t)
	command := func(stdin string, args ...string) (string, error) {
		cmd := exec.Command("/sign-file", append([]string{"map", "gate"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	steps := []struct {
		args  string
		stdin []byte
		fails bool
		want  string // in the output
	}{
		{"list", nil, false, ""},
		{"show policy", nil, true, "no gate policy in /sys/fs/bpf/sign-file"},
		{"create policy --max-entries 4 --trusted /rsa2048.x509", nil, true, "no --value-size"},
		{"create policy --value-size 2048 --max-entries 4", nil, true, "name either --trusted certificates or a --keyring"},
		{"create a/b --value-size 2048 --trusted /rsa2048.x509", nil, true, "want letters"},
		{"create policy --value-size 2048 --max-entries 4 --trusted /rsa2048.x509", nil, false, ""},
		{"create policy --value-size 2048 --max-entries 4 --trusted /rsa2048.x509", nil, true, "already exists"},
		{"load policy 1=-", sign(t, "rsa2048", "sha256", "data"), false, "published as key 1"},
		{"load policy hex:02000000=-", sign(t, "rsa2048", "sha256", "more data"), false, "published"},
		{"load policy hex:0200=-", nil, true, "want 4 bytes in hex"},
		{"load policy 1=-", sign(t, "rsa3072", "sha256", "data"), true, "no certificate in the gate's user keyring"},
		{"load policy 1=-", make([]byte, 2048), true, "ENOENT"},
		{"load --json policy 1=-", make([]byte, 2048), true, `"errno":"ENOENT"`},
		{"load policy 1=/missing", nil, true, "/missing: no such file"},
		{"list", nil, false, "policy: 2 of 4 values of up to 2048 bytes"},
		{"show policy", nil, false, "hex:01000000 generation 1, 4 bytes, signed by"},
		{"show --json policy", nil, false, `"key":"02000000"`},
		{"remove policy", nil, false, ""},
		{"remove policy", nil, true, "no gate policy"},
		{"list", nil, false, ""},
	}
	for _, s := range steps {
		out, err := command(string(s.stdin), strings.Fields(s.args)...)
		if (err != nil) != s.fails || !strings.Contains(out, s.want) || s.want == "" && out != "" {
			t.Errorf("map gate %s: %v, want %q:\n%s", s.args, err, s.want, out)
		}
	}
}

// A module that Debian has signed, as a map value, by the keys that are built into the
// kernel: no keyring of ours is in it.
func TestSystemKeyring(t *testing.T) {
	inMachine(t)
	module, err := os.ReadFile("/dummy.ko")
	if err != nil {
		t.Skipf("no module of the kernel's own: %v", err)
	}
	value, err := mapvalue.Encode(module, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[gate.SystemKeyring]syscall.Errno{gate.Builtin: 0, gate.Secondary: 0, gate.Platform: syscall.ENOKEY}
	for ring, want := range answers {
		t.Run(ring.String(), func(t *testing.T) {
			spec := gate.Spec{KeySize: 4, ValueSize: 128 << 10, MaxEntries: 1, Keyring: gate.Keyring{System: ring}}
			forEachTrigger(t, spec, func(t *testing.T, _ *gate.Gate, l *gate.Loader) {
				var errno syscall.Errno
				err := l.Publish(make([]byte, 4), value)
				if errors.As(err, &errno); errno != want {
					t.Errorf("%v, want errno %d", err, want)
				}
			})
		})
	}
}

// Values a second through the gate, beside the same verification in user space.
func TestThroughput(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, _ *gate.Gate, l *gate.Loader) {
		value := sign(t, "rsa2048", "sha256", "data")
		const n = 200
		start := time.Now()
		for range n {
			if err := l.Publish(make([]byte, 4), value); err != nil {
				t.Fatal(err)
			}
		}
		through := time.Since(start)
		v, err := mapvalue.Decode(value)
		if err != nil {
			t.Fatal(err)
		}
		message, err := cms.Parse(v.Message)
		if err != nil {
			t.Fatal(err)
		}
		cert := readCertificate(t, "rsa2048")
		start = time.Now()
		for range n {
			h := digest.SHA256.New()
			h.Write(v.Data)
			if err := cert.CheckSignature(digest.SHA256, h.Sum(nil), message.Signers[0].Signature); err != nil {
				t.Fatal(err)
			}
		}
		verified := time.Since(start)
		t.Logf("%.0f values a second through the gate, %.0f RSA-2048 verifications in user space",
			n/through.Seconds(), n/verified.Seconds())
	})
}
