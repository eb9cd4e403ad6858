package main

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sign-file/test/kernel/vector"
)

//go:generate clang -O2 -g -Wall -Werror -target bpf -mcpu=v3 -fdebug-compilation-dir=. -I/usr/include/x86_64-linux-gnu -c ../bpf/verify.bpf.c -o verify.o
//go:generate llvm-strip -g verify.o

//go:embed verify.o
var object []byte

// request is struct request of verify.bpf.c.
type request struct {
	status        uint32
	result        int32
	dataSize      uint32
	signatureSize uint32
	keyring       int32
	system        uint32
	data          [vector.MaxData]byte
	signature     [vector.MaxSignature]byte
}

// From verify.bpf.c.
const (
	trigger  = 0x7369
	notRun   = 0
	verified = 1
)

// verifier asks the kernel's PKCS#7 verification through a BPF program.
type verifier struct {
	request *request // the program's map, mapped: no copy through bpf calls
	link    link.Link
}

func newVerifier() (*verifier, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(c.Maps["requests"].FD(), 0, int(unsafe.Sizeof(request{})),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the map: %w", err)
	}
	l, err := link.AttachLSM(link.LSMOptions{Program: c.Programs["verify"]})
	if err != nil {
		return nil, err
	}
	return &verifier{(*request)(unsafe.Pointer(&memory[0])), l}, nil
}

// verify returns the kfunc's answer for a keyring's serial number, or for a
// system keyring where that is 0.
func (v *verifier) verify(data, signature []byte, keyring int32, system uint32) (syscall.Errno, error) {
	r := v.request
	r.status, r.result = notRun, 0
	r.dataSize = uint32(copy(r.data[:], data))
	r.signatureSize = uint32(copy(r.signature[:], signature))
	r.keyring, r.system = keyring, system
	// An unknown command: the kernel calls the hook, then refuses.
	attr := make([]byte, 64)
	_, _, errno := unix.Syscall(unix.SYS_BPF, trigger, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	if errno != unix.EINVAL {
		return 0, fmt.Errorf("triggering the BPF program: %w", errno)
	}
	if r.status != verified {
		return 0, fmt.Errorf("the BPF program did not come to verify: status %d", r.status)
	}
	if r.result > 0 {
		return 0, fmt.Errorf("the kfunc returned %d", r.result)
	}
	return syscall.Errno(-r.result), nil
}

const marker = "~Module signature appended~\n"

// splitValue takes a map value apart in the order of bpf_map_verify_value_sig
// and mod_check_sig (patch 1 of "bpf: Add support for maps with authenticated
// values"): no released kernel has that code, so this is its only transcription
// here, written apart from the program's own on purpose.
func splitValue(value []byte) (data, signature []byte, errno syscall.Errno) {
	if len(value) <= 4 {
		return nil, nil, unix.ENOENT
	}
	n := uint64(binary.BigEndian.Uint32(value))
	if n > uint64(len(value)-4) {
		return nil, nil, unix.EINVAL
	}
	file := value[4 : 4+n]
	if len(file) <= len(marker) || string(file[len(file)-len(marker):]) != marker {
		return nil, nil, unix.ENOENT
	}
	file = file[:len(file)-len(marker)]
	if len(file) <= 12 {
		return nil, nil, unix.EBADMSG
	}
	file, info := file[:len(file)-12], file[len(file)-12:]
	size := uint64(binary.BigEndian.Uint32(info[8:]))
	if size >= uint64(len(file)) {
		return nil, nil, unix.EBADMSG
	}
	if info[2] != 2 { // PKEY_ID_PKCS7
		return nil, nil, unix.ENOPKG
	}
	if !bytes.Equal(info[:2], []byte{0, 0}) || !bytes.Equal(info[3:8], make([]byte, 5)) {
		return nil, nil, unix.EBADMSG
	}
	cut := uint64(len(file)) - size
	return file[:cut], file[cut:], 0
}
