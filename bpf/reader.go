package bpf

import (
	"bytes"
	"fmt"
	"strings"
)

// reader takes text word for word. After the first fault it takes nothing.
type reader struct {
	source []byte
	at     int
	err    error
}

// literal is where an array's string is in the source, quotes included, and what it says.
type literal struct {
	start, end int
	value      []byte
}

// fail is the first fault. Names may be as long as the file, so what is said is cut.
func (r *reader) fail(at int, format string, args ...any) {
	if r.err != nil {
		return
	}
	const most = 200
	reason := fmt.Sprintf(format, args...)
	if len(reason) > most {
		reason = reason[:most] + "..."
	}
	r.err = &SyntaxError{1 + bytes.Count(r.source[:at], []byte("\n")), reason}
}

// is tells whether a text comes next.
func (r *reader) is(text string) bool {
	return r.err == nil && bytes.HasPrefix(r.source[r.at:], []byte(text))
}

// skip skips a text, if it comes next.
func (r *reader) skip(text string) bool {
	if !r.is(text) {
		return false
	}
	r.at += len(text)
	return true
}

// text skips a text that has to come next, one line after the other.
func (r *reader) text(want string) {
	for line := range strings.Lines(want) {
		switch bare := strings.TrimSuffix(line, "\n"); {
		case r.skip(line):
		case bare == "":
			r.fail(r.at, "bpftool ends the line here")
		case r.is(bare + "\r"):
			r.fail(r.at, "bpftool ends lines without a carriage return")
		default:
			r.fail(r.at, "bpftool writes %q here", strings.TrimSpace(bare))
		}
	}
}

// word skips a word of C, and returns it.
func (r *reader) word() string {
	start := r.at
	for r.err == nil && r.at < len(r.source) && isWord(r.source[r.at]) {
		r.at++
	}
	if r.at == start || isDigit(r.source[start]) {
		r.fail(start, "bpftool writes a name here")
		return ""
	}
	return string(r.source[start:r.at])
}

// name is a word that the author of a program chooses. Those of the C library's macros that
// open or close a block (__BEGIN_DECLS, _GLIBCXX_END_NAMESPACE_CXX11) are none.
func (r *reader) name() string {
	start := r.at
	name := r.word()
	if strings.HasPrefix(name, "_") && name == strings.ToUpper(name) {
		r.fail(start, "%s is a name that is the compiler's own", name)
	}
	return name
}

// names skips the names between two texts, as often as they come.
func (r *reader) names(before, after string) (names []string) {
	for r.skip(before) {
		names = append(names, r.name())
		r.text(after)
	}
	return names
}

// number skips a decimal number, and returns it.
func (r *reader) number() string {
	start := r.at
	for r.err == nil && r.at < len(r.source) && isDigit(r.source[r.at]) {
		r.at++
	}
	if r.at == start || r.source[start] == '0' && r.at > start+1 {
		r.fail(start, "bpftool writes a decimal number here")
	}
	return string(r.source[start:r.at])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// array reads a string as appendLiteral writes it.
func (r *reader) array() literal {
	l := literal{start: r.at, value: []byte{}}
	r.text("\"\\\n")
	for column := 0; r.err == nil && !r.skip(`"`); {
		ended, start := r.skip("\\\n"), r.at
		l.value = append(l.value, r.escape())
		column += r.at - start
		if full := column > arrayWidth; full != ended {
			r.fail(start, "bpftool ends an array's lines elsewhere")
		}
		if ended {
			column = r.at - start
		}
	}
	l.end = r.at
	return l
}

// escape reads a byte: \0, or \x and two digits.
func (r *reader) escape() byte {
	if r.skip(`\0`) {
		return 0
	}
	if rest := r.source[r.at:]; len(rest) >= 4 && r.is(`\x`) {
		high, low := bytes.IndexByte([]byte(hexDigits), rest[2]), bytes.IndexByte([]byte(hexDigits), rest[3])
		if high >= 0 && low >= 0 && high|low != 0 {
			r.at += 4
			return byte(high<<4 | low)
		}
	}
	r.fail(r.at, `bpftool writes \0, or \x and two digits, for each byte of an array`)
	return 0
}
