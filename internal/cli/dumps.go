package cli

import (
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutDumps leaves to the kernel, as every C program does, the signals at which Go prints
// registers and arguments: words of a private key may be among them. What panics says so
// without a traceback. GOTRACEBACK in the environment brings both back.
func withoutDumps() {
	if os.Getenv("GOTRACEBACK") != "" {
		return
	}
	debug.SetTraceback("none")
	var byDefault [4]uint64 // struct sigaction: SIG_DFL, without flags
	for _, signal := range []unix.Signal{unix.SIGQUIT, unix.SIGABRT, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS} {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	}
}
