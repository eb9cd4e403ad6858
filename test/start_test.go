package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allocateAtStart are the packages outside the standard library that may allocate before
// main begins, which every run pays for, whatever it does. Before one is added: can it do
// so when it is needed?
func allocateAtStart() []string {
	return []string{
		"filippo.io/mldsa/internal/fips140/mldsa",
		"github.com/cilium/ebpf", "github.com/cilium/ebpf/asm", "github.com/cilium/ebpf/btf", "github.com/cilium/ebpf/internal",
		"github.com/cilium/ebpf/internal/linux", "github.com/cilium/ebpf/internal/mountinfo", "github.com/cilium/ebpf/internal/tracefs",
		"github.com/klauspost/compress/internal/snapref",
		"github.com/miekg/pkcs11",
		"github.com/ulikunitz/xz", "github.com/ulikunitz/xz/lzma", "github.com/xi2/xz",
		"github.com/urfave/cli/v2",
		"golang.org/x/crypto/cryptobyte",
		"golang.org/x/sys/cpu", "golang.org/x/sys/unix",
		// Ours: errors that wrap others, and what is made when it is needed.
		"sign-file/internal/cli", "sign-file/internal/fips204", "sign-file/kernel", "sign-file/kernel/trust", "sign-file/keys", "sign-file/signfile",
	}
}

// Limits of what is allocated before main begins, in bytes. What each package of the
// standard library takes differs from one release of Go to the next.
const (
	maxAtStart = 160 << 10
	maxOfOurs  = 2 << 10
)

// TestStart reads what the runtime tells of each package's start, of the program with and
// without keys on tokens.
func TestStart(t *testing.T) {
	static := filepath.Join(t.TempDir(), "sign-file")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,netgo,osusergo", "-o", static, "sign-file")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes, (\d+) allocs$`)
	for what, binary := range map[string]string{"static": static, "with tokens": program(t)} {
		out, _ := run(t, []string{"GODEBUG=inittrace=1"}, binary, "-h") // exit 2
		var all, ours int
		for _, found := range line.FindAllStringSubmatch(out, -1) {
			name := found[1]
			bytes, err := strconv.Atoi(found[2])
			if err != nil {
				t.Fatal(err)
			}
			all += bytes
			first, _, _ := strings.Cut(name, "/")
			isOurs := first == "sign-file"
			if isOurs {
				ours += bytes
			}
			if found[3] != "0" && (isOurs || strings.Contains(first, ".")) && !slices.Contains(allocateAtStart(), name) {
				t.Errorf("%s: %s allocates %d bytes at each start", what, name, bytes)
			}
		}
		if all == 0 || all > maxAtStart || ours > maxOfOurs {
			t.Errorf("%s: %d bytes are allocated at each start, %d of them by packages of ours, want at most %d and %d", what, all, ours, maxAtStart, maxOfOurs)
		}
	}
}
