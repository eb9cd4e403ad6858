package kernel

import (
	"bytes"
	"cmp"
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
	errNames      = errors.New("the index of its section names is none (e_shstrndx)")
	errNameTable  = errors.New("its section names lie outside of it, or have no end")
	errSectionNil = errors.New("its first section is not empty, as ELF wants it")
	errNoSymbols  = errors.New("it has no symbols (strip without --strip-debug takes them)")
	errNoSelf     = errors.New("it has no section .gnu.linkonce.this_module, as every module has (an object that modpost did not link?)")
	errStrings    = errors.New("its symbols' names have no end")
	errStringType = errors.New("its section or symbol names are not in a string table")
)

// CheckELF says why a file is no module, whatever its signature: the beginning of
// elf_validity_check, as Linux 6.1 to 7.3 have it in common. size is that of the content,
// without the signature. The architecture is not looked at, nor what is in the sections.
func CheckELF(file io.ReaderAt, size int64) error {
	err := checkELF(file, size)
	if err == errStrings || err == errStringType {
		return nil
	}
	return err
}

// checkELF adds what only newer kernels look at: errStrings and errStringType come last.
func checkELF(file io.ReaderAt, size int64) error {
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
	e := layoutOf(head[:])
	sections, entry, count, names := int64(e.word(head[e.e_shoff:])), e.half(head[e.e_shentsize:]), e.half(head[e.e_shnum:]), e.half(head[e.e_shstrndx:])
	switch {
	case e.half(head[16:]) != relocatable:
		return errNoObject
	case int64(entry) != e.section:
		return errOddSection
	case sections < 0 || sections >= size || int64(count)*e.section > size-sections:
		return fmt.Errorf("%w (the file has %d bytes)", errCutObject, size)
	case names == 0 || names >= count:
		return errNames
	}
	headers := make([]byte, int64(count)*e.section)
	if err := readFull(file, headers, sections); err != nil {
		return err
	}
	return e.checkSections(file, size, headers, names)
}

// elfLayout is where the fields are, in bytes, of the class and byte order that a kernel
// reads.
type elfLayout struct {
	binary.ByteOrder
	wide                                      bool
	e_shoff, e_shentsize, e_shnum, e_shstrndx int
	section                                   int64 // size of a section header
}

// layoutOf goes by the machine where it has but one class and order, as kernels go by their
// own, and by what the file says of itself otherwise.
func layoutOf(head []byte) elfLayout {
	const x86_64, aarch64, loongArch = 62, 183, 258
	e := elfLayout{binary.LittleEndian, true, 40, 58, 60, 62, 64}
	switch binary.LittleEndian.Uint16(head[18:]) {
	case x86_64, aarch64, loongArch:
		return e
	}
	if head[5] == 2 { // ELFDATA2MSB
		e.ByteOrder = binary.BigEndian
	}
	if head[4] == 1 { // ELFCLASS32
		return elfLayout{e.ByteOrder, false, 32, 46, 48, 50, 40}
	}
	return e
}

func (e elfLayout) half(b []byte) uint16 { return e.Uint16(b) }

// word reads an address, an offset or a size.
func (e elfLayout) word(b []byte) uint64 {
	if e.wide {
		return e.Uint64(b)
	}
	return uint64(e.Uint32(b))
}

// section is what is looked at of a section header.
type section struct {
	name, kind, link           uint32
	flags, address, at, length uint64
}

func (e elfLayout) sectionOf(header []byte) section {
	if e.wide {
		return section{e.Uint32(header), e.Uint32(header[4:]), e.Uint32(header[40:]), e.word(header[8:]), e.word(header[16:]), e.word(header[24:]), e.word(header[32:])}
	}
	return section{e.Uint32(header), e.Uint32(header[4:]), e.Uint32(header[24:]), e.word(header[8:]), e.word(header[12:]), e.word(header[16:]), e.word(header[20:])}
}

// inside is validate_section_offset.
func (s section) inside(size int64) bool {
	return s.at <= uint64(size) && s.length <= uint64(size)-s.at
}

// maxNames bounds how many section names are read, in bytes. Modules have some kilobytes.
const maxNames = 1 << 20

// checkSections is the rest of elf_validity_check, but for what a module's own section has
// in it.
func (e elfLayout) checkSections(file io.ReaderAt, size int64, headers []byte, names uint16) error {
	const null, symbols, stringTable, noBits, alloc = 0, 2, 3, 8, 2
	count := len(headers) / int(e.section)
	nth := func(n int) section { return e.sectionOf(headers[int64(n)*e.section:]) }
	table := nth(int(names))
	if !table.inside(size) || table.length == 0 {
		return errNameTable
	}
	if ends, err := table.endsWithNUL(file); err != nil || !ends {
		return cmp.Or(err, errNameTable)
	}
	if first := nth(0); first.kind != null || first.length != 0 || first.address != 0 {
		return errSectionNil
	}
	text := make([]byte, min(table.length, maxNames))
	if err := readFull(file, text, int64(table.at)); err != nil {
		return err
	}
	self, of := table.length > maxNames, -1 // of symbols: where their names are
	for n := 1; n < count; n++ {
		s := nth(n)
		switch {
		case s.kind == null || s.kind == noBits:
			continue
		case s.kind == symbols && (s.link == 0 || int64(s.link) >= int64(count)):
			return fmt.Errorf("its section %d has symbols without names", n)
		case !s.inside(size):
			return fmt.Errorf("its section %d lies behind its end (the file has %d bytes)", n, size)
		case s.flags&alloc != 0 && uint64(s.name) >= table.length:
			return fmt.Errorf("its section %d has a name outside of the section names", n)
		case s.kind == symbols:
			of = int(s.link)
		}
		const this = ".gnu.linkonce.this_module\x00"
		self = self || uint64(s.name) < uint64(len(text)) && bytes.HasPrefix(text[s.name:], []byte(this))
	}
	switch {
	case of < 0:
		return errNoSymbols
	case !self:
		return errNoSelf
	case table.kind != stringTable || nth(of).kind != stringTable:
		return errStringType
	}
	if of := nth(of); of.inside(size) && of.length > 0 {
		if ends, err := of.endsWithNUL(file); err != nil || !ends {
			return cmp.Or(err, errStrings)
		}
	}
	return nil
}

// endsWithNUL reads the last byte of a section that is not empty.
func (s section) endsWithNUL(file io.ReaderAt) (bool, error) {
	var last [1]byte
	err := readFull(file, last[:], int64(s.at+s.length)-1)
	return last[0] == 0, err
}
