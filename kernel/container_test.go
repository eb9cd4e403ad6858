package kernel_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/kernel"
	"sign-file/test/testenv"
)

// TestContainerDamaged: what follows the module, or hides where it ends, is not decided;
// what a booted kernel says to whole files is in test/kernel.
func TestContainerDamaged(t *testing.T) {
	module := bytes.Repeat([]byte("module"), 1000)
	packed := map[string][]byte{"xz": packWith(t, module, "xz", "--check=crc32"), "zstd": packWith(t, module, "zstd"), "gzip": packWith(t, module, "gzip")}
	for format, file := range packed {
		for what, damaged := range map[string][]byte{
			"whole":       file,
			"twice":       append(bytes.Clone(file), file...),
			"a byte more": append(bytes.Clone(file), 0),
			"cut":         file[:len(file)-1],
			"head":        file[:8],
			"padded":      append(bytes.Clone(file), 0, 0, 0, 0),
		} {
			size := len(module)
			if what == "twice" {
				size *= 2
			}
			c := kernel.ContainerOf(bytes.NewReader(damaged), int64(len(damaged)), int64(size))
			if c.Format != format || (c.Problem == "") != (what == "whole") {
				t.Errorf("%s, %s: %+v", format, what, c)
			}
		}
	}
}

func packWith(t testing.TB, data []byte, tool string, options ...string) []byte {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, tool), append(options, "-c")...)
	cmd.Stdin = bytes.NewReader(data)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return packed
}

// TestContainerTooLarge: finit_module reads 2 GiB less a byte, whatever is in them.
func TestContainerTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.ko")
	if err := os.WriteFile(path, []byte("\xfd7zXZ\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<31); err != nil {
		t.Skipf("no room for a sparse file of 2 GiB: %v", err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rules, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	judge := kernel.NewJudge(rules, nil, kernel.Module)
	v, err := judge.Module(f, 1<<31)
	if err != nil || v.Errno != syscall.EFBIG || v.LoadErrno != syscall.EFBIG {
		t.Errorf("a module of 2 GiB: %+v, %v", v, err)
	}
	v, err = judge.CompressedModule(f, 1<<31, strings.NewReader("module"), 6)
	if err != nil || v.Errno != syscall.EFBIG {
		t.Errorf("a compressed file of 2 GiB: %+v, %v", v, err)
	}
}

func FuzzContainer(f *testing.F) {
	module := []byte(strings.Repeat("module", 100))
	f.Add(packWith(f, module, "xz", "--x86", "--lzma2"))
	f.Add(packWith(f, module, "xz", "-T2", "--block-size=100"))
	f.Add(packWith(f, module, "zstd"))
	f.Add(packWith(f, module, "gzip"))
	f.Fuzz(func(t *testing.T, file []byte) {
		c := kernel.ContainerOf(bytes.NewReader(file), int64(len(file)), int64(len(module)))
		if c.Format == "" && c.Problem == "" {
			t.Error("neither a format nor a problem")
		}
	})
}
