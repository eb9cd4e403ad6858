package compressed

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// packed returns hello.ko as a command compresses it from standard input.
func packed(t testing.TB, command string) []byte {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.Command(testenv.Tool(t, words[0]), words[1:]...)
	cmd.Stdin = bytes.NewReader(hello(t))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

func hello(t testing.TB) []byte {
	t.Helper()
	module, err := os.ReadFile("../../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// makers are the tools that pack modules, and options that the kernel's build does
// not use but somebody else may.
var makers = map[string][]string{
	".ko.xz":  {"xz -c --check=crc32 --lzma2=dict=1MiB", "xz -c", "xz -c --check=sha256 -9e", "xz -c --check=none", "xz -c --x86 --lzma2", "xz -c --block-size=1000"},
	".ko.zst": {"zstd -q -c", "zstd -q -c --ultra -22", "zstd -q -c --no-check", "zstd -q -c --long=27"},
	".ko.gz":  {"gzip -n -c", "gzip -c -1", "gzip -c --rsyncable"},
}

func TestToolsOutput(t *testing.T) {
	t.Parallel()
	for suffix, commands := range makers {
		format, _ := Of("m" + suffix)
		for _, command := range commands {
			one := packed(t, command)
			for name, file := range map[string][]byte{"": one, ", twice": append(bytes.Clone(one), one...)} {
				var got bytes.Buffer
				if err := format.Decompress(t.Context(), &got, bytes.NewReader(file)); err != nil {
					t.Errorf("%s%s: %v", command, name, err)
					continue
				}
				if want := bytes.Repeat(hello(t), len(file)/len(one)); !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%s%s: %d bytes that are not the module", command, name, got.Len())
				}
			}
		}
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	for suffix, commands := range makers {
		format, _ := Of("m" + suffix)
		good := packed(t, commands[0])
		flipped := func(at int) []byte {
			b := bytes.Clone(good)
			b[at] ^= 1
			return b
		}
		files := map[string][]byte{
			"empty":             {},
			"one byte":          good[:1],
			"only the header":   good[:6],
			"half":              good[:len(good)/2],
			"all but one byte":  good[:len(good)-1],
			"magic broken":      flipped(0),
			"content changed":   flipped(len(good) / 2),
			"check sum changed": flipped(len(good) - 1),
			"text":              []byte("this is not a module at all, whatever its name says\n"),
			"the module itself": hello(t),
			"text behind":       append(bytes.Clone(good), "behind\n"...),
			"zeros for content": append(bytes.Clone(good[:12]), make([]byte, 4096)...),
			"ones for content":  append(bytes.Clone(good[:12]), bytes.Repeat([]byte{0xff}, 4096)...),
		}
		for name, file := range files {
			if err := format.Decompress(t.Context(), io.Discard, bytes.NewReader(file)); err == nil {
				t.Errorf("%s, %s: no error", suffix, name)
			} else if !strings.HasPrefix(err.Error(), "decompressing: ") {
				t.Errorf("%s, %s: the error is %q", suffix, name, err)
			}
		}
	}
}

// TestMemory: a header may ask for gigabytes, and gets an error.
func TestMemory(t *testing.T) {
	for suffix, command := range map[string]string{
		".ko.xz":  "xz -c --lzma2=dict=1536MiB",
		".ko.zst": "zstd -q -c --ultra -22 --long=31 --no-content-size",
	} {
		format, _ := Of("m" + suffix)
		file := packed(t, command)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := format.Decompress(t.Context(), io.Discard, bytes.NewReader(file))
		runtime.ReadMemStats(&after)
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Limit != maxWindow {
			t.Errorf("%s: %v", command, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
			t.Errorf("%s: %d MB for a file of %d bytes", command, got>>20, len(file))
		}
	}
}

var errFull = errors.New("full")

// little takes so many bytes and no more: a bomb is not worth a fuzzer's time.
type little int

func (l *little) Write(b []byte) (int, error) {
	if *l -= little(len(b)); *l < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// FuzzDecompress: whatever is in a file ends in an error or in its content.
func FuzzDecompress(f *testing.F) {

	for i, suffix := range suffixes {
		for _, command := range makers[suffix] {
			f.Add(packed(f, command), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, kind uint8) {
		format, _ := Of("m" + suffixes[int(kind)%len(suffixes)])
		room := little(1 << 20)
		err := format.Decompress(t.Context(), &room, bytes.NewReader(file))
		if room < 0 && !errors.Is(err, errFull) {
			t.Errorf("the writer failed, and the error is %v", err)
		}
	})
}
