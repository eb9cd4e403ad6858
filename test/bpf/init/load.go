package main

import (
	"errors"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sign-file/test/bpf/trial"
)

// mapCreate, mapElement, progLoad and testRun are members of union bpf_attr
// (include/uapi/linux/bpf.h of Linux 7.3), as far as they are needed.
type mapCreate struct {
	kind, keySize, valueSize, maxEntries, flags uint32
	innerMap, numaNode                          uint32
	name                                        [16]byte
	ifindex, btfFD, btfKey, btfValue            uint32
	vmlinuxValue                                uint32
	extra                                       uint64
	valueTypeBTF, tokenFD                       int32
	exclusiveHash                               unsafe.Pointer
	exclusiveHashSize                           uint32
	_                                           uint32
}

type mapElement struct {
	fd         uint32
	_          uint32
	key, value unsafe.Pointer
	flags      uint64
}

type progLoad struct {
	kind, count              uint32
	instructions, license    unsafe.Pointer
	logLevel, logSize        uint32
	log                      unsafe.Pointer
	version, flags           uint32
	name                     [16]byte
	ifindex, attachType      uint32
	btfFD, funcInfoSize      uint32
	funcInfo                 uint64
	funcInfoCount            uint32
	lineInfoSize             uint32
	lineInfo                 uint64
	lineInfoCount, attachBTF uint32
	attachProgram, coreCount uint32
	fdArray                  unsafe.Pointer
	coreRelos                uint64
	coreReloSize             uint32
	logTrueSize              uint32
	token                    int32
	fdArrayCount             uint32
	signature                unsafe.Pointer
	signatureSize            uint32
	keyring                  int32
}

type testRun struct {
	fd, result             uint32
	inSize, outSize        uint32
	in                     unsafe.Pointer
	out                    uint64
	repeat, duration       uint32
	contextSize, _         uint32
	context                unsafe.Pointer
	_                      uint64
	flags, cpu, batch, pad uint32
}

type objInfo struct {
	fd, size uint32
	info     unsafe.Pointer
}

// mapInfo is struct bpf_map_info, whose hash makes the kernel compute one.
type mapInfo struct {
	_        [88]byte
	hash     unsafe.Pointer
	hashSize uint32
	_        uint32
}

func bpf(command int, attr unsafe.Pointer, size uintptr) (int, syscall.Errno) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
	return int(fd), errno
}

func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

// load does what libbpf's bpf_load_and_run does.
func load(l trial.Loader, keyring int32, bind bool) (trial.Result, error) {
	defer runtime.KeepAlive(&l)
	fds := [1]int32{-1}
	if len(l.Data) > 0 {
		fd, errno := makeMap(l)
		if errno != 0 {
			return trial.Result{Errno: errno, Where: "BPF_MAP_CREATE"}, nil
		}
		defer unix.Close(fd)
		if err := fill(fd, l.Data, !bind); err != nil {
			return trial.Result{}, err
		}
		fds[0] = int32(fd)
	}
	license := append([]byte("Dual BSD/GPL"), 0)
	attr := progLoad{
		kind: unix.BPF_PROG_TYPE_SYSCALL, count: uint32(len(l.Instructions) / 8), instructions: pointer(l.Instructions),
		license: pointer(license), flags: 1 << 4, // BPF_F_SLEEPABLE
		signature: pointer(l.Signature), signatureSize: uint32(len(l.Signature)), keyring: keyring,
	}
	if l.EmptySignature {
		attr.signature, attr.signatureSize = unsafe.Pointer(&license[0]), 0
	}
	if fds[0] >= 0 {
		attr.fdArray = unsafe.Pointer(&fds)
		if bind {
			attr.fdArrayCount = 1
		}
	}
	var fd int
	errno := unix.EAGAIN
	for errno == unix.EAGAIN { // a signal, of Go's own: the verifier wants to be asked again
		fd, errno = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Offsetof(attr.keyring)+4)
	}
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return trial.Result{Errno: errno, Where: "BPF_PROG_LOAD"}, nil
	}
	defer unix.Close(fd)
	if l.ContextSize == 0 {
		return trial.Result{}, nil
	}
	return run(fd, l.ContextSize)
}

func makeMap(l trial.Loader) (int, syscall.Errno) {
	attr := mapCreate{
		kind: unix.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: uint32(len(l.Data)), maxEntries: 1,
		exclusiveHash: pointer(l.ExclusiveHash), exclusiveHashSize: uint32(len(l.ExclusiveHash)),
	}
	return bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Offsetof(attr.exclusiveHashSize)+4)
}

// fill puts the data into the map, freezes it, and has the kernel compute its digest,
// which the loaders for Linux 6.18 to 7.2 wait for: libbpf for these did that.
func fill(fd int, data []byte, hashed bool) error {
	key := uint32(0)
	attr := mapElement{fd: uint32(fd), key: unsafe.Pointer(&key), value: pointer(data)}
	if _, errno := bpf(unix.BPF_MAP_UPDATE_ELEM, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	if _, errno := bpf(unix.BPF_MAP_FREEZE, unsafe.Pointer(&attr), 4); errno != 0 {
		return errno
	}
	if !hashed {
		return nil
	}
	hash := make([]byte, 32)
	info := mapInfo{hash: pointer(hash), hashSize: 32}
	ask := objInfo{fd: uint32(fd), size: uint32(unsafe.Sizeof(info)), info: unsafe.Pointer(&info)}
	_, errno := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&ask), unsafe.Sizeof(ask))
	runtime.KeepAlive(&info)
	if errno != 0 {
		return errors.New("BPF_OBJ_GET_INFO_BY_FD: " + errno.Error())
	}
	return nil
}

// run runs a loader. The descriptors that it makes stay open until the machine ends.
func run(fd, contextSize int) (trial.Result, error) {
	context := make([]byte, contextSize)
	context[0], context[1] = byte(contextSize), byte(contextSize>>8) // bpf_loader_ctx.sz
	attr := testRun{fd: uint32(fd), contextSize: uint32(contextSize), context: pointer(context)}
	_, errno := bpf(unix.BPF_PROG_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno == 0 && int32(attr.result) < 0 {
		errno = syscall.Errno(-int32(attr.result))
	}
	if errno != 0 {
		return trial.Result{Errno: errno, Where: "BPF_PROG_RUN"}, nil
	}
	return trial.Result{}, nil
}
