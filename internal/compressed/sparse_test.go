package compressed

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"sign-file/test/testenv"
)

// packedZeros is a file of that many zeros, compressed.
func packedZeros(t *testing.T, size int) []byte {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "zstd"), "-q", "-c")
	cmd.Stdin = io.LimitReader(zeroReader{}, int64(size))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func newFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func blocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks
}

// Zeros take no room on the disk.
func TestHoles(t *testing.T) {
	const size = 64<<20 + 5
	f := newFile(t, "m.ko")
	format, _ := Of("m.ko.zst")
	if err := format.Decompress(t.Context(), f, bytes.NewReader(packedZeros(t, size))); err != nil {
		t.Fatal(err)
	}
	info, _ := f.Stat()
	if info.Size() != size {
		t.Errorf("%d bytes, want %d", info.Size(), size)
	}
	probe := newFile(t, "probe")
	if probe.Truncate(1 << 20); blocks(t, probe) > 8 {
		t.Skip("a file system without holes")
	}
	if n := blocks(t, f); n > 64 {
		t.Errorf("%d blocks of 512 bytes for nothing but zeros", n)
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != size {
		t.Errorf("the offset is %d, %v", at, err)
	}
}

// Whatever is written in whatever pieces, the file has it.
func TestSparseContent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		f := newFile(t, "file")
		var want []byte
		for range random.IntN(3) { // content before
			want = append(want, bytes.Repeat([]byte{1}, random.IntN(5000))...)
		}
		if _, err := f.Write(want); err != nil {
			t.Fatal(err)
		}
		s := newSparse(f)
		for range random.IntN(8) {
			piece := make([]byte, random.IntN(20000))
			if random.IntN(2) == 0 {
				for range random.IntN(4) {
					if len(piece) > 0 {
						piece[random.IntN(len(piece))] = 7
					}
				}
			}
			want = append(want, piece...)
			if n, err := s.Write(piece); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes that are not the %d written, %v", len(got), len(want), err)
		}
	}
}

// What is in a file already is not taken for a hole.
func TestNoHolesOverContent(t *testing.T) {
	f := newFile(t, "file")
	f.WriteString("content")
	f.Seek(0, io.SeekStart)
	if newSparse(f) != nil || newSparse(io.Discard) != nil {
		t.Error("holes where there is something else")
	}
}
