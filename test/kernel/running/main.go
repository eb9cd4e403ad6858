// Command running is the only program of a virtual machine that is asked what it trusts. It
// has package trust look, which sees the files of a machine, and keyrings.
package main

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/test/vm/guest"
)

// Answer is what the machine reports.
type Answer struct {
	Keyrings map[kernel.Keyring][]string
	Notes    []string
	// Unsigned is what an unsigned module comes to by what the machine tells of itself, with
	// securityfs and without.
	Unsigned [2]syscall.Errno
}

func main() { guest.Run(answer) }

func answer(report func(any) error) error {
	release, err := kernel.Release()
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/boot", 0o755); err != nil {
		return err
	}
	if err := os.Rename("/vmlinuz", "/boot/vmlinuz-"+release); err != nil {
		return err
	}
	if err := os.Rename("/config", "/boot/config-"+release); err != nil {
		return err
	}
	// efivarfs is a module. The variable is what the firmware has, which the kernel has read.
	const efivars = "/sys/firmware/efi/efivars"
	if err := unix.Mount("tmpfs", efivars, "tmpfs", 0, ""); err != nil {
		return err
	}
	db, err := os.ReadFile("/db")
	if err != nil {
		return err
	}
	if err := os.WriteFile(efivars+"/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f", append(make([]byte, 4), db...), 0o600); err != nil {
		return err
	}
	var ring kernel.Ring
	a := Answer{Keyrings: map[kernel.Keyring][]string{}}
	if a.Notes, err = trust.Load(&ring, trust.Running); err != nil {
		return err
	}
	for _, keyring := range []kernel.Keyring{kernel.Named, kernel.Builtin, kernel.Secondary, kernel.Machine, kernel.Platform} {
		for _, c := range ring.In(keyring) {
			a.Keyrings[keyring] = append(a.Keyrings[keyring], certificate.FormatName(c.Subject))
		}
	}
	for i := range a.Unsigned {
		if a.Unsigned[i], err = unsigned(); err != nil {
			return err
		}
		unix.Unmount("/sys/kernel/security", 0) // the second time it is gone already
	}
	return report(a)
}

// unsigned judges a file without a signature by this machine's rules.
func unsigned() (syscall.Errno, error) {
	rules, _, err := kernel.Running()
	if err != nil {
		return 0, err
	}
	const file = "a file that is long enough to be looked at as a module is, and no module"
	v, err := kernel.NewJudge(rules, nil, kernel.Module).Module(strings.NewReader(file), int64(len(file)))
	if err == nil && v.Unsure != "" {
		err = errors.New(v.Unsure)
	}
	if err != nil {
		return 0, err
	}
	return v.LoadErrno, nil
}
