// Package cli is the command line: all flags, all printing and all exit codes.
package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
	"sign-file/internal/bounded"
	"sign-file/internal/paths"
	"sign-file/internal/streams"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
)

// Exit codes of both faces.
const (
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	exitUndecided = 3 // only of verify: something could not be judged
)

// program is one run: its streams and its name, as the user called it.
type program struct {
	in, out, err *os.File
	argv0        string
	closed       [3]bool           // streams that the caller had closed
	lost         error             // the first failure to write an answer
	wrote        func(error)       // told what became of each write
	listen       func()            // signals are heard from now on
	conceal      *strings.Replacer // of references to keys, by what may be shown of them
	secret       atomic.Bool       // a file that was read is one, which another user's link led to
}

// Run chooses the face by the name that the program is called by and the first argument, as
// no hash algorithm is called like a subcommand, and returns the exit code.
func Run(args []string, in, out, err *os.File) int {
	withoutDumps()
	p := &program{in: in, out: out, err: err, argv0: "sign-file", closed: streams.Closed(), conceal: concealer(args)}
	if len(args) > 0 {
		p.argv0, args = args[0], args[1:]
	}
	ctx := newInterruptible()
	p.wrote, p.listen = ctx.wrote, ctx.listen
	defer ctx.finish()
	if err := openPoller(); err != nil {
		return p.fail(err)
	}
	if p.name() == "extract-cert" {
		return p.extractCert(ctx, args)
	}
	if len(args) > 1 && args[0] == "--json" && opensSecondFace(args[1]) {
		args[0], args[1] = args[1], args[0] // the kernel's sign-file knows no long flags
	}
	if len(args) > 0 && opensSecondFace(args[0]) {
		return p.subcommand(ctx, args)
	}
	return p.classic(ctx, args)
}

// openPoller has Go's runtime open its poller now, if there is room for its two descriptors:
// with the first timer or pipe it does so in any case, and ends the process with its own
// words where there is none.
func openPoller() error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		var event int
		if event, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
			unix.Close(event)
		}
		unix.Close(poll)
	}
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return &os.PathError{Op: "open", Path: "the event queue", Err: err}
	}
	time.AfterFunc(time.Hour, func() {}).Stop()
	return nil
}

// name is what messages start with: the last component of argv[0], as errx does.
func (p *program) name() string { return filepath.Base(p.argv0) }

// fail prints the one line that ends a failed run.
func (p *program) fail(err error) int {
	p.say("%s", errorText(err))
	return exitFailure
}

func (p *program) warn(format string, args ...any) { p.say("warning: "+format, args...) }

// say prints one line on standard error.
func (p *program) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	_, err := fmt.Fprintf(p.err, "%s: %s\n", p.name(), oneLine(p.concealed(text)))
	p.wrote(err)
}

// concealed is a text without what references to keys hold: a PIN in a URI ends up in
// messages, and where files are named.
func (p *program) concealed(text string) string {
	if p.conceal == nil {
		return text
	}
	return p.conceal.Replace(text)
}

// errorText puts an error of package os into the form of all others, file first.
func errorText(err error) string {
	text := err.Error()
	if pathErr, ok := err.(*os.PathError); ok {
		text = fmt.Sprintf("%s: %v", cmp.Or(pathErr.Path, `""`), pathErr.Err)
	}
	if why := wayOut(err); why != "" && !strings.Contains(text, "ulimit") {
		text += " (" + why + ")"
	}
	return text
}

// wayOut is what to do about an error whose words do not tell; "" where they do.
func wayOut(err error) string {
	var (
		limit   unix.Rlimit
		path    *os.PathError
		trailer *modsig.TrailerError
	)
	named := errors.As(err, &path)
	switch {
	case errors.Is(err, unix.EMFILE) && unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil:
		return fmt.Sprintf("only %d files may be open: ulimit -n", limit.Cur)
	case errors.Is(err, unix.EFBIG) && unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) == nil && limit.Cur < math.MaxInt64:
		return fmt.Sprintf("a file may be written with at most %d bytes: ulimit -f", limit.Cur)
	case errors.As(err, &trailer):
		return "its trailer is broken: get the file anew, or, if no more than the marker is too much, take that off with truncate -s -28"
	case named && errors.Is(err, unix.EINVAL) && strings.HasPrefix(path.Op, "setxattr system.posix_acl"):
		return "its access list names users or groups that this user namespace does not have: sign outside of it, or take the list off with setfacl -b"
	case named && errors.Is(err, unix.EACCES):
		folder := paths.Dir(path.Path)
		if readable(path.Path) && unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK|unix.X_OK, unix.AT_EACCESS) != nil {
			return fmt.Sprintf("a new file takes its place, and you may not write to its folder, %s", folder)
		}
	}
	return ""
}

// readable reports whether the user may read what the path leads to.
func readable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS) == nil
}

// about names the file that an error is about, unless it does so itself.
func about(file string, err error) error {
	return paths.About("use", file, err)
}

// readAll reads a file, or standard input for "-", of at most limit bytes.
func (p *program) readAll(path string, limit int64) ([]byte, error) {
	if path != "-" {
		return p.readFile(path, limit)
	}
	var b []byte
	in, err := p.input()
	if err == nil {
		b, err = bounded.Read(in, limit)
	}
	return b, about("standard input", err)
}

// readFile reads what openInput opens, of at most limit bytes.
func (p *program) readFile(path string, limit int64) ([]byte, error) {
	in, err := p.openInput(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return bounded.FromFile(in, limit)
}

// openInput opens a file for reading, and remembers if it's a secret.
func (p *program) openInput(path string) (*os.File, error) {
	in, err := atomicfile.OpenInput(path)
	if err != nil {
		return nil, err
	}
	if in.Secret {
		p.secret.Store(true)
	}
	return in.File, nil
}

// readValue is readAll for a map value, or what becomes one.
func (p *program) readValue(path string) ([]byte, error) { return p.readAll(path, mapvalue.MaxSize) }

// input is standard input, if it was not closed.
func (p *program) input() (io.Reader, error) {
	if p.closed[0] {
		return nil, errClosed
	}
	return p.in, nil
}

// errClosed: Go opens /dev/null where a stream is closed, which would lose every answer.
var errClosed = errors.New("is closed")

// answers is standard output. The first failure is remembered.
func (p *program) answers() io.Writer { return answers{p} }

type answers struct{ *program }

func (a answers) Write(b []byte) (n int, err error) {
	if n, err = len(b), error(errClosed); !a.closed[1] {
		n, err = a.out.Write(b)
	}
	if err != nil && a.lost == nil {
		a.lost = err
	}
	a.wrote(err)
	return n, err
}
