package gate

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"sign-file/internal/paths"
)

// Loader publishes values through a gate. It may be used by several goroutines at
// once; the gate works on eight values at a time.
type Loader struct {
	gate    *Gate
	program *ebpf.Program // one of the two
	inbox   *ebpf.Map
}

// Loader opens the gate's way in.
func (g *Gate) Loader() (*Loader, error) {
	l := &Loader{gate: g}
	var err error
	path := filepath.Join(g.dir, pinLoad)
	if g.Trigger == Inbox {
		path = filepath.Join(g.dir, pinInbox)
		l.inbox, err = ebpf.LoadPinnedMap(path, nil)
	} else {
		l.program, err = ebpf.LoadPinnedProgram(path, nil)
	}
	if err != nil {
		return nil, paths.About("open", path, err)
	}
	return l, nil
}

// Close closes the way in.
func (l *Loader) Close() error { return errors.Join(l.inbox.Close(), l.program.Close()) }

// candidate is what the program load takes: struct candidate of gate.bpf.c.
type candidate struct{ Key, Value uint64 }

// Publish has the kernel verify a map value and put it into the map, in place of
// the one that the key has. A refusal is a syscall.Errno: what
// bpf_map_verify_value_sig would return, EBUSY where all slots stay in use, or
// E2BIG where the map is full. The value is padded with zeros to the gate's size.
func (l *Loader) Publish(key, value []byte) error {
	if len(key) != int(l.gate.KeySize) {
		return fmt.Errorf("key of %d bytes, want %d", len(key), l.gate.KeySize)
	}
	if len(value) > int(l.gate.ValueSize) {
		return fmt.Errorf("value of %d bytes, more than the gate's %d", len(value), l.gate.ValueSize)
	}
	padded := make([]byte, l.gate.ValueSize)
	copy(padded, value)
	// A slot is busy for as long as one signature takes.
	err := l.try(key, padded)
	for tries := 0; err == syscall.EBUSY && tries < 1000; tries++ {
		runtime.Gosched()
		err = l.try(key, padded)
	}
	return err
}

func (l *Loader) try(key, value []byte) error {
	if l.inbox != nil {
		if err := l.inbox.Put(key, value); err != nil {
			return errno(err)
		}
		return nil
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&key[0])
	pinned.Pin(&value[0])
	result, err := l.program.Run(&ebpf.RunOptions{Context: candidate{
		Key:   uint64(uintptr(unsafe.Pointer(&key[0]))),
		Value: uint64(uintptr(unsafe.Pointer(&value[0]))),
	}})
	if err != nil {
		return errno(err)
	}
	if result != 0 {
		return syscall.Errno(-int32(result))
	}
	return nil
}
