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

// TestPackedModule: damaged modules as booted kernels answered that decompress by themselves
// (6.12 with xz, gzip and zstd; test/kernel boots them with more).
func TestPackedModule(t *testing.T) {
	module := read(t, "../testdata/golden/hello-rsa2048-sha256.ko")
	file := map[string][]byte{"xz": packWith(t, module, "xz", "--check=crc32"), "zstd": packWith(t, module, "zstd"), "gzip": packWith(t, module, "gzip", "-n")}
	judge := func(format string) *kernel.Judge {
		config := filepath.Join(t.TempDir(), "config")
		text := "# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\nCONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_" +
			strings.ToUpper(format) + "=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := kernel.OfConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		ring := new(kernel.Ring)
		ring.Add(certificates(t, key(t, "rsa2048.pem"))...)
		return kernel.NewJudge(rules, ring, kernel.Module)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 0x10
		return b
	}
	const ok = syscall.Errno(0)
	for format, cases := range map[string]map[string]struct {
		change func([]byte) []byte
		want   syscall.Errno
	}{
		"xz": {
			"whole":        {func(b []byte) []byte { return b }, ok},
			"cut":          {func(b []byte) []byte { return b[:len(b)-20] }, syscall.EINVAL},
			"data flipped": {func(b []byte) []byte { return flip(b, len(b)/2) }, syscall.EINVAL},
			"index":        {func(b []byte) []byte { return flip(b, -16) }, syscall.EINVAL},
			"six bytes":    {func(b []byte) []byte { return b[:6] }, syscall.EINVAL},
			"padding of 3": {func(b []byte) []byte { return append(bytes.Clone(b), 0, 0, 0) }, ok},
			"padding of 4": {func(b []byte) []byte { return append(bytes.Clone(b), 0, 0, 0, 0) }, ok},
			"junk":         {func(b []byte) []byte { return append(bytes.Clone(b), "junk"...) }, ok},
			"twice":        {func(b []byte) []byte { return append(bytes.Clone(b), b...) }, ok},
		},
		"gzip": {
			"whole":          {func(b []byte) []byte { return b }, ok},
			"no trailer":     {func(b []byte) []byte { return b[:len(b)-8] }, ok},
			"bad trailer":    {func(b []byte) []byte { return flip(b, -6) }, ok},
			"junk":           {func(b []byte) []byte { return append(bytes.Clone(b), "junk"...) }, ok},
			"reserved flags": {func(b []byte) []byte { b = bytes.Clone(b); b[3] = 0xe0; return b }, ok},
			"cut":            {func(b []byte) []byte { return b[:len(b)-100] }, syscall.EINVAL},
			"method 7":       {func(b []byte) []byte { b = bytes.Clone(b); b[2] = 7; return b }, syscall.EINVAL},
			"header alone":   {func(b []byte) []byte { return b[:9] }, syscall.EINVAL},
			"header's hash": {func(b []byte) []byte {
				b = bytes.Clone(b)
				b[3] = 2
				return append(b[:10:10], append([]byte{0xff, 0xff}, b[10:]...)...)
			}, syscall.EINVAL},
			"no data": {func(b []byte) []byte { return append(bytes.Clone(b[:10]), 3, 0, 0, 0, 0, 0, 0, 0, 0, 0) }, syscall.EKEYREJECTED},
		},
		"zstd": {
			"whole":           {func(b []byte) []byte { return b }, ok},
			"no checksum":     {func(b []byte) []byte { return b[:len(b)-4] }, ok},
			"half a checksum": {func(b []byte) []byte { return b[:len(b)-2] }, ok},
			"bad checksum":    {func(b []byte) []byte { return flip(b, -1) }, syscall.EINVAL},
			"data flipped":    {func(b []byte) []byte { return flip(b, len(b)/2) }, syscall.EINVAL},
			"junk":            {func(b []byte) []byte { return append(bytes.Clone(b), "junk"...) }, ok},
			"cut":             {func(b []byte) []byte { return b[:len(b)-40] }, syscall.EKEYREJECTED}, // it is what there is
		},
	} {
		for what, c := range cases {
			j, packed := judge(format), c.change(file[format])
			v, err := j.PackedModule(bytes.NewReader(packed), int64(len(packed)))
			if err != nil {
				t.Errorf("%s, %s: %v", format, what, err)
				continue
			}
			if v.LoadErrno != c.want || c.want == syscall.EINVAL && (v.Cause != "container" || v.Advice == "" || v.Log == "") {
				t.Errorf("%s, %s: %v from %s (%s), cause %q, advice %q; want %v", format, what, v.LoadErrno, v.Func, v.Reason, v.Cause, v.Advice, c.want)
			}
			rules, _ := kernel.Of("6.1")
			if _, err := kernel.NewJudge(rules, nil, kernel.Module).PackedModule(bytes.NewReader(packed), int64(len(packed))); err != kernel.ErrByKmod {
				t.Errorf("%s, %s, 6.1: %v", format, what, err)
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
		for _, release := range []string{"6.1", "6.12"} {
			rules, _ := kernel.Of(release)
			if v, err := kernel.NewJudge(rules, nil, kernel.Module).PackedModule(bytes.NewReader(file), int64(len(file))); err == nil && (v.Container == nil || v.Accepted) {
				t.Errorf("%+v", v)
			}
		}
	})
}
