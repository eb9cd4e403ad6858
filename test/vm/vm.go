// Package vm boots stock Debian kernels in QEMU, with a Go program of the test's
// as init, and returns what that program reports (package guest is its side).
//
// No KVM is needed, and a boot takes seconds, so the tests that use it run only
// when asked to: SIGN_FILE_TEST_KERNEL=1. The kernels come from fetch.sh and build.sh.
package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sign-file/test/testenv"
	"sign-file/test/vm/guest"
)

// Kernel is one kernel of the cache.
type Kernel struct {
	Series  string // 6.1, or small-gzip
	Release string // 6.1.0-50-cloud-amd64, its uname -r
	Version string // 6.1.176-1, its Debian package's
	dir     string
}

// Wanted skips the test unless kernels were asked for.
func Wanted(t testing.TB) {
	t.Helper()
	if os.Getenv("SIGN_FILE_TEST_KERNEL") == "" {
		t.Skip("boots kernels, which takes minutes: make test-kernel")
	}
}

// Kernels returns every kernel that fetch.sh put into the cache, oldest first, or
// those of them that SIGN_FILE_TEST_KERNELS lists. It skips like Wanted.
func Kernels(t testing.TB) []Kernel {
	t.Helper()
	Wanted(t)
	found, _ := filepath.Glob(filepath.Join(cache(t), "[0-9]*.[0-9]*", "version"))
	if len(found) == 0 {
		testenv.Missing(t, "a kernel to boot (test/kernel/fetch.sh)")
	}
	var kernels []Kernel
	wanted := strings.Fields(os.Getenv("SIGN_FILE_TEST_KERNELS"))
	for _, version := range found {
		dir := filepath.Dir(version)
		if len(wanted) > 0 && !slices.Contains(wanted, filepath.Base(dir)) {
			continue
		}
		kernels = append(kernels, open(t, dir))
	}
	if len(kernels) == 0 {
		testenv.Missing(t, fmt.Sprintf("a kernel of %v (test/kernel/fetch.sh)", wanted))
	}
	slices.SortFunc(kernels, func(a, b Kernel) int { return compareSeries(a.Series, b.Series) })
	return kernels
}

// Small returns the kernel that build.sh made of a Debian source to decompress modules
// of one format by itself.
func Small(t testing.TB, format string) Kernel {
	t.Helper()
	Wanted(t)
	dir := filepath.Join(cache(t), "small-"+format)
	if _, err := os.Stat(filepath.Join(dir, "version")); err != nil {
		testenv.Missing(t, fmt.Sprintf("a kernel that decompresses %s (test/kernel/build.sh %[1]s)", format))
	}
	return open(t, dir)
}

// cache is where fetch.sh and build.sh leave their kernels.
func cache(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("SIGN_FILE_KERNEL_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sign-file", "kernels")
}

func open(t testing.TB, dir string) Kernel {
	t.Helper()
	k := Kernel{Series: filepath.Base(dir), dir: dir}
	k.Version = strings.TrimSpace(string(k.read(t, "version")))
	k.Release = strings.TrimSpace(string(k.read(t, "release")))
	return k
}

func compareSeries(a, b string) int {
	var x, y [2]int
	fmt.Sscanf(a, "%d.%d", &x[0], &x[1])
	fmt.Sscanf(b, "%d.%d", &y[0], &y[1])
	return slices.Compare(x[:], y[:])
}

// Module returns one of the kernel's own modules with Debian's signature, nil
// where fetch.sh found none of that name: a digest may be built in.
func (k Kernel) Module(t testing.TB, name string) []byte {
	t.Helper()
	if _, err := os.Stat(filepath.Join(k.dir, name+".ko")); err != nil {
		return nil
	}
	return k.read(t, name+".ko")
}

func (k Kernel) read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Config is the path of the kernel's configuration.
func (k Kernel) Config() string { return filepath.Join(k.dir, "config") }

// Image is the path of the kernel as packaged, with the certificates built into it.
func (k Kernel) Image() string { return filepath.Join(k.dir, "vmlinuz") }

// ELF is the path of the ELF file in that image, all that a Small kernel has.
func (k Kernel) ELF() string { return filepath.Join(k.dir, "vmlinux") }

// Build is the path of a Small kernel's build tree, as much of it as modules_install
// needs.
func (k Kernel) Build() string { return filepath.Join(k.dir, "build") }

// File is a file of the machine's root directory, besides the init. It may be executed.
type File struct {
	Name string // without directories
	Data []byte
}

// Options say what to boot with.
type Options struct {
	// Init is the import path of the program that runs as init: its main is guest.Run.
	Init string
	// Files are in the machine's root directory.
	Files []File
	// DB are certificates (DER) for the UEFI variable db. The kernel trusts them
	// in .platform, Debian's for modules too. It makes the boot UEFI: 6 s more.
	DB [][]byte
	// Cmdline is added to the kernel's command line: module.sig_enforce=1, fips=1.
	Cmdline string
	// Processors the machine has, default 1: more are only emulated as well, and
	// are for what threads do to each other.
	Processors int
	// Timeout of the whole boot, default 5 minutes.
	Timeout time.Duration
}

// Boot boots a kernel and returns what its init reported, in order. A machine that
// doesn't come to the init's end fails the test.
func Boot(t testing.TB, k Kernel, o Options) []json.RawMessage {
	t.Helper()
	Wanted(t)
	qemu := testenv.Tool(t, "qemu-system-x86_64")
	dir := t.TempDir()
	program, err := build(filepath.Join(dir, "init"), o.Init)
	if err != nil {
		t.Fatal(err)
	}
	files := []file{{"init", 0o755, program}}
	for _, f := range o.Files {
		files = append(files, file{f.Name, 0o755, f.Data})
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, cpio(files), 0o644); err != nil {
		t.Fatal(err)
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	console, reports := filepath.Join(dir, "console"), filepath.Join(dir, "reports")
	arguments := append(machine(t, dir, k, o),
		"-serial", "file:"+console, "-serial", "file:"+reports, "-initrd", initrd,
		"-append", strings.TrimSpace("console=ttyS0 quiet panic=-1 "+o.Cmdline))
	start := time.Now()
	err = run(t.Context(), o.Timeout, qemu, arguments)
	found, readErr := read(reports)
	if err := errors.Join(err, readErr); err != nil {
		log, _ := os.ReadFile(console)
		t.Fatalf("kernel %s: %v\nits console:\n%s", k.Release, err, log[max(0, len(log)-4000):])
	}
	t.Logf("kernel %s: %d reports in %.1f s", k.Release, len(found), time.Since(start).Seconds())
	return found
}

// machine returns the arguments that describe the machine and its kernel. It is
// emulated in software everywhere: where KVM is nested, stock kernels may not start
// in it. One thread emulates all processors: with more, one of them may run into the
// int3 of code that another patches. Without cx16: QEMU 7.2 computes the flags of
// CMPXCHG16B from a stale state now and then, and 6.12 dies in kmalloc with a pointer
// in EFLAGS.
func machine(t testing.TB, dir string, k Kernel, o Options) []string {
	arguments := []string{
		"-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", strconv.Itoa(max(o.Processors, 1)), "-m", "1024",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
	}
	if len(o.DB) > 0 {
		arguments = append(arguments, "-machine", "q35", "-kernel", k.Image())
		return append(arguments, firmware(t, dir, o.DB)...)
	}
	// The ELF file starts at its PVH entry point and needs no decompressor.
	return append(arguments, "-machine", "pc", "-kernel", k.ELF())
}

// run runs QEMU until it ends or the time is over.
func run(ctx context.Context, timeout time.Duration, qemu string, arguments []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The machine must not outlive a test that is killed. The signal comes when
	// the thread that started it ends, so this goroutine keeps the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, qemu, arguments...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("the machine did not power off in %v", timeout)
	}
	if err != nil {
		return fmt.Errorf("qemu: %w: %s", err, output)
	}
	return nil
}

// read returns what the init wrote to the second serial port.
func read(path string) ([]json.RawMessage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var reports []json.RawMessage
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// UEFI firmware draws on every serial port before the kernel starts.
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue
		}
		var l guest.Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("report %q: %w", lines.Text(), err)
		}
		switch {
		case l.Report != nil:
			reports = append(reports, l.Report)
		case l.Error != "":
			return nil, fmt.Errorf("init: %s", l.Error)
		case l.Done:
			return reports, nil
		}
	}
	return nil, errors.Join(lines.Err(),
		fmt.Errorf("the machine ended in the middle, after %d reports", len(reports)))
}

// build builds a static program for the machine.
func build(path, program string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-buildvcs=false")
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the init: %w: %s", err, output)
	}
	return os.ReadFile(path)
}
