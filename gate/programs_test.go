package gate_test

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sign-file/gate"
	"sign-file/mapvalue"
)

// Why a gate has no option that lets only signed programs be loaded: a signature says
// who wrote a program, not which maps it gets. The tests set the policy that such an
// option would set, which is that of Documentation/bpf/signing.rst, and get past it.

// flowsSkeleton is a signed loader: see its generate.sh.
//
//go:embed testdata/signed/flows.lskel.h
var flowsSkeleton string

// skeleton is what a light skeleton has the kernel load.
type skeleton struct {
	data, instructions, signature, exclusive []byte
}

func parseSkeleton(t testing.TB, header string) skeleton {
	t.Helper()
	array := func(name string) []byte {
		_, rest, found := strings.Cut(header, "char "+name+"[]")
		_, rest, quoted := strings.Cut(rest, "\"")
		text, _, ended := strings.Cut(rest, "\";")
		if !found || !quoted || !ended {
			t.Fatalf("the skeleton has no %s", name)
		}
		text = strings.ReplaceAll(text, "\\\n", "")
		text = strings.ReplaceAll(text, `\0`, `\x00`)
		content, err := strconv.Unquote(`"` + text + `"`)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return []byte(content)
	}
	return skeleton{array("opts_data"), array("opts_insn"), array("opts_sig"), array("opts_excl_hash")}
}

// bpf is bpf(2): the library can't load signed programs, and its own probes load
// programs that the policy refuses.
func bpf[T any](command int, attr *T) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func address[T any](first *T) uint64 { return uint64(uintptr(unsafe.Pointer(first))) }

// programLoad is bpf_attr for BPF_PROG_LOAD.
type programLoad struct {
	kind, count   uint32
	instructions  uint64
	license       uint64
	_             [2]uint32
	_             uint64
	_, flags      uint32
	_             [16]byte
	_             [14]uint32
	array         uint64 // of descriptors
	_             uint64
	_             [3]uint32
	arrayCount    uint32
	signature     uint64
	signatureSize uint32
	keyring       int32
}

// load loads a program without maps, or a loader with its one map.
func load(kind ebpf.ProgramType, instructions, signature []byte, keyring int32, maps ...uint32) (int, error) {
	license := []byte("GPL\x00")
	attr := programLoad{
		kind: uint32(kind), count: uint32(len(instructions) / asm.InstructionSize),
		instructions: address(&instructions[0]), license: address(&license[0]),
	}
	if kind == ebpf.Syscall {
		attr.flags = unix.BPF_F_SLEEPABLE
	}
	if len(maps) > 0 {
		attr.array = address(&maps[0])
	}
	if signature != nil {
		attr.signature, attr.signatureSize, attr.keyring = address(&signature[0]), uint32(len(signature)), keyring
		attr.arrayCount = uint32(len(maps))
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	for _, p := range [][]byte{instructions, signature, license} {
		if p != nil {
			pinned.Pin(&p[0])
		}
	}
	if len(maps) > 0 {
		pinned.Pin(&maps[0])
	}
	return bpf(unix.BPF_PROG_LOAD, &attr)
}

// loaderMap makes the map of a loader and freezes it, as skel_internal.h does.
func (s skeleton) loaderMap(t testing.TB) int {
	t.Helper()
	attr := struct {
		kind, keySize, valueSize, entries uint32
		_                                 [12]uint32
		_                                 uint64
		_                                 [2]uint32
		exclusive                         uint64
		exclusiveSize                     uint32
		_                                 uint32
	}{
		kind: uint32(ebpf.Array), keySize: 4, valueSize: uint32(len(s.data)), entries: 1,
		exclusive: address(&s.exclusive[0]), exclusiveSize: uint32(len(s.exclusive)),
	}
	fd, err := bpf(unix.BPF_MAP_CREATE, &attr)
	if err != nil {
		t.Fatalf("the loader's map: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	key, value := shared(t, make([]byte, 4)), shared(t, s.data)
	if err := updateElem(fd, unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0])); err != nil {
		t.Fatalf("the loader's map: %v", err)
	}
	freeze := struct{ fd uint32 }{uint32(fd)}
	if _, err := bpf(unix.BPF_MAP_FREEZE, &freeze); err != nil {
		t.Fatalf("the loader's map: %v", err)
	}
	return fd
}

// run is BPF_PROG_RUN.
func run(fd int, context, data []byte) (uint32, error) {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	attr := struct {
		fd, result            uint32
		dataSize, dataOutSize uint32
		data, dataOut         uint64
		repeat, duration      uint32
		contextSize, _        uint32
		context, contextOut   uint64
		_                     [4]uint32
	}{fd: uint32(fd)}
	if context != nil {
		pinned.Pin(&context[0])
		attr.context, attr.contextSize = address(&context[0]), uint32(len(context))
	}
	if data != nil {
		pinned.Pin(&data[0])
		attr.data, attr.dataSize = address(&data[0]), uint32(len(data))
	}
	_, err := bpf(unix.BPF_PROG_RUN, &attr)
	return attr.result, err
}

// Offsets in struct flows of the skeleton, as far as the loader takes it.
const (
	flowsSize    = 0
	flowsMap     = 24
	flowsProgram = 40
	flowsEnd     = 44
)

// runFlows has the loader load its program, and returns the descriptors of program and
// map.
func runFlows(loader int) (program, flows int, err error) {
	context := make([]byte, flowsEnd)
	binary.NativeEndian.PutUint32(context[flowsSize:], flowsEnd)
	result, err := run(loader, context, nil)
	if err == nil && int32(result) < 0 {
		err = syscall.Errno(-int32(result))
	}
	number := func(at int) int { return int(int32(binary.NativeEndian.Uint32(context[at:]))) }
	return number(flowsProgram), number(flowsMap), err
}

// verdictOffsets tells where the kernel keeps what it found of a program's signature:
// the offsets of aux in bpf_prog and of sig in bpf_prog_aux, in bytes. It skips the test
// on kernels that keep it nowhere.
func verdictOffsets(t testing.TB) (aux, sig int16) {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	aux, sig = offset(t, kernel, "bpf_prog", "aux"), offset(t, kernel, "bpf_prog_aux", "sig")
	if sig < 0 {
		t.Skipf("kernel %s tells no verdict of a program: bpf_prog_aux has no sig", release())
	}
	return aux, sig
}

// offset is that of a member in bytes, or -1.
func offset(t testing.TB, kernel *btf.Spec, name, member string) int16 {
	t.Helper()
	var s *btf.Struct
	if err := kernel.TypeByName(name, &s); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Members, func(m btf.Member) bool { return m.Name == member })
	if i < 0 {
		return -1
	}
	return int16(s.Members[i].Offset.Bytes())
}

// signedOnly refuses programs that were not verified with the keyring, until it is
// lifted or the test ends. Of what BPF programs load with bpf_sys_bpf, as a signed
// loader does, the kernel tells no verdict: loaded says whether that is let in.
func signedOnly(t testing.TB, keyring int, loaded bool) (lift func()) {
	t.Helper()
	aux, sig := verdictOffsets(t)
	const serial, verdict = 0, 5 // in sig
	const verified = 1
	mask := int32(0)
	if loaded {
		mask = 0xff
	}
	guard, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "bpf_prog_load", License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 24, asm.DWord), // bool kernel
			asm.And.Imm(asm.R2, mask),
			asm.JNE.Imm(asm.R2, 0, "allow"),
			asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // struct bpf_prog *prog
			asm.LoadMem(asm.R1, asm.R1, aux, asm.DWord),
			asm.LoadMem(asm.R2, asm.R1, sig+verdict, asm.Byte),
			asm.JNE.Imm(asm.R2, verified, "refuse"),
			asm.LoadMem(asm.R2, asm.R1, sig+serial, asm.Word),
			asm.JNE.Imm(asm.R2, int32(keyring), "refuse"),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("allow"),
			asm.Return(),
			asm.Mov.Imm(asm.R0, -int32(unix.EPERM)).WithSymbol("refuse"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	l, err := link.AttachLSM(link.LSMOptions{Program: guard})
	if err != nil {
		t.Fatal(err)
	}
	lift = sync.OnceFunc(func() { l.Close() })
	t.Cleanup(lift)
	return lift
}

// newKeyring is one that trusts a key of testdata.
func newKeyring(t testing.TB, name string) int {
	t.Helper()
	ring, err := unix.AddKey("keyring", "programs of "+name, nil, unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.KeyctlInt(unix.KEYCTL_UNLINK, ring, unix.KEY_SPEC_USER_KEYRING, 0, 0) })
	if _, err := unix.AddKey("asymmetric", "", readCertificate(t, name).Raw, ring); err != nil {
		t.Fatal(err)
	}
	return ring
}

// The policy does what it says: only the signed loader is let in, and what it loads.
func TestSignedOnly(t *testing.T) {
	inMachine(t)
	ring := newKeyring(t, "rsa2048")
	lift := signedOnly(t, ring, true)
	s := parseSkeleton(t, flowsSkeleton)
	maps := uint32(s.loaderMap(t))
	other := newKeyring(t, "p256") // of somebody else, who has put the signer into it too
	if _, err := unix.AddKey("asymmetric", "", readCertificate(t, "rsa2048").Raw, other); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() (int, error){
		"unsigned":        func() (int, error) { return load(ebpf.Syscall, s.instructions, nil, 0, maps) },
		"map gate create": func() (int, error) { return 0, gate.Create(gate.DefaultDir, trustingAs(t, "signed")) },
		"another keyring": func() (int, error) { return load(ebpf.Syscall, s.instructions, s.signature, int32(other), maps) },
	} {
		if _, err := try(); !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: %v, want EPERM", name, err)
		}
	}
	changed := s
	changed.data = bytes.Clone(s.data)
	changed.data[len(changed.data)-1] ^= 1
	if _, err := load(ebpf.Syscall, s.instructions, s.signature, int32(ring), uint32(changed.loaderMap(t))); !errors.Is(err, syscall.EKEYREJECTED) {
		t.Errorf("changed: %v, want EKEYREJECTED", err)
	}
	loader, err := load(ebpf.Syscall, s.instructions, s.signature, int32(ring), maps)
	if err != nil {
		t.Fatalf("the signed loader: %v", err)
	}
	defer unix.Close(loader)
	program, flows, err := runFlows(loader)
	if err != nil {
		t.Fatalf("the loader's program: %v", err)
	}
	unix.Close(program)
	unix.Close(flows)

	lift()
	signedOnly(t, ring, false)
	if _, _, err := runFlows(loader); !errors.Is(err, syscall.EPERM) {
		t.Errorf("the loader's program: %v, so the kernel tells a verdict of it", err)
	}
}

// A loader that was loaded before the policy, signed or not, loads as before.
func TestLoadedBeforeSignedOnly(t *testing.T) {
	inMachine(t)
	verdictOffsets(t)
	s := parseSkeleton(t, flowsSkeleton)
	loader, err := load(ebpf.Syscall, s.instructions, nil, 0, uint32(s.loaderMap(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loader)
	signedOnly(t, newKeyring(t, "rsa2048"), true)
	program, flows, err := runFlows(loader)
	if err != nil {
		t.Errorf("the loader's program: %v, so what is loaded already is no concern", err)
		return
	}
	unix.Close(program)
	unix.Close(flows)
}

// A loader makes its maps in the descriptor table of the process that runs it, and
// finds them there again when it loads its programs. In between another thread puts
// the gate's map in their place: a program that anybody has signed, with a map of its
// own, writes to the gate's.
func TestSignedLoaderTakesAnyMap(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		value := sign(t, "rsa2048", "sha256", "good data")
		if err := l.Publish(make([]byte, 4), value); err != nil {
			t.Fatal(err)
		}
		values, err := ebpf.LoadPinnedMap(filepath.Join(gate.DefaultDir, g.Name, "values"), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer values.Close()
		ring := newKeyring(t, "rsa2048")
		signedOnly(t, ring, true)
		s := parseSkeleton(t, flowsSkeleton)
		maps := uint32(s.loaderMap(t))
		loader, err := load(ebpf.Syscall, s.instructions, s.signature, int32(ring), maps)
		if err != nil {
			t.Fatalf("the signed loader: %v", err)
		}
		defer unix.Close(loader)

		packet := make([]byte, 14+4+32)
		copy(packet[14+4:], value[:4])
		copy(packet[14+4+4:], "evil data")
		for try := range tries {
			program, flows := swapped(t, loader, values.FD())
			if program <= 0 {
				continue
			}
			_, err := run(program, nil, packet)
			unix.Close(program)
			unix.Close(flows)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := g.Entries()
			if err != nil || len(entries) != 1 {
				t.Fatal(entries, err)
			}
			if bytes.HasPrefix(entries[0].Data, []byte("evil data")) {
				t.Logf("after %d tries the gate holds %q", try+1, entries[0].Data)
				return
			}
		}
		t.Error("the gate's map was not reached: perhaps the option can be had")
	})
}

// swapped runs the loader while another thread puts a map in the place of the loader's.
func swapped(t testing.TB, loader, victim int) (program, flows int) {
	t.Helper()
	// The loader's next descriptors are its BTF's and its map's.
	var next [2]int
	for i := range next {
		fd, err := unix.Dup(loader)
		if err != nil {
			t.Fatal(err)
		}
		next[i] = fd
	}
	for _, fd := range next {
		unix.Close(fd)
	}
	target := next[1]
	stop := background(t, func() {
		if _, err := unix.FcntlInt(uintptr(target), unix.F_GETFD, 0); err == nil {
			unix.Dup3(victim, target, 0)
		}
	})
	program, flows, err := runFlows(loader)
	stop()
	if err != nil {
		unix.Close(target)
		return 0, 0
	}
	return program, flows
}

// The kernel does not tell what a signature is for: who has data signed as a map's
// value has it signed as a program, if that is what it is.
func TestSignedValueIsSignedProgram(t *testing.T) {
	inMachine(t)
	ring := newKeyring(t, "rsa2048")
	signedOnly(t, ring, true)
	var program bytes.Buffer
	instructions := asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
	if err := instructions.Marshal(&program, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	value, err := mapvalue.Decode(sign(t, "rsa2048", "sha256", program.String()))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := load(ebpf.SocketFilter, program.Bytes(), value.Message, int32(ring))
	if err != nil {
		t.Errorf("refused, so keys may be shared: %v", err)
		return
	}
	unix.Close(fd)
}
