package bpf

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxSkeleton bounds a header, in bytes: what a kernel takes, with four characters for each
// byte, and some more for the rest.
const MaxSkeleton = 5 * (MaxPayload + 1)

// Skeleton is a light skeleton: the header that bpftool gen skeleton -L writes.
type Skeleton struct {
	Loader
	source    []byte
	signature literal
}

// literal is where an array's string is in the source, quotes included, and what it says.
type literal struct {
	start, end int
	value      []byte
}

// ErrUnsigned is a light skeleton without a signature. Its loader is another than that of a
// signed one, so it can't be signed either.
var ErrUnsigned = errors.New("is not signed: its loader is not one that can be (bpftool gen skeleton -L -S -k <any key> -i <its certificate> makes one, and bpf sign puts another key's signature there)")

// ErrNoSkeleton is returned for a file that is not a light skeleton.
var ErrNoSkeleton = errors.New("is not a light skeleton (bpftool gen skeleton -L)")

// SyntaxError is a header that is not as bpftool writes it.
type SyntaxError struct {
	Line   int // from 1; 0 if the fault is not on one line
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// names of the arrays in the header.
const (
	arrayData      = "opts_data"
	arrayCode      = "opts_insn"
	arraySignature = "opts_sig"
	arrayHash      = "opts_excl_hash"
)

// ParseSkeleton reads a signed light skeleton. It takes any C string in the four arrays, and
// nothing but one, and demands that they are used as bpftool uses them: a header that loads
// something else is a *SyntaxError. What other functions of the header do is not looked at.
func ParseSkeleton(source []byte) (*Skeleton, error) {
	if len(source) > MaxSkeleton {
		return nil, &SizeError{"bytes of a skeleton", len(source), MaxSkeleton}
	}
	s := scanner{source: source}
	found, err := s.arrays()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{arrayCode, arrayData, arraySignature, arrayHash} {
		if _, ok := found[name]; ok {
			continue
		}
		switch {
		case name != arrayCode && name != arrayData:
			return nil, ErrUnsigned
		case bytes.Contains(source, []byte("bpf_load_and_run(&opts)")):
			return nil, ErrUnsigned // bpftool before 7.7 has no array for them
		}
		return nil, ErrNoSkeleton
	}
	if err := s.checkUse(); err != nil {
		return nil, err
	}
	made := &Skeleton{source: bytes.Clone(source), signature: found[arraySignature]}
	made.Loader = Loader{
		Instructions: found[arrayCode].value, Data: found[arrayData].value,
		Signature: found[arraySignature].value, ExclusiveHash: found[arrayHash].value,
	}
	return made, nil
}

// WithSignature returns the header with another signature. Nothing else of it differs.
func (s *Skeleton) WithSignature(message []byte) []byte {
	at := s.signature
	line := "\n"
	if bytes.HasPrefix(s.source[at.start:at.end], []byte("\"\\\r\n")) {
		line = "\r\n"
	}
	out := make([]byte, 0, len(s.source)+4*len(message))
	out = append(out, s.source[:at.start]...)
	out = appendLiteral(out, message, line)
	return append(out, s.source[at.end:]...)
}

// appendLiteral writes a string as bpftool's print_hex does, byte for byte.
func appendLiteral(out, value []byte, line string) []byte {
	const width = 78
	const digits = "0123456789abcdef"
	out = append(out, '"', '\\')
	out = append(out, line...)
	column := 0
	for _, b := range value {
		size := 4
		if b == 0 {
			size = 2
		}
		if column += size; column > width {
			out = append(out, '\\')
			out = append(out, line...)
			column = size
		}
		if b == 0 {
			out = append(out, '\\', '0')
			continue
		}
		out = append(out, '\\', 'x', digits[b>>4], digits[b&15])
	}
	return append(out, '"')
}

// scanner goes over C source, and knows what comments and strings are.
type scanner struct {
	source []byte
	at     int
}

func (s *scanner) errorf(at int, format string, args ...any) error {
	return &SyntaxError{1 + bytes.Count(s.source[:at], []byte("\n")), fmt.Sprintf(format, args...)}
}

// arrays finds the definitions of the arrays.
func (s *scanner) arrays() (map[string]literal, error) {
	found := map[string]literal{}
	for {
		start := s.next()
		if start == len(s.source) {
			return found, nil
		}
		if err := s.token(); err != nil {
			return nil, err
		}
		name := string(s.source[start:s.at])
		switch name {
		case arrayData, arrayCode, arraySignature, arrayHash:
		default:
			continue
		}
		value, defined, err := s.definition(name)
		if err != nil {
			return nil, err
		}
		if _, twice := found[name]; defined && twice {
			return nil, s.errorf(start, "%s is defined twice", name)
		}
		if defined {
			found[name] = value
		}
	}
}

// next skips what is between tokens, and returns where the next one starts.
func (s *scanner) next() int {
	for s.at < len(s.source) {
		rest := s.source[s.at:]
		end := 0
		switch {
		case isSpace(rest[0]):
			s.at++
			continue
		case bytes.HasPrefix(rest, []byte("//")):
			if end = bytes.IndexByte(rest, '\n'); bytes.IndexByte(rest[:max(end, 0)], '\\') >= 0 {
				return s.at // which may go on in the next line: the backslash is a sign of its own
			}
		case bytes.HasPrefix(rest, []byte("/*")):
			if end = bytes.Index(rest[2:], []byte("*/")); end >= 0 {
				end += 4
			}
		case bytes.HasPrefix(rest, []byte("\\\n")):
			end = 2
		default:
			return s.at
		}
		if end < 0 {
			end = len(rest)
		}
		s.at += end
	}
	return s.at
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// token skips one token: a word, a string, a character, or a sign.
func (s *scanner) token() error {
	switch c := s.source[s.at]; {
	case c == '"':
		_, err := s.text(false)
		return err
	case c == '\'':
		return s.character()
	case isWord(c):
		for s.at < len(s.source) && isWord(s.source[s.at]) {
			s.at++
		}
	default:
		s.at++
	}
	return nil
}

// character skips a character constant. A line's end ends it too: in what the preprocessor
// leaves out, an apostrophe may stand alone.
func (s *scanner) character() error {
	for s.at++; s.at < len(s.source); s.at++ {
		switch s.source[s.at] {
		case '\\':
			s.at++
		case '\'', '\n':
			s.at = min(s.at+1, len(s.source))
			return nil
		}
	}
	s.at = len(s.source)
	return nil
}

// definition reads what follows an array's name, if that defines it:
//
//	[] __attribute__((...)) = "..." "...";
func (s *scanner) definition(name string) (value literal, defined bool, err error) {
	after := s.at
	isArray := s.sign('[')
	size := s.at
	for s.at < len(s.source) && isWord(s.source[s.at]) {
		s.at++
	}
	sized := s.at > size // which cuts the string, or fills it up
	if !isArray || !s.sign(']') {
		s.at = after
		return literal{}, false, nil
	}
	for !s.sign('=') {
		start := s.next()
		if start == len(s.source) || bytes.IndexByte([]byte(";{}\"'"), s.source[start]) >= 0 {
			return literal{}, false, nil // not from the name on again: that takes time without bounds
		}
		if err := s.token(); err != nil {
			return literal{}, false, err
		}
	}
	if sized {
		return literal{}, false, s.errorf(after, "%s has a size of its own", name)
	}
	value.start = s.next()
	for s.at < len(s.source) && s.source[s.at] == '"' {
		part, err := s.text(true)
		if err != nil {
			return literal{}, false, err
		}
		value.value = append(value.value, part...)
		value.end = s.at
		s.next()
	}
	if value.end == 0 || !s.sign(';') {
		return literal{}, false, s.errorf(s.at, "%s is no string", name)
	}
	if value.value == nil {
		value.value = []byte{}
	}
	return value, true, nil
}

// sign skips a sign, if it comes next, and what is before it.
func (s *scanner) sign(c byte) bool {
	if s.next(); s.at == len(s.source) || s.source[s.at] != c {
		return false
	}
	s.at++
	s.next()
	return true
}

// text reads a string, or only skips it.
func (s *scanner) text(read bool) (value []byte, err error) {
	start := s.at
	if read {
		value = make([]byte, 0, bytes.IndexByte(s.source[start+1:], '"')/3+1)
	}
	for s.at++; s.at < len(s.source); {
		c := s.source[s.at]
		s.at++
		switch c {
		case '"':
			return value, nil
		case '\n':
			return nil, s.errorf(start, "a string that does not end on its line")
		case '\\':
			b, any, err := s.escape(start)
			if err != nil {
				return nil, err
			}
			if !any {
				continue
			}
			c = b
		}
		if read {
			value = append(value, c)
		}
	}
	return nil, s.errorf(start, "a string that does not end")
}

// escape reads what follows a backslash (ISO C11, 6.4.4.4). any is false for a line's end,
// which is no character.
func (s *scanner) escape(start int) (c byte, any bool, err error) {
	rest := s.source[s.at:]
	if bytes.HasPrefix(rest, []byte("\r\n")) {
		s.at += 2
		return 0, false, nil
	}
	if len(rest) == 0 {
		return 0, false, s.errorf(start, "a string that does not end")
	}
	s.at++
	switch c := rest[0]; {
	case c == '\n':
		return 0, false, nil
	case c == 'x':
		return s.number(16, len(rest)-1)
	case c >= '0' && c <= '7':
		s.at--
		return s.number(8, 3)
	}
	if i := bytes.IndexByte([]byte(`abfnrtv\"'?`), rest[0]); i >= 0 {
		return "\a\b\f\n\r\t\v\\\"'?"[i], true, nil
	}
	return 0, false, s.errorf(s.at-1, "an escape that C does not have")
}

// number reads digits to a base, at most so many. C takes as many hexadecimal digits as
// there are.
func (s *scanner) number(base, most int) (c byte, any bool, err error) {
	start, n := s.at, 0
	for ; s.at < len(s.source) && s.at-start < most; s.at++ {
		d := digit(s.source[s.at])
		if d >= base {
			break
		}
		if n = n*base + d; n > 0xff {
			return 0, false, s.errorf(start, "an escape larger than a byte")
		}
	}
	if s.at == start {
		return 0, false, s.errorf(start, "an escape without digits")
	}
	return byte(n), true, nil
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 16
}
