package gate

import (
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// lsmLink holds an LSM program attached for as long as it is open, or pinned. Package
// cilium/ebpf/link would do, but brings tables of every feature of BPF, which cost each
// run of whoever imports it 50 microseconds.
type lsmLink struct{ fd int }

// attachLSM attaches a program to the hook that it was loaded for: an LSM program is
// attached as a raw tracepoint without a name (bpf_raw_tp_link_attach).
func attachLSM(p *ebpf.Program) (*lsmLink, error) {
	attr := struct { // union bpf_attr, raw_tracepoint
		name   uint64
		progFD uint32
		_      uint32
	}{progFD: uint32(p.FD())}
	fd, err := bpf(unix.BPF_RAW_TRACEPOINT_OPEN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(p)
	if err != nil {
		return nil, err
	}
	return &lsmLink{fd}, nil
}

// Pin gives the link a name on a BPF filesystem.
func (l *lsmLink) Pin(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	var pinned runtime.Pinner // an address in a number keeps nothing where it is
	defer pinned.Unpin()
	pinned.Pin(name)
	attr := struct { // union bpf_attr, BPF_OBJ_*
		pathname uint64
		fd       uint32
		flags    uint32
	}{pathname: uint64(uintptr(unsafe.Pointer(name))), fd: uint32(l.fd)}
	_, err = bpf(unix.BPF_OBJ_PIN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return os.NewSyscallError("bpf", err)
}

// Close lets go of the link: what is pinned stays attached.
func (l *lsmLink) Close() error { return unix.Close(l.fd) }

func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
