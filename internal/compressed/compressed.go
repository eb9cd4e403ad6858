// Package compressed reads and writes modules compressed as the kernel's build
// does it (scripts/Makefile.modinst). The signature is always inside: the kernel
// decompresses first and verifies then.
package compressed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	ulikunitz "github.com/ulikunitz/xz"
	"github.com/xi2/xz"

	"sign-file/internal/bounded"
)

// MaxSize bounds what a module may grow to, in bytes. The largest of a
// distribution's kernel has some 30 MB, with debug information ten times that.
const MaxSize = 2 << 30

// maxWindow bounds the memory that a compressed file may ask for, in bytes: what
// zstd(1) takes without --long. The kernel's build uses 1 MB with xz, and at most 8 with zstd.
const maxWindow = 128 << 20

// LimitError says that a compressed file asks for more than it gets.
type LimitError struct {
	What  string // what it asks for more of
	Limit int64  // in bytes
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s of more than %s, which is the limit", e.What, bounded.Size(e.Limit))
}

// Format is one of the kernel's three. The zero value is none of them.
type Format struct {
	suffix, magic string
	// tool is the build's own command, which reads standard input.
	tool  []string
	read  func(io.Reader) (io.ReadCloser, error)
	write func(io.Writer) (io.WriteCloser, error)
}

// formats returns the three. The options are those of scripts/Makefile.modinst:
// the kernel's xz decoder takes no other checksum, and wants a small dictionary.
// zstd has to see that its input is a file, whose size it writes down; /dev/stdin
// is a name that could be anything's.
func formats() []Format {
	return []Format{
		{".ko.xz", "\xfd7zXZ\x00", []string{"xz", "--check=crc32", "--lzma2=dict=1MiB", "-c"}, readXZ, writeXZ},
		{".ko.zst", "\x28\xb5\x2f\xfd", []string{"zstd", "-T0", "-q", "-f", "-c", "/proc/self/fd/0"}, readZstd, writeZstd},
		{".ko.gz", "\x1f\x8b\x08", []string{"gzip", "-n", "-c"}, readGzip, writeGzip},
	}
}

var errNoFormat = errors.New("no compression format")

// Of tells a module's format by its name; ok is false for one not compressed.
func Of(name string) (f Format, ok bool) {
	for _, f := range formats() {
		if strings.HasSuffix(name, f.suffix) {
			return f, true
		}
	}
	return Format{}, false
}

// Names returns the names that a module may have: its own first, then that of its content,
// and those of the other formats.
func Names(name string) []string {
	content := name
	if f, ok := Of(name); ok {
		content = strings.TrimSuffix(name, f.suffix) + ".ko"
	}
	names := []string{name}
	if content != name {
		names = append(names, content)
	}
	if !strings.HasSuffix(content, ".ko") {
		return names
	}
	for _, f := range formats() {
		if other := strings.TrimSuffix(content, ".ko") + f.suffix; other != name {
			names = append(names, other)
		}
	}
	return names
}

// Suffix is how the names of modules end that a file's beginning is one of, "" for none.
func Suffix(head []byte) string {
	for _, f := range formats() {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.suffix
		}
	}
	return ""
}

// Decompress copies a module to dst, uncompressed, for as long as ctx lasts. It returns a
// *LimitError where more than MaxSize would come of it, or more than 128 MiB of memory
// is asked for; dst has a part of the module then. A file that is written at its end gets
// holes for pages of zeros.
func (f Format) Decompress(ctx context.Context, dst io.Writer, src io.Reader) error {
	if f.read == nil {
		return errNoFormat
	}
	holes := newSparse(dst)
	if holes != nil {
		dst = holes
	}
	err := f.decompress(&output{Writer: dst, ctx: ctx}, bufio.NewReaderSize(reader{ctx, src}, 64<<10))
	if err == nil && holes != nil {
		err = holes.finish()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("decompressing: %w", err)
	}
	return nil
}

func (f Format) decompress(dst io.Writer, src *bufio.Reader) error {
	head, err := src.Peek(len("\x7fELF") + 2)
	suffix := Suffix(head)
	switch {
	case len(head) == 0 && err == io.EOF:
		return errors.New("an empty file") // which zstd takes for no module
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return errors.New("it is not compressed, though its name says so: the name of such a module ends with .ko")
	case suffix != "" && suffix != f.suffix:
		return fmt.Errorf("it is compressed in another way than its name says: the name has to end with %s", suffix)
	}
	r, err := f.read(src)
	if err != nil {
		return fault(suffix, err)
	}
	defer r.Close()
	n, err := io.Copy(dst, io.LimitReader(r, MaxSize+1))
	if err != nil {
		return fault(suffix, err)
	}
	if n > MaxSize {
		return &LimitError{"a module", MaxSize}
	}
	return nil
}

// fault says what an error of the libraries means: maxWindow, a file that no compressor has
// made, or a part of one.
func fault(suffix string, err error) error {
	switch {
	case errors.Is(err, xz.ErrMemlimit) || errors.Is(err, zstd.ErrWindowSizeExceeded):
		return &LimitError{"a dictionary", maxWindow}
	case suffix == "":
		return fmt.Errorf("it is not compressed as its name says: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it is cut: %w", err)
	}
	if errors.Is(err, xz.ErrOptions) {
		return fmt.Errorf("%w by sign-file, though xz and kernels may read it (a filter for arm64 or riscv?): unpack it with xz -d", err)
	}
	return err
}

// output remembers why it could not be written, and can be cancelled: a few bytes of
// input may become gigabytes.
type output struct {
	io.Writer
	ctx  context.Context
	left int64 // how much more may come, in bytes; 0 for no limit
	err  error
}

// errEndless: no compressor makes a file so much longer.
var errEndless = errors.New("the compressor writes more than twice what it was given")

func (o *output) Write(b []byte) (n int, err error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	if o.left > 0 {
		if o.left -= int64(len(b)); o.left <= 0 {
			o.err = errEndless
			return 0, o.err
		}
	}
	if n, err = o.Writer.Write(b); err != nil {
		o.err = err
	}
	return n, err
}

// reader can be cancelled.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

func readGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

func writeGzip(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, 6) // gzip(1)'s default
}

func readXZ(r io.Reader) (io.ReadCloser, error) {
	x, err := xz.NewReader(r, maxWindow)
	return io.NopCloser(x), err
}

func writeXZ(w io.Writer) (io.WriteCloser, error) {
	return ulikunitz.WriterConfig{CheckSum: ulikunitz.CRC32, DictCap: 1 << 20}.NewWriter(w)
}

func readZstd(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func writeZstd(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}
