package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errELF is what elf_validity_check says no to, in the order in which it looks.
var (
	errNoELF      = errors.New("it is no ELF file")
	errNoObject   = errors.New("it is no relocatable ELF file, as modules are, but a program or a library")
	errCutObject  = errors.New("it is cut: its section headers lie behind its end")
	errOddSection = errors.New("its section headers have another size than those of its class")
)

// CheckELF says why a file is no module, whatever its signature: the beginning of
// elf_validity_check. size is that of the content, without the signature. The
// architecture is not looked at, nor what is in the sections.
func CheckELF(file io.ReaderAt, size int64) error {
	const relocatable = 1
	var head [elfHeader]byte
	n, err := file.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	if n < 20 || string(head[:4]) != "\x7fELF" {
		return errNoELF
	}
	if n < elfHeader || size < elfHeader {
		return errCutObject
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	offset, entry, count, want := int64(order.Uint64(head[40:])), order.Uint16(head[58:]), order.Uint16(head[60:]), uint16(64)
	if head[4] == 1 { // ELFCLASS32
		offset, entry, count, want = int64(order.Uint32(head[32:])), order.Uint16(head[46:]), order.Uint16(head[48:]), 40
	}
	switch {
	case order.Uint16(head[16:]) != relocatable:
		return errNoObject
	case entry != want:
		return errOddSection
	case offset < 0 || offset >= size || int64(count)*int64(want) > size-offset:
		return fmt.Errorf("%w (the file has %d bytes)", errCutObject, size)
	}
	return nil
}
