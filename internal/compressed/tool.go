package compressed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
)

// ToolError says that a compressor failed, or did not write what it should have.
type ToolError struct {
	Tool string // xz, zstd or gzip
	Err  error
	Said string // on standard error, in one line
	// Limit is the limit of this process, and so of the tool, that it may have met,
	// as ulimit(1) names it.
	Limit string
}

func (e *ToolError) Error() string {
	text := e.Tool + ": " + e.Err.Error()
	if e.Said != "" {
		text += fmt.Sprintf(" (it said: %q)", e.Said)
	}
	if e.Limit != "" {
		text += " (" + e.Limit + ")"
	}
	return text
}

func (e *ToolError) Unwrap() error { return e.Err }

// ErrNotTheModule says that what a compressor wrote does not decompress to what it
// read.
var ErrNotTheModule = errors.New("what it wrote is not the module")

// maxSaid bounds what is kept of a tool's standard error, in bytes.
const maxSaid = 500

// stragglers is how long a tool's output is waited for after the tool has ended: a
// wrapper may have left a process that holds on to it.
const stragglers = time.Minute

// room is what a compressed file may be longer than twice the module, in bytes.
const room = 1 << 20

// Compress copies an uncompressed module to dst: with the build's tool where it
// is installed, so that the bytes are the build's too, else in Go. A tool that fails is a
// *ToolError. One that succeeds has written anything: see Check.
func (f Format) Compress(ctx context.Context, dst io.Writer, src *os.File) error {
	if f.write == nil {
		return errNoFormat
	}
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
	said := bounded.Buffer{Limit: maxSaid}
	size, err := src.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = src.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	out := &output{Writer: dst, ctx: ctx, left: 2*size + room}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = src, out, &said
	cmd.Env = environment()
	// A terminal's Ctrl-C is for this process, and ctx for the tool: it would
	// seem to have failed if it died first. A wrapper's children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stragglers
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case out.err != nil: // and not the broken pipe that it was to the tool
		return out.err
	}
	return &ToolError{f.tool[0], err, strings.Join(strings.Fields(string(said.Bytes())), " "), limits(err)}
}

// environment is all that the tool gets of this process's. XZ_OPT, GZIP, ZSTD_CLEVEL and
// their like would change its output, and KBUILD_SIGN_PIN is none of its business.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// limits tells the limits of setrlimit(2) that a failed tool may have met. Their errors
// differ from tool to tool, and a loader that can't map a library has its own.
func limits(err error) string {
	var met []string
	var limit unix.Rlimit
	if errors.Is(err, unix.EMFILE) && unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		met = append(met, fmt.Sprintf("only %d files may be open: ulimit -n", limit.Cur))
	}
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil && limit.Cur != unix.RLIM_INFINITY && !errors.Is(err, unix.EMFILE) {
		met = append(met, fmt.Sprintf("only %d KiB of memory may be used: ulimit -v", limit.Cur>>10))
	}
	return strings.Join(met, ", ")
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

// Check decompresses what Compress wrote, and compares it with the module that it
// should be: the only copy of a module is not replaced by what nobody has read back. A
// *ToolError that wraps ErrNotTheModule says that it is something else. Both are read
// from where they are, once and to the end.
func (f Format) Check(ctx context.Context, compressed, plain io.Reader) error {
	if f.read == nil {
		return errNoFormat
	}
	c := &comparison{plain: plain}
	packed := bufio.NewReader(compressed)
	err := f.checkHead(packed)
	if err == nil {
		err = f.Decompress(ctx, c, packed)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.err != nil:
		return c.err // of reading the module
	case err == nil:
		err = c.end()
	}
	switch {
	case err == nil:
		return nil
	case c.err != nil:
		return c.err
	case errors.Is(err, ErrNotTheModule):
		return &ToolError{Tool: f.tool[0], Err: err}
	}
	return &ToolError{Tool: f.tool[0], Err: fmt.Errorf("%w: %w", ErrNotTheModule, err)}
}

// checkHead: a wrapper of xz that drops the options makes files that no kernel reads.
func (f Format) checkHead(compressed *bufio.Reader) error {
	const checkByte, crc32 = 7, 1 // The .xz File Format, section 2.1.1.2
	if f.tool[0] != "xz" {
		return nil
	}
	head, err := compressed.Peek(checkByte + 1)
	if err == nil && head[checkByte]&0xf > crc32 {
		return errors.New("its check is not CRC32, and kernels read no other")
	}
	return nil // of another error the decompressor has the words
}

// comparison is an io.Writer that takes nothing but what plain reads.
type comparison struct {
	plain  io.Reader
	buffer []byte
	offset int64
	err    error // of plain
}

func (c *comparison) Write(b []byte) (int, error) {
	if len(c.buffer) < len(b) {
		c.buffer = make([]byte, len(b))
	}
	n, err := io.ReadFull(c.plain, c.buffer[:len(b)])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		c.err = err
		return 0, err
	}
	if n == len(b) && bytes.Equal(b, c.buffer[:n]) {
		c.offset += int64(n)
		return n, nil
	}
	for i, x := range b {
		if i >= n || x != c.buffer[i] {
			return i, fmt.Errorf("%w: it differs from byte %d on", ErrNotTheModule, c.offset+int64(i))
		}
	}
	return len(b), nil
}

// end fails if the module goes on.
func (c *comparison) end() error {
	var more [1]byte
	_, err := io.ReadFull(c.plain, more[:])
	switch err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: it ends after %d bytes", ErrNotTheModule, c.offset)
	}
	c.err = err
	return err
}
