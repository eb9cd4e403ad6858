// Package guest is the inside of a virtual machine of package vm: what its init
// does before and after the test's own part, and how it reports.
//
// The first serial port is the console. The kernel may log there whenever it
// likes, in the middle of a line too, which is why reports go to the second.
package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Line is one line of the second serial port. The last one has Done.
type Line struct {
	Report json.RawMessage `json:"report,omitempty"`
	Error  string          `json:"error,omitempty"` // the machine is broken
	Done   bool            `json:"done,omitempty"`
}

// Run is the whole of an init: it mounts what a program expects, runs main, which
// may report as much as it wants, and ends the machine. main stays on one thread, as
// credentials and the session keyring belong to one.
func Run(main func(report func(any) error) error) {
	// An init loads modules and attaches BPF programs to every system call.
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: not the init of a virtual machine")
		os.Exit(1)
	}
	runtime.LockOSThread()
	if err := run(main); err != nil {
		fmt.Println("init:", err)
	}
	// QEMU has no reboot and ends at one. Power off takes ACPI, which a small kernel
	// lacks. Without either the kernel panics when init ends, and that ends QEMU too.
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func run(main func(report func(any) error) error) error {
	if err := mount(); err != nil {
		return err
	}
	port, err := reports()
	if err != nil {
		return err
	}
	// The firmware may have left half a line there.
	fmt.Fprintln(port)
	out := json.NewEncoder(port)
	err = main(func(v any) error {
		report, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return out.Encode(Line{Report: report})
	})
	if err != nil {
		return out.Encode(Line{Error: err.Error()})
	}
	return out.Encode(Line{Done: true})
}

func mount() error {
	for _, m := range []struct{ kind, dir string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"},
		{"securityfs", "/sys/kernel/security"}, {"bpf", "/sys/fs/bpf"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// reports opens the second serial port, with nothing translated on the way.
func reports() (*os.File, error) {
	port, err := os.OpenFile("/dev/ttyS1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("reports' serial port: %w", err)
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("reports' serial port: %w", err)
	}
	return port, nil
}
