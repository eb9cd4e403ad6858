package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/test/kernel/vector"
)

// loadModule puts a module to the kernel and takes it out again, or keeps it.
func loadModule(keep bool, insert func() error) (vector.Result, error) {
	var r vector.Result
	err := insert()
	if err != nil && !errors.As(err, &r.Errno) {
		return r, err
	}
	if r.Errno != 0 {
		return r, nil
	}
	// The newest module comes first.
	list, err := os.ReadFile("/proc/modules")
	if err != nil {
		return r, err
	}
	name, _, _ := strings.Cut(string(list), " ")
	taint, err := os.ReadFile("/sys/module/" + name + "/taint")
	if err != nil {
		return r, err
	}
	r.Taint = strings.TrimSpace(string(taint))
	if keep {
		return r, nil
	}
	if err := unix.DeleteModule(name, 0); err != nil {
		return r, fmt.Errorf("removing %s: %w", name, err)
	}
	return r, nil
}

func insert(data []byte, flags int) error {
	if flags == 0 {
		return unix.InitModule(data, "")
	}
	fd, err := unix.MemfdCreate("module", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "module")
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return unix.FinitModule(fd, "", flags)
}

// insmod runs kmod, which tells the errno in words.
func insmod(data []byte, suffix string) error {
	path := "/module" + suffix
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("/"+vector.Loader, "--library-path", "/", "--argv0", "insmod", "/kmod", path)
	output, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if !errors.As(err, new(*exec.ExitError)) {
		return fmt.Errorf("kmod: %v", err) // with %w it would pass for the kernel's answer
	}
	why := string(output[bytes.LastIndex(output, []byte(": "))+1:])
	for errno := syscall.Errno(1); errno < 134; errno++ {
		if strings.EqualFold(strings.TrimSpace(why), errno.Error()) {
			return errno
		}
	}
	return fmt.Errorf("kmod: %v: %s", err, output)
}
