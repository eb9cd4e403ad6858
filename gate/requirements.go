package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Requirement is something that a gate needs of the kernel, and is missing.
type Requirement struct {
	What string // what is missing
	Do   string // how to get it
}

func (r *Requirement) Error() string { return fmt.Sprintf("%s (%s)", r.What, r.Do) }

// MissingError says all that a kernel lacks for a gate.
type MissingError struct{ Missing []Requirement }

func (e *MissingError) Error() string {
	var lines []string
	for _, r := range e.Missing {
		lines = append(lines, r.Error())
	}
	return "this system can't have a gate: " + strings.Join(lines, "; ")
}

// missing checks what can be checked before anything is made.
func missing(dir string) error {
	var found []Requirement
	lacks := func(what, do string) { found = append(found, Requirement{what, do}) }

	if !onBPF(dir) {
		lacks(dir+" is not on a BPF filesystem", "mount -t bpf bpf /sys/fs/bpf")
	}
	if !privileged() {
		lacks("no right to load BPF programs", "run it as root, or with CAP_BPF and CAP_PERFMON")
	}
	if lockdown() == "confidentiality" {
		lacks("the kernel is locked down for confidentiality, so BPF programs can't read its memory", "boot with lockdown=integrity")
	}
	if kernel, err := btf.LoadKernelSpec(); err != nil {
		lacks("the kernel does not describe its types", "it needs CONFIG_DEBUG_INFO_BTF")
	} else if _, err := kernel.AnyTypeByName("bpf_verify_pkcs7_signature"); err != nil {
		lacks("the kernel has no bpf_verify_pkcs7_signature", "it needs Linux 6.1, CONFIG_KEYS and CONFIG_SYSTEM_DATA_VERIFICATION")
	}
	if len(found) > 0 {
		return &MissingError{found}
	}
	return nil
}

// onBPF tells whether the folder, or the one that it would be made in, is on a BPF
// filesystem. Where the process may not look it may be.
func onBPF(dir string) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	for err == unix.ENOENT && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &fs)
	}
	return err == unix.EACCES || err == nil && uint32(fs.Type) == unix.BPF_FS_MAGIC // the field has 32 bits on some machines
}

// checkOwners refuses a folder in which another user could put another gate in the place
// of this one: in a BPF filesystem of mode 1777, which is mount's default, anybody may
// have made it first.
func checkOwners(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for ; onBPF(dir); dir = filepath.Dir(dir) {
		var link, folder unix.Stat_t
		if err := unix.Lstat(dir, &link); err != nil {
			return &os.PathError{Op: "lstat", Path: dir, Err: err}
		}
		if err := unix.Stat(dir, &folder); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		for _, owner := range []uint32{link.Uid, folder.Uid} {
			if owner != 0 && int(owner) != os.Geteuid() {
				return fmt.Errorf("%s belongs to the user %d, who could put another gate in the place of this one", dir, owner)
			}
		}
		if folder.Mode&unix.S_IWOTH != 0 && folder.Mode&unix.S_ISVTX == 0 {
			return fmt.Errorf("every user may write to %s, and could put another gate in the place of this one", dir)
		}
	}
	return nil
}

// privileged tells whether the process may load the programs: CAP_SYS_ADMIN, or
// CAP_BPF with CAP_PERFMON.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	effective := uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	has := func(capability uint) bool { return effective>>capability&1 == 1 }
	return has(unix.CAP_SYS_ADMIN) || has(unix.CAP_BPF) && has(unix.CAP_PERFMON)
}

// lsmIDBPF is LSM_ID_BPF of linux/lsm.h.
const lsmIDBPF = 109

// lsmActive tells whether BPF programs can be attached to the hooks of the Linux
// security modules, and are called there. Where securityfs is not mounted the system
// call tells, from Linux 6.8 on.
func lsmActive() bool {
	if text, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		return slices.Contains(strings.Split(strings.TrimSpace(string(text)), ","), "bpf")
	}
	var ids [64]uint64
	size := uint32(unsafe.Sizeof(ids))
	n, _, errno := unix.Syscall(unix.SYS_LSM_LIST_MODULES, uintptr(unsafe.Pointer(&ids)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && slices.Contains(ids[:min(int(n), len(ids))], lsmIDBPF)
}

// lockdown returns the mode in force: none, integrity or confidentiality.
func lockdown() string {
	text, _ := os.ReadFile("/sys/kernel/security/lockdown")
	_, rest, _ := strings.Cut(string(text), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}
