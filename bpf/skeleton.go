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

// ErrUnsigned is a light skeleton without a signature. Its loader is another than that of a
// signed one, so it can't be signed either.
var ErrUnsigned = errors.New("is not signed: its loader is not one that can be (bpftool gen skeleton -L -S -k <any key> -i <its certificate> makes one, and bpf sign puts another key's signature there)")

// ErrNoSkeleton is returned for a file that is not a light skeleton.
var ErrNoSkeleton = errors.New("is not a light skeleton (bpftool gen skeleton -L)")

// SyntaxError is a header that is not as bpftool writes it.
type SyntaxError struct {
	Line   int // from 1
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d: %s; a skeleton is taken only as bpftool wrote it", e.Line, e.Reason)
}

// ParseSkeleton reads a signed light skeleton. It takes the text that bpftool writes, of the
// whole file, and nothing else: of any other a compiler might make another program than is
// read here. What differs is a *SyntaxError.
func ParseSkeleton(source []byte) (*Skeleton, error) {
	if len(source) > MaxSkeleton {
		return nil, &SizeError{"bytes of a skeleton", len(source), MaxSkeleton}
	}
	switch {
	case !bytes.Contains(source, []byte("bpf_load_and_run(&opts)")):
		return nil, ErrNoSkeleton
	case !bytes.Contains(source, []byte("opts_sig[]")):
		return nil, ErrUnsigned
	}
	r := reader{source: source}
	h := r.header()
	made := &Skeleton{source: bytes.Clone(source), signature: h.signature}
	made.Loader = Loader{Instructions: h.code.value, Data: h.data.value, Signature: h.signature.value, ExclusiveHash: h.hash.value}
	r.checkValues(h, &made.Loader)
	if r.err != nil {
		return nil, r.err
	}
	return made, nil
}

// WithSignature returns the header with another signature. Nothing else of it differs.
func (s *Skeleton) WithSignature(message []byte) []byte {
	at := s.signature
	out := make([]byte, 0, len(s.source)+4*len(message))
	out = append(out, s.source[:at.start]...)
	out = appendLiteral(out, message)
	return append(out, s.source[at.end:]...)
}

const hexDigits = "0123456789abcdef"

// arrayWidth is how long a line of an array may be, in characters.
const arrayWidth = 78

// appendLiteral writes a string as bpftool's print_hex does, byte for byte.
func appendLiteral(out, value []byte) []byte {
	out = append(out, '"', '\\', '\n')
	column := 0
	for _, b := range value {
		size := 4
		if b == 0 {
			size = 2
		}
		if column += size; column > arrayWidth {
			out = append(out, '\\', '\n')
			column = size
		}
		if b == 0 {
			out = append(out, '\\', '0')
			continue
		}
		out = append(out, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
	}
	return append(out, '"')
}
