package bounded_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"sign-file/internal/bounded"
)

func TestRead(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name, in string
		limit    int64
		tooLarge bool
	}{
		{"empty", "", 4, false},
		{"below", "abc", 4, false},
		{"at the limit", "abcd", 4, false},
		{"above", "abcde", 4, true},
		{"nothing allowed, nothing there", "", 0, false},
		{"nothing allowed", "a", 0, true},
		{"far above", strings.Repeat("x", 1<<16), 1 << 10, true},
	} {
		got, err := bounded.Read(iotest.OneByteReader(strings.NewReader(c.in)), c.limit)
		var tooLarge *bounded.TooLargeError
		if c.tooLarge {
			if !errors.As(err, &tooLarge) || tooLarge.Limit != c.limit {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err != nil || string(got) != c.in {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	if _, err := bounded.Read(iotest.ErrReader(broken), 4); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A file that never ends, one that is none, one that is larger than it says.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := bounded.ReadFile(path, 7); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	for name, limit := range map[string]int64{path: 6, dir: 100, filepath.Join(dir, "none"): 100, "/dev/zero": 1 << 20} {
		got, err := bounded.ReadFile(name, limit)
		var pathErr *fs.PathError
		if !errors.As(err, &pathErr) || pathErr.Path != name || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if strings.Count(err.Error(), name) != 1 {
			t.Errorf("the file is named twice: %v", err)
		}
	}
	if got, err := bounded.ReadFile("/proc/self/status", 1<<20); err != nil || !bytes.HasPrefix(got, []byte("Name:")) {
		t.Errorf("a file without a size: %q, %v", got, err)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{16 << 20: "16 MiB", 64 << 10: "64 KiB", 1000: "1000 bytes", 0: "0 bytes"} {
		if got := bounded.Size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestBuffer(t *testing.T) {
	b := bounded.Buffer{Limit: 4}
	for _, s := range []string{"ab", "cd"} {
		b.Write([]byte(s))
	}
	if b.Truncated() || string(b.Bytes()) != "abcd" {
		t.Errorf("%q, %v", b.Bytes(), b.Truncated())
	}
	if n, err := b.Write([]byte("ef")); n != 2 || err != nil || !b.Truncated() || string(b.Bytes()) != "abcd" {
		t.Errorf("%d, %v, %q", n, err, b.Bytes())
	}
	var zero bounded.Buffer
	if zero.Write([]byte("x")); len(zero.Bytes()) != 0 || !zero.Truncated() {
		t.Error("the zero value keeps something")
	}
}
