// Package modsig reads and writes what sign-file appends to a module:
//
//	+-----------------------+
//	| content               |  what the signature covers
//	+-----------------------+
//	| PKCS#7 message        |  DER, Trailer.SignatureSize bytes
//	+-----------------------+
//	| struct module_signature  12 bytes, include/linux/module_signature.h
//	+-----------------------+
//	| marker                |  28 bytes, the very last of the file
//	+-----------------------+
//
// A file may be signed several times; the kernel looks only at the outermost
// signature, and so does this package.
package modsig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Marker ends every signed file (MODULE_SIG_STRING).
const Marker = "~Module signature appended~\n"

const (
	// InfoSize is sizeof(struct module_signature).
	InfoSize = 12
	// TrailerSize is the length of what follows the PKCS#7 message.
	TrailerSize = InfoSize + len(Marker)
	// typePKCS7 is PKEY_ID_PKCS7, the only id_type that the kernel takes.
	typePKCS7 = 2
)

// ErrUnsigned says that a file doesn't end with the marker: to the kernel it is
// an unsigned module (ENODATA inside module_sig_check, never seen outside).
var ErrUnsigned = errors.New("not signed: the file does not end with the module signature marker")

// TrailerError is a trailer that does not tell where the content ends, or that the kernel
// does not take. Package kernel knows the errno.
type TrailerError struct {
	Kind   Fault
	Reason string // lower case, no period
}

// Fault is what is wrong with a trailer, in the order in which the kernel looks.
type Fault int

const (
	// NoRoom: less than struct module_signature precedes the marker.
	NoRoom Fault = iota + 1
	// BadSize: the signature is said to leave no content.
	BadSize
	// BadType: id_type is not typePKCS7.
	BadType
	// NotZero: a field is set that must be zero for PKCS#7.
	NotZero
	// NoContent is BadSize of a signature that takes up all there is: one of an empty file.
	NoContent
)

func (e *TrailerError) Error() string { return e.Reason }

func fault(kind Fault, format string, args ...any) error {
	return &TrailerError{kind, fmt.Sprintf(format, args...)}
}

// Info is struct module_signature. All but IDType and SignatureSize are zero in
// every signature that the kernel accepts.
type Info struct {
	Algorithm    uint8
	Hash         uint8
	IDType       uint8
	SignerLength uint8
	KeyIDLength  uint8
	Pad          [3]uint8
	// SignatureSize is the length of the PKCS#7 message in bytes.
	SignatureSize uint32
}

// Trailer returns the 40 bytes that follow a PKCS#7 message of the given size.
func Trailer(signatureSize int64) ([]byte, error) {
	if signatureSize < 0 || signatureSize > math.MaxUint32 {
		return nil, fmt.Errorf("a signature of %d bytes does not fit struct module_signature", signatureSize)
	}
	info := Info{IDType: typePKCS7, SignatureSize: uint32(signatureSize)}
	return append(info.encode(), Marker...), nil
}

func (i Info) encode() []byte {
	b := []byte{i.Algorithm, i.Hash, i.IDType, i.SignerLength, i.KeyIDLength, i.Pad[0], i.Pad[1], i.Pad[2]}
	return binary.BigEndian.AppendUint32(b, i.SignatureSize)
}

// parseInfo reads the 12 bytes of a struct module_signature. It checks nothing:
// see Check.
func parseInfo(b [InfoSize]byte) Info {
	return Info{
		Algorithm:     b[0],
		Hash:          b[1],
		IDType:        b[2],
		SignerLength:  b[3],
		KeyIDLength:   b[4],
		Pad:           [3]uint8(b[5:8]),
		SignatureSize: binary.BigEndian.Uint32(b[8:]),
	}
}

// Check is the kernel's mod_check_sig, in its order. size counts the bytes
// before the marker, the struct itself among them. The error is a *TrailerError.
func (i Info) Check(size int64) error {
	if int64(i.SignatureSize) == size-InfoSize {
		return fault(NoContent, "the signature is all there is: an empty file was signed, and the content needs at least one byte")
	}
	if size < InfoSize || int64(i.SignatureSize) > size-InfoSize {
		return fault(BadSize, "the trailer names a signature of %d bytes, and only %d precede it, of which the content needs at least one",
			i.SignatureSize, size-InfoSize)
	}
	if i.IDType != typePKCS7 {
		return fault(BadType, "signature type %d is not PKCS#7 (2)", i.IDType)
	}
	if i.Algorithm|i.Hash|i.SignerLength|i.KeyIDLength|i.Pad[0]|i.Pad[1]|i.Pad[2] != 0 {
		return fault(NotZero, "the trailer has a non-zero field that must be zero for PKCS#7")
	}
	return nil
}

// Layout tells where the parts of a signed file are, in bytes from its start.
type Layout struct {
	Info        Info
	ContentSize int64 // the content is [0, ContentSize), the message follows
}

// SignatureSize is the length of the PKCS#7 message.
func (l Layout) SignatureSize() int64 { return int64(l.Info.SignatureSize) }

// readAt reads all of b, behind which the file may end.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// HasMarker reports whether a file of the given size ends with the marker.
func HasMarker(r io.ReaderAt, size int64) (bool, error) {
	if size <= int64(len(Marker)) {
		return false, nil
	}
	var end [len(Marker)]byte
	if err := readAt(r, end[:], size-int64(len(Marker))); err != nil {
		return false, fmt.Errorf("reading the marker: %w", err)
	}
	return string(end[:]) == Marker, nil
}

// Find reads the trailer of a file as module_sig_check and mod_verify_sig do.
// The error is ErrUnsigned, a *TrailerError, or one of reading.
func Find(r io.ReaderAt, size int64) (Layout, error) {
	signed, err := HasMarker(r, size)
	if err != nil {
		return Layout{}, err
	}
	if !signed {
		return Layout{}, ErrUnsigned
	}
	size -= int64(len(Marker))
	if size <= InfoSize {
		return Layout{}, fault(NoRoom, "only %d bytes precede the marker, no room for struct module_signature", size)
	}
	var raw [InfoSize]byte
	if err := readAt(r, raw[:], size-InfoSize); err != nil {
		return Layout{}, fmt.Errorf("reading struct module_signature: %w", err)
	}
	info := parseInfo(raw)
	if err := info.Check(size); err != nil {
		return Layout{}, err
	}
	return Layout{Info: info, ContentSize: size - InfoSize - int64(info.SignatureSize)}, nil
}
