// Package mapvalue reads and writes the signed BPF map value of the 2022 kernel
// series "bpf: Add support for maps with authenticated values":
//
//	[be32 size][data][PKCS#7 message][struct module_signature][marker][unverified tail]
//	           |<------------------- size bytes ------------------->|
//
// It is a file signed by sign-file behind its own length, in a buffer that is
// as long as the map's value size says. Nothing vouches for the tail.
package mapvalue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	modsig "sign-file/module_signature"
)

// HeaderSize is the length of the big-endian size before the data.
const HeaderSize = 4

// MaxSize is the largest value that is read or made here, in bytes. An array map's
// value_size may be up to INT_MAX (array_map_alloc_check), but what verifies a signature
// today takes 16 MiB less a byte (bpf_dynptr_check_size), and all of a value is held in
// memory.
const MaxSize = 64 << 20

// FormatError is a value that is not laid out as above. Package kernel knows the errno.
type FormatError struct {
	Kind   Fault
	Reason string // lower case, no period
}

// Fault is what is wrong with a value, in the order in which the kernel looks.
type Fault int

const (
	// NoRoom: nothing follows the size.
	NoRoom Fault = iota + 1
	// BadSize: the size names more than there is.
	BadSize
	// NoMarker: the signed part is too short for the marker, or ends otherwise.
	NoMarker
)

func (e *FormatError) Error() string { return e.Reason }

func fault(kind Fault, format string, args ...any) error {
	return &FormatError{kind, fmt.Sprintf(format, args...)}
}

// ErrEmptyData is why a value without data is not made: mod_check_sig wants at
// least one byte before the signature and answers EBADMSG.
var ErrEmptyData = errors.New("no data to sign: the kernel refuses a map value without data")

// Value is a decoded map value. The slices alias the decoded bytes.
type Value struct {
	Data    []byte // what the signature covers, at least one byte
	Message []byte // the PKCS#7 message, DER
	Signed  []byte // data, message and trailer: the file as sign-file made it
	Tail    []byte // everything behind, zero padding among it; unverified
}

// SizeError says that a value does not fit its map. All are in bytes.
type SizeError struct {
	Need, Size   int
	Signed, Tail int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("the value needs %d bytes (4 size, %d signed, %d tail), %d more than the value size %d",
		e.Need, e.Signed, e.Tail, e.Need-e.Size, e.Size)
}

// Encode makes the value of a file that is signed already, and pads it with
// zeros to valueSize bytes. valueSize 0 means no padding.
func Encode(signed, tail []byte, valueSize int) ([]byte, error) {
	need := int64(HeaderSize) + int64(len(signed)) + int64(len(tail))
	switch {
	case need > MaxSize || valueSize > MaxSize:
		return nil, fmt.Errorf("the value needs %d bytes, and the limit is %d", max(need, int64(valueSize)), MaxSize)
	case valueSize < 0:
		return nil, fmt.Errorf("a value size of %d bytes", valueSize)
	case valueSize != 0 && need > int64(valueSize):
		return nil, &SizeError{Need: int(need), Size: valueSize, Signed: len(signed), Tail: len(tail)}
	}
	value := make([]byte, 0, max(int(need), valueSize))
	value = binary.BigEndian.AppendUint32(value, uint32(len(signed)))
	value = append(value, signed...)
	value = append(value, tail...)
	value = value[:cap(value)][:max(int(need), valueSize)]
	if _, err := Decode(value); err != nil {
		return nil, fmt.Errorf("the kernel would refuse the value: %w", err)
	}
	return value, nil
}

// Decode takes a value apart, with the checks of bpf_map_verify_value_sig up to
// the signature itself, in their order; an error is a *FormatError or a
// *modsig.TrailerError.
func Decode(value []byte) (*Value, error) {
	if len(value) <= HeaderSize {
		return nil, fault(NoRoom, "a value of %d bytes has no room for data behind its size", len(value))
	}
	size := int64(binary.BigEndian.Uint32(value))
	if room := int64(len(value) - HeaderSize); size > room {
		return nil, fault(BadSize, "the size names %d bytes, and only %d follow", size, room)
	}
	signed := value[HeaderSize : HeaderSize+size]
	if size <= int64(len(modsig.Marker)) {
		return nil, fault(NoMarker, "%d signed bytes have no room for the marker", size)
	}
	if !bytes.HasSuffix(signed, []byte(modsig.Marker)) {
		return nil, fault(NoMarker, "the signed part does not end with the module signature marker")
	}
	layout, err := modsig.Find(bytes.NewReader(signed), size)
	if err != nil {
		return nil, err
	}
	content, end := layout.ContentSize, layout.ContentSize+layout.SignatureSize()
	return &Value{
		Data:    signed[:content:content],
		Message: signed[content:end:end],
		Signed:  signed[:size:size],
		Tail:    value[HeaderSize+size:],
	}, nil
}
