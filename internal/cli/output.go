package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
)

// formats of a map value.
const (
	formatRaw = "raw"
	formatHex = "hex"
	formatC   = "c"
)

// renderer returns what writes bytes in a format: as they are, as the bytes that bpftool
// takes behind "value hex", or as a C array.
func renderer(format string) (func(io.Writer, []byte) error, error) {
	switch format {
	case formatRaw:
		return writeRaw, nil
	case formatHex:
		return writeHex, nil
	case formatC:
		return writeC, nil
	}
	return nil, usagef("--format %s: want raw, hex or c", format)
}

func writeRaw(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

const hexDigits = "0123456789abcdef"

func writeHex(w io.Writer, b []byte) error {
	out := bufio.NewWriter(w)
	for i, c := range b {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteByte(hexDigits[c>>4])
		out.WriteByte(hexDigits[c&15])
	}
	out.WriteByte('\n')
	return out.Flush()
}

// writeC writes a definition that a BPF loader's source can include.
func writeC(w io.Writer, b []byte) error {
	const perLine = 12
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "static const unsigned char value[%d] = {\n", len(b))
	for i, c := range b {
		separator := byte(' ')
		if i%perLine == 0 {
			separator = '\t'
		}
		out.WriteByte(separator)
		out.Write([]byte{'0', 'x', hexDigits[c>>4], hexDigits[c&15], ','})
		if i%perLine == perLine-1 || i == len(b)-1 {
			out.WriteByte('\n')
		}
	}
	out.WriteString("};\n")
	return out.Flush()
}

var errTerminal = usagef("not writing bytes to a terminal: name a file, or pipe standard output")

// write writes an answer to standard output.
func (p *program) write(b []byte, isText bool) error {
	return p.writeWith("-", isText, func(w io.Writer) error { return writeRaw(w, b) })
}

// writeWith writes an answer to a file, whole or not at all, or to standard output for "-".
// Bytes that are no text are not written on a terminal.
func (p *program) writeWith(path string, isText bool, write func(io.Writer) error) error {
	if path == "-" {
		if !isText && isTerminal(p.out) {
			return errTerminal
		}
		return about("standard output", write(p.answers()))
	}
	if err := wantFile("an output", path, "goes to files"); err != nil {
		return err
	}
	target, err := atomicfile.Follow(path)
	if err != nil {
		return err
	}
	return p.writeTarget(target, p.secret.Load(), write)
}

// writeTarget writes a file whole or not at all. While it takes another's place it has a
// temporary name for a moment, so signals are heard. A secret that another user's link led to
// stays one.
func (p *program) writeTarget(target *atomicfile.Target, secret bool, write func(io.Writer) error) error {
	if secret {
		target.Private()
	}
	p.listen()
	f, err := target.Create()
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.Discard())
	}
	return f.Commit()
}

// writeBeside writes a file whose name nobody gave.
func (p *program) writeBeside(path string, content []byte) error {
	place, err := atomicfile.At(path)
	if err != nil {
		return err
	}
	target, err := place.FollowOwn()
	if err != nil {
		return err
	}
	return p.writeTarget(target, p.secret.Load(), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// copyOut writes what is read from elsewhere.
func (p *program) copyOut(path string, from io.Reader) error {
	return p.writeWith(path, false, func(w io.Writer) error {
		_, err := io.Copy(w, from)
		return err
	})
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// fileField names a file in a JSON object.
type fileField struct {
	File string `json:"file"`
	// Bytes is the name in base64 where it is no UTF-8: JSON can't tell such names apart.
	Bytes []byte `json:"file_bytes,omitempty"`
}

func fileNamed(path string) fileField { return fileField{path, lossless(path)} }

// lossless is a name that JSON would lose.
func lossless(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}

// writeJSON prints one object on one line.
func (p *program) writeJSON(v any) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // <key> is to stay readable
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return p.write([]byte(p.concealed(line.String())), true)
}

// printf prints an answer; what its arguments hold is escaped.
func (p *program) printf(format string, args ...any) error {
	return p.write([]byte(p.concealed(fmt.Sprintf(format, escaped(args)...))), true)
}

// red and green colour a word where people see it.
func (p *program) red(word string) plain   { return p.colour(word, 31) }
func (p *program) green(word string) plain { return p.colour(word, 32) }

func (p *program) colour(word string, code int) plain {
	if !isTerminal(p.out) || os.Getenv("NO_COLOR") != "" {
		return plain(word)
	}
	return plain(fmt.Sprintf("\033[%dm%s\033[0m", code, word))
}
