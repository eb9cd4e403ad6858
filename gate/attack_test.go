package gate_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sign-file/gate"
	"sign-file/gate/reader"
	"sign-file/gate/reader/example"
)

// way is the gate's way in without the library's care: key and value are handed to
// the kernel where they are, for other threads to change.
type way struct {
	t       testing.TB
	program *ebpf.Program
	inbox   *ebpf.Map
}

func openWay(t testing.TB, g *gate.Gate) way {
	t.Helper()
	w := way{t: t}
	var err error
	dir := filepath.Join(gate.DefaultDir, g.Name)
	if g.Trigger == gate.Inbox {
		w.inbox, err = ebpf.LoadPinnedMap(filepath.Join(dir, "inbox"), nil)
	} else {
		w.program, err = ebpf.LoadPinnedProgram(filepath.Join(dir, "load"), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.inbox.Close(); w.program.Close() })
	return w
}

// updateElem is BPF_MAP_UPDATE_ELEM.
func updateElem(fd int, key, value unsafe.Pointer) error {
	attr := struct {
		fd         uint32
		_          uint32
		key, value uint64
		flags      uint64
	}{fd: uint32(fd), key: uint64(uintptr(key)), value: uint64(uintptr(value))}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_UPDATE_ELEM, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return nil
}

func (w way) write(key, value unsafe.Pointer) error {
	if w.inbox != nil {
		return updateElem(w.inbox.FD(), key, value)
	}
	result, err := w.program.Run(&ebpf.RunOptions{Context: struct{ Key, Value uint64 }{uint64(uintptr(key)), uint64(uintptr(value))}})
	if err == nil && result != 0 {
		err = syscall.Errno(-int32(result))
	}
	return err
}

// shared allocates memory that stays where it is.
func shared(t testing.TB, content []byte) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	copy(b, content)
	return b
}

// onlyGood fails if the map holds anything but data that begins with good.
func onlyGood(t testing.TB, g *gate.Gate) (published int) {
	t.Helper()
	entries, err := g.Entries()
	if err != nil {
		t.Fatal(err)
	}
	judge := newJudge(t, "rsa2048")
	for _, e := range entries {
		if !bytes.HasPrefix(e.Data, []byte("good")) {
			t.Errorf("key %x holds %q", e.Key, e.Data)
		}
		if answer(t, judge, e.Value) != 0 {
			t.Errorf("key %x holds a value that does not verify", e.Key)
		}
	}
	return len(entries)
}

// background runs f over and over on a thread of its own until the test ends.
func background(t testing.TB, f func()) (stop func()) {
	var end atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		for !end.Load() {
			f()
		}
	})
	return func() { end.Store(true); done.Wait() }
}

const tries = 2000

// A thread that rewrites the value while the kernel verifies it: the naive hook let
// evil data through in 3 to 37 of 200 tries.
func TestRewriteWhileVerifying(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, _ *gate.Loader) {
		w := openWay(t, g)
		good := sign(t, "rsa2048", "sha256", "good data")
		value, key := shared(t, good), shared(t, make([]byte, 4))
		stop := background(t, func() {
			copy(value[4:], "evil data")
			time.Sleep(time.Microsecond)
			copy(value[4:], "good data")
			runtime.Gosched()
		})
		defer stop()
		var accepted, refused int
		for range tries {
			if err := w.write(unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0])); err == nil {
				accepted++
			} else {
				refused++
			}
			onlyGood(t, g)
		}
		t.Logf("%d accepted, %d refused", accepted, refused)
		if accepted == 0 || refused == 0 {
			t.Errorf("no race: %d accepted, %d refused", accepted, refused)
		}
	})
}

// Threads of which one half writes what is authentic and the other what isn't.
func TestConcurrentWriters(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		good := sign(t, "rsa2048", "sha256", "good data")
		evil := bytes.Clone(good)
		copy(evil[4:], "evil data")
		var accepted, refused atomic.Int32
		var writers sync.WaitGroup
		for i := range 6 {
			value := [][]byte{good, evil}[i%2]
			writers.Go(func() {
				for n := range tries / 4 {
					err := l.Publish([]byte{byte(n % 4), 0, 0, 0}, value)
					switch {
					case err == nil:
						accepted.Add(1)
					case errors.Is(err, syscall.EKEYREJECTED):
						refused.Add(1)
					default:
						t.Error(err)
					}
					if n%20 == 0 {
						onlyGood(t, g)
					}
				}
			})
		}
		writers.Wait()
		if accepted.Load() != refused.Load() {
			t.Errorf("%d accepted, %d refused", accepted.Load(), refused.Load())
		}
		if n := onlyGood(t, g); n != 4 {
			t.Errorf("%d keys, want 4", n)
		}
	})
}

// dup3 that swaps what the inbox's descriptor is between the hook and the kernel's
// own look at it: with the naive hook an unsigned value got through in seconds.
func TestSwapDescriptor(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, _ *gate.Loader) {
		if g.Trigger != gate.Inbox {
			t.Skip("no descriptor decides what a program does")
		}
		w := openWay(t, g)
		values, err := ebpf.LoadPinnedMap(filepath.Join(gate.DefaultDir, g.Name, "values"), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer values.Close()
		other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: valueSize, MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		const fd = 100
		defer unix.Close(fd)
		maps := []int{w.inbox.FD(), values.FD(), other.FD()}
		n := 0
		stop := background(t, func() {
			n++
			unix.Dup3(maps[n%len(maps)], fd, 0)
		})
		defer stop()
		good := sign(t, "rsa2048", "sha256", "good data")
		evil := bytes.Clone(good)
		copy(evil[4:], "evil data")
		key, e := shared(t, make([]byte, 4)), shared(t, evil)
		for range 10 * tries {
			updateElem(fd, unsafe.Pointer(&key[0]), unsafe.Pointer(&e[0]))
		}
		onlyGood(t, g)
	})
}

// What user space can try on a descriptor of the protected map. It gets a read-only
// one; root can ask for a writable one where no guard is.
func TestOtherWriters(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
			t.Fatal(err)
		}
		pin := filepath.Join(gate.DefaultDir, g.Name, "values")
		if _, err := ebpf.LoadPinnedMap(pin, nil); !errors.Is(err, syscall.EPERM) {
			t.Errorf("a writable descriptor: %v, want EPERM from the guard", err)
		}
		values, err := ebpf.LoadPinnedMap(pin, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer values.Close()
		key := uint32(0)
		evil := make([]byte, values.ValueSize())
		keys, elements := []uint32{0}, make([][reader.HeaderSize + valueSize]byte, 1)
		attempts := map[string]func() error{
			"update":            func() error { return values.Put(key, evil) },
			"update, existing":  func() error { return values.Update(key, evil, ebpf.UpdateExist) },
			"delete":            func() error { return values.Delete(key) },
			"lookup and delete": func() error { return values.LookupAndDelete(key, &evil) },
			"batch update":      func() error { _, err := values.BatchUpdate(keys, elements, nil); return err },
			"batch delete":      func() error { _, err := values.BatchDelete(keys, nil); return err },
			"mmap": func() error {
				_, err := unix.Mmap(values.FD(), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				return err
			},
			"a descriptor by number": func() error {
				info, err := values.Info()
				if err != nil {
					return err
				}
				id, _ := info.ID()
				m, err := ebpf.NewMapFromID(id)
				if err == nil {
					m.Close()
				}
				return err
			},
		}
		for name, attempt := range attempts {
			if err := attempt(); err == nil {
				t.Errorf("%s: allowed", name)
			} else {
				t.Logf("%s: %v", name, err)
			}
		}
		if n := onlyGood(t, g); n != 1 {
			t.Errorf("%d values, want 1", n)
		}
	})
}

// The other maps of a gate hand out no descriptor at all.
func TestOwnMaps(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, _ *gate.Loader) {
		// The maps of gates that were removed take a moment to go away.
		var found []string
		for range 50 {
			if found = writable(); len(found) == 0 {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("writable descriptors of %v", found)
	})
}

// writable opens all maps of the kernel, and returns the names of a gate's among them.
func writable() (names []string) {
	for id, err := ebpf.MapGetNextID(0); err == nil; id, err = ebpf.MapGetNextID(id) {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		info, err := m.Info()
		m.Close()
		if err == nil && slices.Contains([]string{"values", "slots", "generations"}, info.Name) {
			names = append(names, info.Name)
		}
	}
	return names
}

// A program that another process loads can write to any map whose descriptor it gets,
// also a read-only one, and to a map inside another. CAP_BPF is enough for that: the
// gate does not claim otherwise.
func TestAnotherProgramCanWrite(t *testing.T) {
	outer := &ebpf.MapSpec{
		Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		InnerMap: &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: reader.HeaderSize + valueSize, MaxEntries: 1},
	}
	// Each leaves the map in R0.
	ways := map[string]func(values *ebpf.Map) (asm.Instructions, error){
		"descriptor": func(values *ebpf.Map) (asm.Instructions, error) {
			return asm.Instructions{asm.LoadMapPtr(asm.R0, values.FD())}, nil
		},
		"map of maps": func(values *ebpf.Map) (asm.Instructions, error) {
			m, err := ebpf.NewMap(outer)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { m.Close() })
			return asm.Instructions{
				asm.LoadMapPtr(asm.R1, m.FD()),
				asm.FnMapLookupElem.Call(),
				asm.JEq.Imm(asm.R0, 0, "end"),
			}, m.Put(uint32(0), uint32(values.FD()))
		},
	}
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		values, err := ebpf.LoadPinnedMap(filepath.Join(gate.DefaultDir, g.Name, "values"), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer values.Close()
		for name, way := range ways {
			if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
				t.Fatal(err)
			}
			err := withOnly(unix.CAP_BPF, func() error {
				lookup, err := way(values)
				if err != nil {
					return err
				}
				return deleteFirst(lookup)
			})
			if err != nil {
				t.Errorf("%s: refused, so the documentation is too modest: %v", name, err)
			}
			if n := onlyGood(t, g); n != 0 {
				t.Errorf("%s: the value is still there, so the documentation is too modest", name)
			}
		}
	})
}

// withOnly calls f on a thread that has one capability, and no other afterwards.
func withOnly(capability uint, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		data[capability/32] = unix.CapUserData{Effective: 1 << (capability % 32), Permitted: 1 << (capability % 32)}
		err := unix.Capset(&header, &data[0])
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// deleteFirst runs a program that deletes the key 0 of the map that lookup leaves in
// R0. R2 points to that key, for lookup too.
func deleteFirst(lookup asm.Instructions) error {
	key := asm.Instructions{asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8)}
	instructions := slices.Concat(
		asm.Instructions{asm.Mov.Imm(asm.R3, 0), asm.StoreMem(asm.RFP, -8, asm.R3, asm.DWord)},
		key, lookup,
		asm.Instructions{asm.Mov.Reg(asm.R1, asm.R0)},
		key,
		asm.Instructions{asm.FnMapDeleteElem.Call(), asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return()},
	)
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: instructions})
	if err != nil {
		return err
	}
	defer program.Close()
	_, err = program.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	return err
}

// A tracing program overrules the guard: the kernel takes a positive answer for a yes.
// User space can't write with what it gets.
func TestGuardOverruled(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
			t.Fatal(err)
		}
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.Tracing, AttachType: ebpf.AttachModifyReturn, AttachTo: "security_bpf_map", License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		overruling, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			t.Fatal(err)
		}
		defer overruling.Close()
		values, err := ebpf.LoadPinnedMap(filepath.Join(gate.DefaultDir, g.Name, "values"), nil)
		if err != nil {
			t.Errorf("refused, so the documentation is too modest: %v", err)
			return
		}
		defer values.Close()
		if err := values.Put(uint32(0), make([]byte, values.ValueSize())); !errors.Is(err, syscall.EPERM) {
			t.Errorf("a write: %v, want EPERM from the frozen map", err)
		}
		if n := onlyGood(t, g); n != 1 {
			t.Errorf("%d values, want 1", n)
		}
	})
}

// A process that may load BPF programs but isn't root gets no descriptor, unless it is
// given one.
func TestNotRoot(t *testing.T) {
	if os.Getenv("SIGN_FILE_NOT_ROOT") != "" {
		notRoot(t)
		return
	}
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, _ *gate.Loader) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNotRoot$", "-test.v")
		cmd.Env = append(os.Environ(), "SIGN_FILE_NOT_ROOT=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 1000, Gid: 1000},
			AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON},
		}
		output, err := cmd.CombinedOutput()
		t.Logf("%s", output)
		if err != nil {
			t.Error(err)
		}
	})
}

func notRoot(t *testing.T) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}})
	if err != nil {
		t.Fatalf("no right to load programs: %v", err)
	}
	program.Close()
	dir := filepath.Join(gate.DefaultDir, "test")
	for _, pin := range []string{"values", "about", "guard", "load", "inbox", "receive"} {
		path := filepath.Join(dir, pin)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		for _, o := range []ebpf.LoadPinOptions{{}, {ReadOnly: true}} {
			if m, err := ebpf.LoadPinnedMap(path, &o); !errors.Is(err, syscall.EACCES) {
				t.Errorf("%s, read-only %v: %v, %v, want EACCES", pin, o.ReadOnly, m, err)
			}
		}
		if err := os.Remove(path); !errors.Is(err, syscall.EACCES) {
			t.Errorf("unlinking %s: %v, want EACCES", pin, err)
		}
	}
	for id, err := ebpf.MapGetNextID(0); err == nil; id, err = ebpf.MapGetNextID(id) {
		t.Errorf("it sees the map %d", id)
	}
	for id := range ebpf.MapID(1000) {
		if m, err := ebpf.NewMapFromID(id); !errors.Is(err, syscall.EPERM) {
			t.Errorf("map %d: %v, %v, want EPERM", id, m, err)
			break
		}
	}
	if err := os.Rename(dir, dir+"2"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("renaming the gate: %v, want EACCES", err)
	}
}

// Whoever owns the folder of gates could put another gate in the place of one.
func TestFolderOfAnother(t *testing.T) {
	spec := trustingAs(t, "test")
	for name, change := range map[string]func(string) error{
		"another user's": func(dir string) error { return os.Chown(dir, 1000, 0) },
		"everybody's":    func(dir string) error { return os.Chmod(dir, 0o777) },
	} {
		outer := "/sys/fs/bpf/outer"
		dir := filepath.Join(outer, "gates")
		for _, changed := range []string{dir, outer} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := change(changed); err != nil {
				t.Fatal(err)
			}
			if err := gate.Create(dir, spec); err == nil {
				t.Errorf("%s, %s: a gate was made", name, changed)
			} else {
				t.Log(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("%s, %s: left behind: %v %v", name, changed, left, err)
			}
			os.RemoveAll(outer)
		}
	}
}

// Whoever unlinks the inbox's program ends the gate, not its protection.
func TestLinkGone(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		if g.Trigger != gate.Inbox {
			t.Skip("there is no link to unlink")
		}
		if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(gate.DefaultDir, g.Name, "receive")); err != nil {
			t.Fatal(err)
		}
		evil := sign(t, "rsa2048", "sha256", "good data")
		copy(evil[4:], "evil data")
		for range tries {
			l.Publish(make([]byte, 4), evil)
			l.Publish([]byte{1, 0, 0, 0}, evil)
		}
		if n := onlyGood(t, g); n != 1 {
			t.Errorf("%d values, want 1", n)
		}
	})
}

// No room: the map keeps what it has.
func TestFull(t *testing.T) {
	spec := trusting(t, "rsa2048")
	spec.MaxEntries = 2
	forEachTrigger(t, spec, func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		value := sign(t, "rsa2048", "sha256", "good data")
		for i := range byte(4) {
			err := l.Publish([]byte{i, 0, 0, 0}, value)
			if full := errors.Is(err, syscall.E2BIG); full != (i >= 2) {
				t.Errorf("value %d: %v", i, err)
			}
		}
		if err := l.Publish(make([]byte, 4), value); err != nil {
			t.Errorf("replacing a value in a full map: %v", err)
		}
		if n := onlyGood(t, g); n != 2 {
			t.Errorf("%d values, want 2", n)
		}
	})
}

// More writers than slots: some are told to come back, none gets through unverified.
func TestBusy(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, _ *gate.Loader) {
		w := openWay(t, g)
		good := shared(t, sign(t, "rsa2048", "sha256", "good data"))
		evil := shared(t, good)
		copy(evil[4:], "evil data")
		key := shared(t, make([]byte, 4))
		var writers sync.WaitGroup
		for i := range 32 {
			value := [][]byte{good, evil}[i%2]
			writers.Go(func() {
				runtime.LockOSThread()
				for range 20 {
					err := w.write(unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0]))
					if errors.Is(err, syscall.EBUSY) || err == nil && i%2 == 0 || errors.Is(err, syscall.EKEYREJECTED) && i%2 == 1 {
						continue
					}
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		writers.Wait()
		onlyGood(t, g)
	})
}

// A process that is killed while it creates a gate leaves a whole one or none.
func TestKilledCreating(t *testing.T) {
	inMachine(t)
	if os.Getenv("SIGN_FILE_CREATE") != "" {
		for {
			if err := gate.Create(gate.DefaultDir, trustingAs(t, "killed")); err == nil {
				gate.Remove(gate.DefaultDir, "killed")
			}
		}
	}
	for i := range 30 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilledCreating$")
		cmd.Env = append(os.Environ(), "SIGN_FILE_CREATE=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(300+37*i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		names, err := gate.List(gate.DefaultDir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			g, err := gate.Open(gate.DefaultDir, name)
			if err != nil {
				t.Errorf("a gate that can't be opened: %v", err)
				continue
			}
			l, err := g.Loader()
			if err != nil {
				t.Errorf("a gate without a way in: %v", err)
			} else if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
				t.Error(err)
			}
			l.Close()
			g.Close()
			gate.Remove(gate.DefaultDir, name)
		}
	}
	// The next gate sweeps away what was half-made.
	if err := gate.Create(gate.DefaultDir, trustingAs(t, "next")); err != nil {
		t.Fatal(err)
	}
	defer gate.Remove(gate.DefaultDir, "next")
	left, err := os.ReadDir(gate.DefaultDir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A process that is killed while it loads values leaves whole ones, and a gate that
// goes on working: a slot is free again when its program ends.
func TestKilledLoading(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		good := "/good.value"
		if err := os.WriteFile(good, sign(t, "rsa2048", "sha256", "good data"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"map", "gate", "load", g.Name}
		for i := range 200 {
			args = append(args, fmt.Sprintf("%d=%s", i%16, good))
		}
		for i := range 30 {
			cmd := exec.Command("/sign-file", args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(20+13*i) * time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
			onlyGood(t, g)
		}
		if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", "good data")); err != nil {
			t.Error(err)
		}
	})
}

func trustingAs(t testing.TB, name string) gate.Spec {
	spec := trusting(t, "rsa2048")
	spec.Name = name
	return spec
}

func TestAllowlist(t *testing.T) {
	forEachTrigger(t, trusting(t, "rsa2048"), func(t *testing.T, g *gate.Gate, l *gate.Loader) {
		policy, err := reader.Open(filepath.Join(gate.DefaultDir, g.Name, "values"))
		if err != nil {
			t.Fatal(err)
		}
		defer policy.Close()
		program, err := example.Load(policy)
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		packet := func(a, b, c, d byte) []byte {
			p := make([]byte, 64)
			p[12], p[13], p[14] = 8, 0, 0x45
			copy(p[26:], []byte{a, b, c, d})
			return p
		}
		passes := func(p []byte) bool {
			verdict, _, err := program.Test(p)
			if err != nil {
				t.Fatal(err)
			}
			const xdpPass = 2
			return verdict == xdpPass
		}
		if passes(packet(192, 0, 2, 1)) {
			t.Error("without a list a packet passes")
		}
		list := "\xc0\x00\x02\x01\xc0\x00\x02\x02"
		unsigned := sign(t, "rsa2048", "sha256", list)
		unsigned[7] = 9
		if err := l.Publish(make([]byte, 4), unsigned); err == nil {
			t.Error("a list that was changed is published")
		}
		if err := l.Publish(make([]byte, 4), sign(t, "rsa2048", "sha256", list)); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			last byte
			pass bool
		}{{1, true}, {2, true}, {3, false}, {9, false}} {
			if got := passes(packet(192, 0, 2, c.last)); got != c.pass {
				t.Errorf("192.0.2.%d passes: %v", c.last, got)
			}
		}
		if passes(packet(0, 0, 0, 0)) {
			t.Error("what stands behind the list is part of it")
		}
	})
}
