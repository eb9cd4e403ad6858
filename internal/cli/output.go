package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
)

// formats of a map value.
const (
	formatRaw = "raw"
	formatHex = "hex"
	formatC   = "c"
)

// format renders bytes: as they are, as the bytes that bpftool takes behind
// "value hex", or as a C array.
func format(b []byte, how string) ([]byte, error) {
	switch how {
	case formatRaw:
		return b, nil
	case formatHex:
		return []byte(fmt.Sprintf("% x\n", b)), nil
	case formatC:
		return cArray(b), nil
	}
	return nil, usagef("--format %s: want raw, hex or c", how)
}

// cArray is a definition that a BPF loader's source can include.
func cArray(b []byte) []byte {
	var s strings.Builder
	fmt.Fprintf(&s, "static const unsigned char value[%d] = {\n", len(b))
	for len(b) > 0 {
		n := min(12, len(b))
		s.WriteString("\t")
		for i, c := range b[:n] {
			if i > 0 {
				s.WriteString(" ")
			}
			s.WriteString("0x" + hex.EncodeToString([]byte{c}) + ",")
		}
		s.WriteString("\n")
		b = b[n:]
	}
	s.WriteString("};\n")
	return []byte(s.String())
}

var errTerminal = usagef("not writing bytes to a terminal: name a file, or pipe standard output")

// write writes an answer to a file, whole or not at all, or to standard output
// for "-". Bytes that are no text are not written on a terminal.
func (p *program) write(path string, b []byte, isText bool) error {
	if path == "-" {
		if !isText && isTerminal(p.out) {
			return errTerminal
		}
		_, err := p.out.Write(b)
		return about("standard output", err)
	}
	return atomicfile.WriteFile(path, b)
}

// copyOut is write for what may be too large to hold.
func (p *program) copyOut(path string, from io.Reader) error {
	if path == "-" {
		if isTerminal(p.out) {
			return errTerminal
		}
		_, err := io.Copy(p.out, from)
		return err
	}
	target, err := atomicfile.Follow(path)
	if err != nil {
		return err
	}
	f, err := target.Create()
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	return f.Commit()
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// writeJSON prints one object on one line.
func (p *program) writeJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return p.write("-", append(b, '\n'), true)
}

func (p *program) printf(format string, args ...any) error {
	return p.write("-", fmt.Appendf(nil, format, args...), true)
}

// red and green colour a word where people see it.
func (p *program) red(word string) string   { return p.colour(word, 31) }
func (p *program) green(word string) string { return p.colour(word, 32) }

func (p *program) colour(word string, code int) string {
	if !isTerminal(p.out) || os.Getenv("NO_COLOR") != "" {
		return word
	}
	return fmt.Sprintf("\033[%dm%s\033[0m", code, word)
}
