package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/test/testenv"
)

// A standard stream that is closed, broken or full: no answer is lost with exit 0, and
// nothing is signed or digested that was not given.
func TestStreams(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, t.TempDir(), 5000)
	for _, c := range []struct {
		command, says string
	}{
		{"digest sha256 - <&-", "standard input: is closed"},
		{"digest --format hex sha256 m.ko >&-", "standard output: is closed"},
		{"inspect m.ko >&-", "standard output: is closed"},
		{"inspect --json m.ko >/dev/full", "no space left"},
		{"--version >&-", "standard output: is closed"},
		{"--version >/dev/full", "no space left"},
		{"--help >/dev/full", "no space left"},
		{"sign --help >/dev/full", "no space left"},
	} {
		if strings.Contains(c.command, ">&-") && !builtWithCgo(t) {
			continue
		}
		out, err := run(t, nil, "sh", "-c", `cd "$1" && exec "$2" `+c.command, "sh", w.dir, program(t))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v, want exit status 1 and %q\n%s", c.command, err, c.says, out)
		}
	}
	// Messages go nowhere, and never into a file that was opened meanwhile.
	out, err := run(t, nil, "sh", "-c", `cd "$1" && exec "$2" sha256 "$3" "$4" m.ko 0<&- 1>&- 2>&-`, "sh", w.dir, program(t), w.key(), w.cert())
	if err != nil || out != "" {
		t.Errorf("all closed: %v %s", err, out)
	}
	w.holds("m.ko", w.signed)
}

// builtWithCgo: only C code runs before Go has opened /dev/null in a closed stream's place.
func builtWithCgo(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command(testenv.Tool(t, "go"), "version", "-m", program(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(out, []byte("CGO_ENABLED=1"))
}

// Who reads no further ends the run as SIGPIPE does, and no file is left over.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	tree := newTree(t, 200)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t), "sign", "--json", "sha256", pair.key, pair.cert, tree.dir)
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	reader.Read(make([]byte, 1))
	reader.Close()
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("%v", cmd.ProcessState)
	}
	if left, _ := filepath.Glob(filepath.Join(tree.dir, "*", ".sign-file-*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// What never ends, and what a few bytes grow into, stops at a limit that is told.
func TestBounded(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"map", "inspect", "/dev/zero"}, {"map", "extract", "/dev/zero"}} {
		out, err := run(t, nil, "prlimit", append([]string{"--data=500000000", program(t)}, args...)...)
		if err == nil || !strings.Contains(out, "larger than 64 MiB") {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	// A hundred thousand trailers, each below the next.
	path := filepath.Join(t.TempDir(), "m.ko")
	empty := "\x00" + "\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "~Module signature appended~\n"
	writeFile(t, path, "a module"+strings.Repeat(empty, 100_000), 0o644)
	out := mustRun(t, nil, program(t), "inspect", path)
	if len(out) > 100_000 || !strings.Contains(out, "and more below these 100") {
		t.Errorf("inspect says %d bytes", len(out))
	}
	out = mustRun(t, nil, program(t), "inspect", "--json", path)
	if len(out) > 100_000 || !strings.Contains(out, `"more":true`) {
		t.Errorf("inspect --json says %d bytes", len(out))
	}
}
