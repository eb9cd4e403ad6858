// Package bpf holds package bpf of the program against booted kernels: signed BPF programs
// are loaded there as libbpf does it, by our init and by what gcc makes of the skeletons,
// and the answers are those that were foretold.
package bpf

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/bpf"
	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
	"sign-file/test/bpf/trial"
	"sign-file/test/keystest"
	"sign-file/test/testenv"
	"sign-file/test/vm"
)

const (
	ring    = "everyone"
	other   = "rsa3072"
	empty   = "nobody"
	revoked = "revoked"
	// onToken is p384, on a token.
	onToken = "token"
	// nowhere is the serial number of no keyring.
	nowhere = 0x3737_3737
)

// bench is one kernel and what it is asked.
type bench struct {
	*testing.T
	kernel vm.Kernel
	rules  *kernel.Kernel
	scheme bpf.Scheme
	job    trial.Job
	// want is what has to come of each trial.
	want  []expected
	files []vm.File
}

type expected struct {
	errno syscall.Errno
	where string // empty where the loader does not tell
}

// TestSigned asks each kernel that knows signatures about everything that can be wrong
// with one. SIGN_FILE_TEST_BITS=1 has every bit of a message and of the hash changed, and
// not only every seventeenth.
func TestSigned(t *testing.T) {
	kernels := slices.DeleteFunc(vm.Kernels(t), func(k vm.Kernel) bool {
		rules, err := kernel.Of(k.Release)
		return err != nil || bpf.SchemeOf(rules) == 0
	})
	if len(kernels) == 0 {
		t.Skip("none of the wanted kernels knows signatures of BPF programs")
	}
	for _, k := range kernels {
		t.Run(k.Series, func(t *testing.T) {
			b := newBench(t, k)
			b.keyrings()
			b.bits()
			b.shapes()
			b.sizes()
			b.compiled()
			b.boot()
		})
	}
}

func newBench(t *testing.T, k vm.Kernel) *bench {
	rules, err := kernel.OfConfig(k.Config())
	if err != nil {
		t.Fatal(err)
	}
	rules.NoAutoload = true // the machine has no modprobe
	b := &bench{T: t, kernel: k, rules: rules, scheme: bpf.SchemeOf(rules)}
	all := []string{"rsa2048", "rsa4096", "p384"}
	b.job.Keyrings = []trial.Keyring{
		{Name: ring, Certificates: b.certificates(all...)}, {Name: other, Certificates: b.certificates(other)},
		{Name: empty}, {Name: revoked, Certificates: b.certificates("rsa2048"), Revoked: true},
	}
	return b
}

func (b *bench) certificates(names ...string) [][]byte {
	var all [][]byte
	for _, name := range names {
		c, err := certificate.FromFile("../../testdata/keys/" + name + ".x509")
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, c.Raw)
	}
	return all
}

// judge is who foretells what is verified with a keyring.
func (b *bench) judge(name string) *kernel.Judge {
	var trusted kernel.Ring
	for _, k := range b.job.Keyrings {
		for _, der := range k.Certificates {
			c, err := certificate.Parse(der)
			if err != nil {
				b.Fatal(err)
			}
			if k.Name == name {
				trusted.Add(c)
			}
		}
	}
	return kernel.NewJudgeOf(b.rules, &trusted, kernel.BPF, kernel.Builtin)
}

// skeleton reads one that bpftool has made. Debian's 6.18.15 has no field excl, and
// Debian no bpftool of Linux 6.18 any more: for that kernel it is one of bpftool 7.7.0, or as that
// would have made it, without the check of the field.
func (b *bench) skeleton(object string, scheme bpf.Scheme) *bpf.Skeleton {
	b.Helper()
	s := readSkeleton(b, object, scheme)
	if scheme == bpf.InstructionsAndMap || b.scheme == bpf.InstructionsAndMap {
		return s
	}
	if object == "allowlist" {
		s, err := bpf.ParseSkeleton(read(b, "../../testdata/bpf/allowlist-7.7-rsa2048.lskel.h"))
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s = withoutExclusiveCheck(b, object)
	s.Signature = b.sign(&s.Loader, "rsa2048")
	return s
}

func readSkeleton(t testing.TB, object string, scheme bpf.Scheme) *bpf.Skeleton {
	t.Helper()
	s, err := bpf.ParseSkeleton(skeletonSource(t, object, scheme))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func skeletonSource(t testing.TB, object string, scheme bpf.Scheme) []byte {
	t.Helper()
	name := fmt.Sprintf("%s-%v.lskel.h", object, scheme)
	if object == "allowlist" {
		name = fmt.Sprintf("%s-%v-rsa2048.lskel.h", object, scheme)
	}
	return read(t, "../../testdata/bpf/"+name)
}

// withoutExclusiveCheck takes out the five instructions that read excl: bpftool 7.7
// writes none.
func withoutExclusiveCheck(t testing.TB, object string) *bpf.Skeleton {
	t.Helper()
	s, err := bpf.ParseSkeleton(editSkeleton(t, skeletonSource(t, object, bpf.Instructions)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func editSkeleton(t testing.TB, source []byte) []byte {
	t.Helper()
	s, err := bpf.ParseSkeleton(source)
	if err != nil {
		t.Fatal(err)
	}
	load := []byte{0x61, 0x12, 32, 0, 0, 0, 0, 0} // r2 = *(u32 *)(r1 + 32)
	at := bytes.Index(s.Instructions, load) - 16
	if at < 0 || bytes.Count(s.Instructions, load) != 1 {
		t.Fatal("the loader has no check of excl")
	}
	code := takeOut(s.Instructions, at/8, 5)
	hash := (&bpf.Loader{Instructions: code}).Hash()
	source = replaceArray(t, source, "opts_insn", code)
	return replaceArray(t, source, "opts_excl_hash", hash[:])
}

// takeOut takes instructions out, and lets those behind jump back as far as before.
func takeOut(code []byte, first, count int) []byte {
	const wide, notEqual = 0x18, 0x5d
	out := slices.Concat(code[:8*first], code[8*(first+count):])
	for at := first; at < len(out)/8; at++ {
		insn := out[8*at:]
		class, offset := insn[0]&7, int(int16(binary.LittleEndian.Uint16(insn[2:])))
		if (class == 5 || class == 6) && at+1+offset < first {
			offset += count
			if insn[0] == notEqual {
				offset++ // as before Linux 7.2
			}
			binary.LittleEndian.PutUint16(insn[2:], uint16(int16(offset)))
		}
		if insn[0] == wide {
			at++
		}
	}
	return out
}

// replaceArray replaces an array of a header, as bpftool would write it.
func replaceArray(t testing.TB, source []byte, name string, value []byte) []byte {
	t.Helper()
	array := regexp.MustCompile(`(?s)` + name + `\[\][^"]*"[^"]*"`)
	if len(array.FindAllIndex(source, -1)) != 1 {
		t.Fatalf("not one array %s", name)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s[] __attribute__((__aligned__(8))) = \"\\\n", name)
	column := 0
	for _, c := range value {
		digits := `\0`
		if c != 0 {
			digits = fmt.Sprintf(`\x%02x`, c)
		}
		if column += len(digits); column > 78 {
			text.WriteString("\\\n")
			column = len(digits)
		}
		text.WriteString(digits)
	}
	text.WriteByte('"')
	return array.ReplaceAllLiteral(source, []byte(text.String()))
}

// sign signs with a test key, or with the one on the token.
func (b *bench) sign(l *bpf.Loader, name string) []byte {
	b.Helper()
	signer, done := b.signer(name)
	defer done()
	message, err := l.Sign(b.Context(), signer)
	if err != nil {
		b.Fatal(err)
	}
	return message
}

// signPayload signs for a scheme, whatever the loader was made for.
func (b *bench) signPayload(l *bpf.Loader, scheme bpf.Scheme, name string) []byte {
	b.Helper()
	signer, done := b.signer(name)
	defer done()
	message, err := signer.Detach(b.Context(), bytes.NewReader(l.Payload(scheme)))
	if err != nil {
		b.Fatal(err)
	}
	return message
}

func (b *bench) signer(name string) (*signfile.Signer, func()) {
	b.Helper()
	reference := "../../testdata/keys/" + name + ".key"
	if name == onToken {
		name, reference = "p384", "pkcs11:token=vault;object=p384?pin-value="+keystest.PIN
	}
	key, err := keys.Open(b.Context(), reference, nil)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := certificate.FromFile("../../testdata/keys/" + name + ".x509")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert, Digest: digest.SHA256, UseKeyID: true})
	if err != nil {
		b.Fatal(err)
	}
	return signer, func() { key.Close() }
}

// contextSize is sizeof(struct allowlist) up to its links: bpf_loader_ctx, two maps, one
// program.
const contextSize = 24 + 2*16 + 4

// add adds a loader that trials may name.
func (b *bench) add(l bpf.Loader, contextSize int) int {
	b.job.Loaders = append(b.job.Loaders, trial.Loader{
		Instructions: l.Instructions, Data: l.Data, Signature: l.Signature, ExclusiveHash: l.ExclusiveHash, ContextSize: contextSize,
	})
	return len(b.job.Loaders) - 1
}

// ask adds a trial of a loader, whose outcome package bpf foretells.
func (b *bench) ask(t trial.Trial) {
	b.Helper()
	t.Bind = b.scheme == bpf.InstructionsAndMap
	l := b.job.Loaders[t.Loader].Changed(t.Part, t.Bit)
	if l.EmptySignature {
		l.Signature = []byte{}
	}
	v, err := bpf.Verify(b.judge(t.Keyring), &bpf.Loader{
		Instructions: l.Instructions, Data: l.Data, Signature: l.Signature, ExclusiveHash: l.ExclusiveHash,
	})
	if err != nil {
		b.Errorf("%s: %v", t.Name, err)
		return
	}
	e := expected{v.Errno, "BPF_PROG_LOAD"}
	switch {
	case v.Accepted:
		e.where = ""
	case v.Func == "BPF_PROG_RUN":
		e.where = v.Func
		if l.ContextSize == 0 {
			e = expected{}
		}
	case v.Func == "map_create":
		e.where = "BPF_MAP_CREATE"
	}
	b.expect(t, e)
}

// expect adds a trial with its outcome.
func (b *bench) expect(t trial.Trial, e expected) {
	b.job.Trials = append(b.job.Trials, t)
	b.want = append(b.want, e)
}

// keyrings asks who may have signed.
func (b *bench) keyrings() {
	for _, key := range []string{"rsa2048", "rsa4096", "p384"} {
		s := b.skeleton("allowlist", b.scheme)
		s.Signature = b.sign(&s.Loader, key)
		at := b.add(s.Loader, contextSize)
		for _, name := range []string{ring, other, empty} {
			b.ask(trial.Trial{Name: key + " by " + name, Loader: at, Keyring: name})
		}
		b.expect(trial.Trial{Name: key + ", no keyring", Loader: at, System: nowhere, Bind: b.scheme == bpf.InstructionsAndMap}, expected{syscall.EINVAL, "BPF_PROG_LOAD"})
	}
	b.onToken()
	// Nobody but the kernel knows of revoked keys of a keyring.
	s := b.skeleton("allowlist", b.scheme)
	at := b.add(s.Loader, contextSize)
	b.expect(trial.Trial{Name: "revoked key", Loader: at, Keyring: revoked, Bind: b.scheme == bpf.InstructionsAndMap}, expected{syscall.EKEYREVOKED, "BPF_PROG_LOAD"})
	for id := range int32(3) {
		b.ask(trial.Trial{Name: fmt.Sprint("unknown to system keyring ", id), Loader: at, System: id})
	}
}

// onToken asks about what a key on a token has signed.
func (b *bench) onToken() {
	keystest.NewToken(b.T, "../../testdata", "p384")
	s := b.skeleton("allowlist", b.scheme)
	s.Signature = b.sign(&s.Loader, onToken)
	at := b.add(s.Loader, contextSize)
	b.ask(trial.Trial{Name: "p384 on a token", Loader: at, Keyring: ring})
	b.ask(trial.Trial{Name: "p384 on a token, another key", Loader: at, Keyring: other})
}

// bits changes one bit of everything.
func (b *bench) bits() {
	step := 17
	if os.Getenv("SIGN_FILE_TEST_BITS") != "" {
		step = 1
	}
	s := b.skeleton("allowlist", b.scheme)
	at := b.add(s.Loader, contextSize)
	for _, part := range []struct {
		part trial.Part
		bits int
		step int
	}{
		{trial.Signature, 8 * len(s.Signature), step},
		{trial.ExclusiveHash, 8 * len(s.ExclusiveHash), step},
		{trial.Instructions, 8 * len(s.Instructions), 17 * step},
		{trial.Data, 8 * len(s.Data), 53 * step},
	} {
		for bit := 0; bit < part.bits; bit += part.step {
			b.ask(trial.Trial{Name: fmt.Sprint(part.part, " bit ", bit), Loader: at, Keyring: ring, Part: part.part, Bit: bit})
		}
	}
}

// shapes asks about the other scheme, and about programs with no map.
func (b *bench) shapes() {
	foreign := bpf.Instructions + bpf.InstructionsAndMap - b.scheme
	s := b.skeleton("allowlist", foreign)
	b.ask(trial.Trial{Name: "the other scheme", Loader: b.add(s.Loader, contextSize), Keyring: ring})
	b.ask(trial.Trial{Name: "the other scheme, another key", Loader: b.add(s.Loader, contextSize), Keyring: other})

	if b.scheme == bpf.Instructions {
		s := readSkeleton(b, "allowlist", b.scheme)
		b.ask(trial.Trial{Name: "made for Linux 7.2", Loader: b.add(s.Loader, contextSize), Keyring: ring})
	}

	if b.scheme == bpf.InstructionsAndMap {
		b.unbound()
		b.named()
	}

	bare := bpf.Loader{Instructions: nothing()}
	bare.Signature = b.sign(&bare, "rsa2048")
	b.ask(trial.Trial{Name: "no map", Loader: b.add(bare, 8), Keyring: ring})
	b.ask(trial.Trial{Name: "no map, another key", Loader: b.add(bare, 8), Keyring: other})
	b.ask(trial.Trial{Name: "no map, changed", Loader: b.add(bare, 8), Keyring: ring, Part: trial.Instructions, Bit: 32})
	bare.Signature = b.skeleton("allowlist", b.scheme).Signature
	b.ask(trial.Trial{Name: "no map, another program's signature", Loader: b.add(bare, 8), Keyring: ring})

	s = b.skeleton("allowlist", b.scheme)
	s.Instructions = append(slices.Clone(s.Instructions), 1, 2, 3)
	b.ask(trial.Trial{Name: "bytes behind the instructions", Loader: b.add(s.Loader, contextSize), Keyring: ring})
	at := b.add(s.Loader, contextSize)
	b.job.Loaders[at].EmptySignature = true
	b.ask(trial.Trial{Name: "an empty signature", Loader: at, Keyring: ring})
}

// named asks Linux 7.3 about programs that name what their signature does not cover.
func (b *bench) named() {
	for name, instruction := range map[string][]byte{
		"a map by its descriptor": {0x18, 0x11, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a map's value":           {0x18, 0x21, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a module's function":     {0x85, 0x20, 1, 0, 3, 0, 0, 0},
	} {
		l := bpf.Loader{Instructions: append(instruction, nothing()...), Data: make([]byte, 8)}
		hash := l.Hash()
		l.ExclusiveHash = hash[:]
		l.Signature = b.signPayload(&l, b.scheme, "rsa2048")
		b.ask(trial.Trial{Name: name, Loader: b.add(l, 0), Keyring: ring})
		b.ask(trial.Trial{Name: name + ", another key", Loader: b.add(l, 0), Keyring: other})
	}
}

// unbound asks Linux 7.3 about maps that are not as it wants them: not bound, which is how
// the headers of libbpf before load a skeleton, not exclusive, and too large.
func (b *bench) unbound() {
	old, new := readSkeleton(b, "allowlist", bpf.Instructions), readSkeleton(b, "allowlist", bpf.InstructionsAndMap)
	b.expect(trial.Trial{Name: "for 6.18, not bound", Loader: b.add(old.Loader, contextSize), Keyring: ring}, expected{syscall.EACCES, "BPF_PROG_LOAD"})
	b.expect(trial.Trial{Name: "for 7.3, not bound", Loader: b.add(new.Loader, contextSize), Keyring: ring}, expected{syscall.EKEYREJECTED, "BPF_PROG_LOAD"})
	for name, l := range map[string]*bpf.Loader{"for 6.18": &withoutExclusiveCheck(b, "allowlist").Loader, "for 7.2": &old.Loader} {
		l.Signature = b.signPayload(l, bpf.InstructionsAndMap, "rsa2048")
		b.ask(trial.Trial{Name: name + ", with a signature for 7.3", Loader: b.add(*l, contextSize), Keyring: ring})
	}
	open := new.Loader
	open.ExclusiveHash = nil
	b.expect(trial.Trial{Name: "not exclusive", Loader: b.add(open, contextSize), Keyring: ring, Bind: true}, expected{syscall.EPERM, "BPF_PROG_LOAD"})

	large := new.Loader
	large.Data = make([]byte, bpf.MaxPayload-len(large.Instructions))
	large.Signature = b.sign(&large, "rsa2048")
	b.ask(trial.Trial{Name: "as large as may be", Loader: b.add(large, 0), Keyring: ring})
	large.Data = append(large.Data, 0)
	b.ask(trial.Trial{Name: "too large", Loader: b.add(large, 0), Keyring: ring})
}

// nothing is a program that returns 0: r0 = 0; exit.
func nothing() []byte {
	return []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
}

// sizes asks about signatures and hashes that are too short or too long.
func (b *bench) sizes() {
	s := b.skeleton("allowlist", b.scheme)
	good := s.Signature
	for _, size := range []int{1, len(good) - 1, len(good) + 1, bpf.MaxSignature, bpf.MaxSignature + 1, 65536} {
		l := s.Loader
		l.Signature = append(slices.Clone(good), make([]byte, max(0, size-len(good)))...)[:size]
		b.ask(trial.Trial{Name: fmt.Sprint("signature of ", size), Loader: b.add(l, contextSize), Keyring: ring})
	}
	for _, size := range []int{16, 31, 33} {
		l := s.Loader
		l.ExclusiveHash = append(slices.Clone(l.ExclusiveHash), 0)[:size]
		b.ask(trial.Trial{Name: fmt.Sprint("hash of ", size), Loader: b.add(l, contextSize), Keyring: ring})
	}
}

func (b *bench) boot() {
	b.Helper()
	var packed bytes.Buffer
	if err := gob.NewEncoder(&packed).Encode(b.job); err != nil {
		b.Fatal(err)
	}
	reports := vm.Boot(b.T, b.kernel, vm.Options{
		Init: "sign-file/test/bpf/init", Files: append(b.files, vm.File{Name: trial.File, Data: packed.Bytes()}),
	})
	if len(reports) != len(b.want) {
		b.Fatalf("%d answers to %d questions", len(reports), len(b.want))
	}
	accepted := 0
	for i, want := range b.want {
		var r trial.Result
		if err := json.Unmarshal(reports[i], &r); err != nil {
			b.Fatal(err)
		}
		if r.Errno == 0 {
			accepted++
		}
		if r.Errno != want.errno || want.where != "" && r.Where != "" && r.Where != want.where {
			b.Errorf("%s: the kernel says %s %s, and foretold was %s %s", r.Name, name(r.Errno), r.Where, name(want.errno), want.where)
		}
	}
	b.Logf("%s: %d trials, %d accepted", b.kernel.Release, len(b.want), accepted)
}

func name(e syscall.Errno) string {
	if e == 0 {
		return "OK"
	}
	return unix.ErrnoName(e)
}

// tools is what test/bpf/tools.sh has fetched for a scheme, empty where it has nothing.
// Debian has it only as long as it has those sources: even CI does without.
func tools(scheme bpf.Scheme) string {
	dir := filepath.Join(os.Getenv("SIGN_FILE_BPF_TOOLS"), scheme.String())
	if _, err := os.Stat(filepath.Join(dir, "include")); err != nil {
		return ""
	}
	return dir
}

const noTools = "no bpftool and headers for %v: test/bpf/tools.sh DIR fetches them, and then SIGN_FILE_BPF_TOOLS=DIR"

// compiled has gcc compile the skeletons, and has the machine run them.
func (b *bench) compiled() {
	if tools(b.scheme) == "" {
		b.Logf(noTools, b.scheme)
		return
	}
	dir := b.TempDir()
	for _, object := range []string{"allowlist", "gate"} {
		for _, key := range []string{"rsa2048", "rsa4096", "p384", onToken} {
			s := b.skeleton(object, b.scheme)
			program := object + "-" + key
			b.compile(dir, program, object, s.WithSignature(b.sign(&s.Loader, key)))
			b.expect(trial.Trial{Name: program + " compiled", Program: program, Keyring: ring}, expected{})
			b.expect(trial.Trial{Name: program + " compiled, another key", Program: program, Keyring: other}, expected{errno: syscall.ENOKEY})
			b.expect(trial.Trial{Name: program + " compiled, no keyring", Program: program, System: nowhere}, expected{errno: syscall.EINVAL})
		}
		foreign := bpf.Instructions + bpf.InstructionsAndMap - b.scheme
		s := b.skeleton(object, foreign)
		program := object + "-foreign"
		b.compile(dir, program, object, s.WithSignature(s.Signature))
		b.expect(trial.Trial{Name: program, Program: program, Keyring: ring}, expected{errno: syscall.EKEYREJECTED})
	}
}

// compile makes a program that loads a skeleton and prints what its load function returns.
func (b *bench) compile(dir, program, object string, skeleton []byte) {
	b.Helper()
	source := fmt.Sprintf(`#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <linux/bpf.h>
#include "skeleton.h"
int main(int argc, char **argv)
{
	struct %[1]s *skel = %[1]s__open();

	if (argc != 2 || !skel)
		return 1;
	skel->keyring_id = atoi(argv[1]);
	printf("%%d\n", %[1]s__load(skel));
	return 0;
}
`, object)
	for name, content := range map[string][]byte{"main.c": []byte(source), "skeleton.h": skeleton} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	out := filepath.Join(dir, program)
	cmd := exec.Command(testenv.Tool(b, "gcc"), "-static", "-O1", "-isystem", filepath.Join(tools(b.scheme), "include"), "-o", out, "main.c")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("gcc: %v\n%s", err, output)
	}
	b.files = append(b.files, vm.File{Name: program, Data: read(b, out)})
}
