package compressed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"sign-file/test/testenv"
)

var suffixes = []string{".ko.xz", ".ko.zst", ".ko.gz"}

// plain returns hello.ko open, 400 times over, so that it is longer than any buffer.
func plain(t *testing.T) (*os.File, []byte) {
	t.Helper()
	content := bytes.Repeat(hello(t), 400)
	path := filepath.Join(t.TempDir(), "m.ko")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

// onlyTool puts a script of that name in PATH, before everything else.
func onlyTool(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// What a sound tool writes passes, and so does what is written without one.
func TestCheckAccepts(t *testing.T) {
	for _, path := range []string{os.Getenv("PATH"), t.TempDir()} {
		t.Setenv("PATH", path)
		for _, suffix := range suffixes {
			format, _ := Of("m" + suffix)
			src, content := plain(t)
			var out bytes.Buffer
			if err := format.Compress(t.Context(), &out, src); err != nil {
				t.Fatal(err)
			}
			if out.Len() > len(content)/2 {
				t.Errorf("%s: %d bytes of %d", suffix, out.Len(), len(content))
			}
			if err := format.Check(t.Context(), &out, bytes.NewReader(content)); err != nil {
				t.Errorf("%s: %v", suffix, err)
			}
		}
	}
}

// A tool that ends with status 0 may have written anything.
func TestCheckRefuses(t *testing.T) {
	for _, suffix := range suffixes {
		format, _ := Of("m" + suffix)
		tool := format.tool[0]
		real := testenv.Tool(t, tool)
		for name, script := range map[string]string{
			"nothing":          "cat >/dev/null",
			"its version":      real + " --version",
			"what it read":     "cat",
			"a part":           "head -c 100000 | " + real + " -c",
			"more":             "(cat; echo) | " + real + " -c",
			"another module":   "(echo; cat) | " + real + " -c",
			"one byte changed": "cat > $TMPDIR/x; printf x | dd of=$TMPDIR/x bs=1 seek=1000000 conv=notrunc 2>/dev/null; " + real + " -c < $TMPDIR/x",
			"half of it":       real + " -c | head -c 1000",
			"junk behind":      real + " -c; echo junk",
			"another format":   map[string]string{"xz": "gzip -c", "zstd": "gzip -c", "gzip": "xz -c"}[tool],
		} {
			t.Run(tool+" "+name, func(t *testing.T) {
				onlyTool(t, tool, script)
				t.Setenv("TMPDIR", t.TempDir())
				src, content := plain(t)
				var out bytes.Buffer
				if err := format.Compress(t.Context(), &out, src); err != nil {
					t.Fatalf("the stand-in fails, and so proves nothing: %v", err)
				}
				err := format.Check(t.Context(), &out, bytes.NewReader(content))
				var toolErr *ToolError
				if !errors.As(err, &toolErr) || toolErr.Tool != tool || !errors.Is(err, ErrNotTheModule) {
					t.Errorf("%v", err)
				}
				t.Log(err)
			})
		}
	}
}

// The environment of whoever signs decides nothing, and its secrets stay here.
func TestEnvironment(t *testing.T) {
	for _, variable := range []string{
		"XZ_OPT=--version", "XZ_DEFAULTS=--format=raw --lzma1", "GZIP=-1 --version", "ZSTD_CLEVEL=1", "ZSTD_NBTHREADS=3",
		"KBUILD_SIGN_PIN=1234", "LC_ALL=de_DE.UTF-8", "LD_PRELOAD=/nonexistent.so",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	src, content := plain(t)
	for suffix, commands := range makers {
		format, _ := Of("m" + suffix)
		var out bytes.Buffer
		if err := format.Compress(t.Context(), &out, src); err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(strings.TrimSuffix(commands[0], " -c"))
		cmd := exec.Command(testenv.Tool(t, words[0]), append(words[1:], "-c")...)
		cmd.Stdin, cmd.Env = bytes.NewReader(content), []string{}
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if suffix != ".ko.zst" && !bytes.Equal(out.Bytes(), want) { // zstd writes a file's size down
			t.Errorf("%s: %d bytes, not the %d that %s writes", suffix, out.Len(), len(want), words[0])
		}
		if err := format.Check(t.Context(), &out, bytes.NewReader(content)); err != nil {
			t.Errorf("%s: %v", suffix, err)
		}
	}
	onlyTool(t, "xz", "env >&2; exit 1")
	format, _ := Of("m.ko.xz")
	err := format.Compress(t.Context(), io.Discard, src)
	var toolErr *ToolError
	if !errors.As(err, &toolErr) || !strings.Contains(toolErr.Said, "PATH=") {
		t.Fatal(err)
	}
	for _, name := range []string{"XZ_", "GZIP", "ZSTD", "KBUILD", "1234", "LD_", "de_DE"} {
		if strings.Contains(toolErr.Said, name) {
			t.Errorf("the tool gets %s", toolErr.Said)
		}
	}
}

func TestToolFails(t *testing.T) {
	src, _ := plain(t)
	format, _ := Of("m.ko.xz")
	onlyTool(t, "xz", "head -c 100000 /dev/zero | tr '\\0' e >&2; exit 7")
	err := format.Compress(t.Context(), io.Discard, src)
	var toolErr *ToolError
	if !errors.As(err, &toolErr) || toolErr.Tool != "xz" || len(err.Error()) > 600 || !strings.Contains(err.Error(), "exit status 7 (it said: \"eee") {
		t.Errorf("%.200v", err)
	}
	full := errors.New("full")
	onlyTool(t, "xz", "cat")
	if err := format.Compress(t.Context(), brokenWriter{full}, src); !errors.Is(err, full) || errors.As(err, &toolErr) {
		t.Errorf("where the output can't be written: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// Nothing outlives the context: neither a tool with children nor a decompression.
func TestCancel(t *testing.T) {
	src, content := plain(t)
	format, _ := Of("m.ko.xz")
	onlyTool(t, "xz", "sleep 300 & cat >/dev/null; sleep 300")
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() { started <- format.Compress(ctx, io.Discard, src) }()
	cancel()
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Errorf("compressing: %v", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	bomb := packedZeros(t, 1<<30)
	zst, _ := Of("m.ko.zst")
	if err := zst.Decompress(ctx, cancelAfter{cancel}, bytes.NewReader(bomb)); !errors.Is(err, context.Canceled) {
		t.Errorf("decompressing: %v", err)
	}
	if err := zst.Check(ctx, bytes.NewReader(bomb), bytes.NewReader(content)); !errors.Is(err, context.Canceled) {
		t.Errorf("checking: %v", err)
	}
}

type cancelAfter struct{ context.CancelFunc }

func (c cancelAfter) Write(b []byte) (int, error) {
	c.CancelFunc()
	return len(b), nil
}

// A module that can't be read is not the tool's fault.
func TestCheckReadError(t *testing.T) {
	format, _ := Of("m.ko.gz")
	broken := errors.New("broken")
	for name, module := range map[string]io.Reader{
		"at once":    iotest.ErrReader(broken),
		"in between": io.MultiReader(bytes.NewReader(hello(t)[:100]), iotest.ErrReader(broken)),
		"at the end": io.MultiReader(bytes.NewReader(hello(t)), iotest.ErrReader(broken)),
	} {
		err := format.Check(t.Context(), bytes.NewReader(packed(t, "gzip -c")), module)
		var toolErr *ToolError
		if !errors.Is(err, broken) || errors.As(err, &toolErr) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimits runs TestUnderLimits with few files and with little memory.
func TestLimits(t *testing.T) {
	testenv.Tool(t, "xz")
	for limit, want := range map[string]string{
		"ulimit -n 10":      "too many open files (only 10 files may be open: ulimit -n)",
		"ulimit -v 1500000": "(only 1500000 KiB of memory may be used: ulimit -v)",
	} {
		cmd := exec.Command("sh", "-c", limit+"; exec \"$0\" -test.run '^TestUnderLimits$' -test.v", os.Args[0])
		cmd.Env = append(os.Environ(), "SIGN_FILE_TEST_LIMITS=1")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "ThreadSanitizer failed to allocate") {
			continue // go test -race needs terabytes of addresses
		}
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q\n%s", limit, err, want, out)
		}
	}
}

func TestUnderLimits(t *testing.T) {
	if os.Getenv("SIGN_FILE_TEST_LIMITS") == "" {
		t.Skip("TestLimits runs it")
	}
	src, _ := plain(t)
	onlyTool(t, "xz", "ulimit -v 4000; exec /usr/bin/xz \"$@\"")
	for _, suffix := range suffixes {
		format, _ := Of("m" + suffix)
		err := format.Compress(t.Context(), io.Discard, src)
		var toolErr *ToolError
		if err != nil && !errors.As(err, &toolErr) {
			t.Errorf("%v is not a tool's error", err)
		}
		t.Log(err)
	}
}

// The zero value is not a format, and says so.
func TestZeroFormat(t *testing.T) {
	var format Format
	src, _ := plain(t)
	for _, err := range []error{
		format.Compress(t.Context(), io.Discard, src),
		format.Decompress(t.Context(), io.Discard, src),
		format.Check(t.Context(), src, src),
	} {
		if !errors.Is(err, errNoFormat) {
			t.Errorf("%v", err)
		}
	}
}
