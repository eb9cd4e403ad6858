// Package compressed reads and writes modules compressed as the kernel's build
// does it (scripts/Makefile.modinst). The signature is always inside: the kernel
// decompresses first and verifies then.
package compressed

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
	ulikunitz "github.com/ulikunitz/xz"
	"github.com/xi2/xz"
)

// MaxSize bounds what a module may grow to, in bytes. The largest of a
// distribution's kernel has some 30 MB, with debug information ten times that.
const MaxSize = 2 << 30

// maxWindow bounds the memory that a compressed file may ask for, in bytes: what
// zstd(1) takes without --long. The kernel's build uses 1 MB with xz, and at most 8 with zstd.
const maxWindow = 128 << 20

// Format is one of the kernel's three.
type Format struct {
	suffix string
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
		{".ko.xz", []string{"xz", "--check=crc32", "--lzma2=dict=1MiB", "-c"}, readXZ, writeXZ},
		{".ko.zst", []string{"zstd", "-T0", "-q", "-f", "-c", "/proc/self/fd/0"}, readZstd, writeZstd},
		{".ko.gz", []string{"gzip", "-n", "-c"}, readGzip, writeGzip},
	}
}

// Of tells a module's format by its name; ok is false for one not compressed.
func Of(name string) (f Format, ok bool) {
	for _, f := range formats() {
		if strings.HasSuffix(name, f.suffix) {
			return f, true
		}
	}
	return Format{}, false
}

// Decompress copies a module to dst, uncompressed. The error says where more
// than MaxSize would come of it.
func (f Format) Decompress(dst io.Writer, src io.Reader) error {
	buffered := bufio.NewReaderSize(src, 64<<10)
	if _, err := buffered.Peek(1); err == io.EOF {
		return errors.New("decompressing: an empty file") // which zstd takes for no module
	}
	r, err := f.read(buffered)
	if err != nil {
		return fmt.Errorf("decompressing: %w", err)
	}
	defer r.Close()
	n, err := io.Copy(dst, io.LimitReader(r, MaxSize+1))
	if err != nil {
		return fmt.Errorf("decompressing: %w", err)
	}
	if n > MaxSize {
		return fmt.Errorf("decompressing: more than %d bytes", int64(MaxSize))
	}
	return nil
}

// Compress copies an uncompressed module to dst: with the build's tool where it
// is installed, so that the bytes are the build's too, else in Go.
func (f Format) Compress(ctx context.Context, dst io.Writer, src *os.File) error {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	path, err := exec.LookPath(f.tool[0])
	if errors.Is(err, exec.ErrNotFound) {
		return f.compressHere(ctx, dst, src)
	}
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, f.tool[1:]...)
	var complaint strings.Builder
	out := &output{Writer: dst}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = src, out, &complaint
	// A terminal's Ctrl-C is for this process, and ctx for the tool: it would
	// seem to have failed if it died first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case out.err != nil: // and not the broken pipe that it was to the tool
		return out.err
	case complaint.Len() > 0:
		return fmt.Errorf("%s: %w: %s", f.tool[0], err, strings.TrimSpace(complaint.String()))
	}
	return fmt.Errorf("%s: %w", f.tool[0], err)
}

// output remembers why it could not be written.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(b []byte) (n int, err error) {
	if n, err = o.Writer.Write(b); err != nil {
		o.err = err
	}
	return n, err
}

func (f Format) compressHere(ctx context.Context, dst io.Writer, src io.Reader) error {
	buffered := bufio.NewWriterSize(dst, 64<<10)
	w, err := f.write(buffered)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, reader{ctx, src}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
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
