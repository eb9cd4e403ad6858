package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"sign-file/test/bpf/trial"
)

// runAndFilter runs a program that pins a filter, and has that filter look at packets.
func runAndFilter(t trial.Trial, keyring int32) (trial.Result, error) {
	defer os.Remove(t.Pin)
	arguments := slices.Clone(t.Arguments)
	for i := range arguments {
		arguments[i] = strings.ReplaceAll(arguments[i], "{keyring}", strconv.Itoa(int(keyring)))
	}
	cmd := exec.Command("/"+t.Program, arguments...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/"}
	out, err := cmd.CombinedOutput()
	result := trial.Result{Output: string(out)}
	if err != nil {
		return result, nil // what it said is looked at
	}
	fd, err := openPin(t.Pin)
	if err != nil {
		return result, err
	}
	defer unix.Close(fd)
	for _, packet := range t.Packets {
		action, err := filter(fd, packet)
		if err != nil {
			return result, err
		}
		result.Actions = append(result.Actions, action)
	}
	return result, nil
}

func openPin(path string) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	attr := struct {
		path  unsafe.Pointer
		fd    uint32
		flags uint32
	}{path: unsafe.Pointer(name)}
	fd, errno := bpf(unix.BPF_OBJ_GET, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return 0, errno
	}
	return fd, nil
}

// filter is BPF_PROG_TEST_RUN of an XDP program.
func filter(fd int, packet []byte) (action uint32, err error) {
	attr := testRun{fd: uint32(fd), inSize: uint32(len(packet)), in: pointer(packet), repeat: 1}
	_, errno := bpf(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return 0, errno
	}
	return attr.result, nil
}
