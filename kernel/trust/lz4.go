package trust

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// lz4Block is what a block of LZ4's legacy format holds at most, unpacked.
const lz4Block = 8 << 20

var errLZ4 = errors.New("malformed LZ4 data")

// unpackLZ4 reads the legacy format ("lz4 -l"), the one of kernel images: after the
// magic number, blocks behind their length. What follows the last block is too
// short for one, or too long.
func unpackLZ4(payload []byte) ([]byte, error) {
	var out []byte
	in := payload[4:]
	for len(in) > 4 {
		size := binary.LittleEndian.Uint32(in)
		if size == 0 || uint64(size) > uint64(len(in)-4) {
			break
		}
		var err error
		if out, err = appendLZ4(out, in[4:4+size], len(out)+lz4Block); err != nil {
			return nil, err
		}
		if len(out) > maxUnpacked {
			return nil, fmt.Errorf("more than %d bytes", maxUnpacked)
		}
		in = in[4+size:]
	}
	return out, nil
}

// appendLZ4 unpacks one block, of sequences: a token whose halves are the lengths
// of literals and match, literals, and how far back the match is.
func appendLZ4(out, in []byte, limit int) ([]byte, error) {
	block := len(out)
	for {
		if len(in) == 0 {
			return nil, errLZ4
		}
		token := in[0]
		literals, rest, ok := lz4Length(int(token>>4), in[1:])
		if !ok || literals > len(rest) || len(out)+literals > limit {
			return nil, errLZ4
		}
		out = append(out, rest[:literals]...)
		if in = rest[literals:]; len(in) == 0 {
			return out, nil // the last sequence has no match
		}
		if len(in) < 2 {
			return nil, errLZ4
		}
		back := int(binary.LittleEndian.Uint16(in))
		match, rest, ok := lz4Length(int(token&15), in[2:])
		match += 4
		if !ok || back == 0 || back > len(out)-block || len(out)+match > limit {
			return nil, errLZ4
		}
		out = appendMatch(out, back, match)
		in = rest
	}
}

// appendMatch repeats bytes, which may be their own continuation.
func appendMatch(out []byte, back, size int) []byte {
	if back >= size {
		return append(out, out[len(out)-back:][:size]...)
	}
	pattern := out[len(out)-back:]
	repeated := bytes.Repeat(pattern, size/back+1)
	return append(out, repeated[:size]...)
}

// lz4Length adds the octets that follow a length of 15.
func lz4Length(n int, in []byte) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, in, true
	}
	for i, b := range in {
		n += int(b)
		if b != 0xff {
			return n, in[i+1:], n <= lz4Block
		}
	}
	return 0, nil, false
}
