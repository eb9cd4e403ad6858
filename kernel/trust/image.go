package trust

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
	"github.com/xi2/xz"

	"sign-file/internal/bounded"
)

// Limits of what is read as a source of certificates, in bytes. Debian's images have
// some 60 MB unpacked; only a vmlinux on disk may have debug information too.
const (
	maxImage    = 1 << 30
	maxUnpacked = 256 << 20
	maxWindow   = 128 << 20 // what a compressor looks back, and so memory
)

// ErrModule refuses a module as a source of certificates: it would vouch for itself.
var ErrModule = errors.New("a kernel module, which is no source of trust (name the signer's certificate, or a kernel image)")

// isImage recognises what unpackedImage reads by its first bytes.
func isImage(head []byte) bool {
	return isELF(head) || isBzImage(head) || isZboot(head) || isArm64(head) || bytes.HasPrefix(head, gzipMagic)
}

// imageHead is how many bytes isImage wants to see.
const imageHead = 0x250

var gzipMagic = []byte{0x1f, 0x8b}

func isELF(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

// isModule tells a relocatable ELF file: e_type, in either byte order, is ET_REL.
func isModule(b []byte) bool {
	return isELF(b) && len(b) > 17 && (b[16] == 1 && b[17] == 0 || b[16] == 0 && b[17] == 1)
}

// isBzImage looks for the header of Documentation/arch/x86/boot.rst.
func isBzImage(b []byte) bool { return len(b) >= imageHead && string(b[0x202:0x206]) == "HdrS" }

// isZboot looks for that of drivers/firmware/efi/libstub/zboot-header.S.
func isZboot(b []byte) bool {
	return len(b) >= 0x38 && string(b[:2]) == "MZ" && string(b[4:8]) == "zimg"
}

// isArm64 looks for that of Documentation/arch/arm64/booting.rst.
func isArm64(b []byte) bool { return len(b) >= 0x40 && string(b[0x38:0x3c]) == "ARM\x64" }

// imageCertificates finds the certificates that are built into a kernel, of what
// unpackedImage returns. dropped is how many bytes of the list the kernel does not look at.
func imageCertificates(image []byte) (certificates [][]byte, dropped int, err error) {
	list, err := builtinList(image)
	if err != nil {
		return nil, 0, err
	}
	if list == nil {
		return nil, 0, errors.New("the kernel image has no list of built-in certificates")
	}
	certificates, rest := splitList(list)
	return certificates, len(rest), nil
}

// unpackedImage is the kernel in an image: a vmlinux, or what a boot loader reads,
// compressed as the build does it.
func unpackedImage(image []byte) ([]byte, error) {
	if isModule(image) {
		return nil, ErrModule
	}
	for range 2 { // Image.gz may hold a zboot image, but nothing goes deeper
		payload, err := packed(image)
		if err != nil {
			return nil, err
		}
		if payload == nil {
			break
		}
		if image, err = unpack(payload); err != nil {
			return nil, fmt.Errorf("unpacking the kernel image: %w", err)
		}
		if isModule(image) {
			return nil, ErrModule
		}
	}
	return image, nil
}

// packed is the compressed kernel in an image; nil where it's not compressed.
func packed(image []byte) ([]byte, error) {
	var at, size uint64
	switch {
	case isBzImage(image):
		setup := uint64(image[0x1f1])
		if setup == 0 {
			setup = 4
		}
		at = (setup+1)*512 + uint64(binary.LittleEndian.Uint32(image[0x248:]))
		size = uint64(binary.LittleEndian.Uint32(image[0x24c:]))
	case isZboot(image):
		at, size = uint64(binary.LittleEndian.Uint32(image[8:])), uint64(binary.LittleEndian.Uint32(image[12:]))
	case bytes.HasPrefix(image, gzipMagic):
		return image, nil
	default:
		return nil, nil
	}
	if size <= sizeField || at+size > uint64(len(image)) {
		return nil, errors.New("the kernel image is truncated")
	}
	return image[at : at+size], nil
}

// sizeField is the unpacked size behind compressed data, which the build appends
// where the format has none (cmd_bzip2_with_size and its like in Makefile.lib).
const sizeField = 4

// unpack decompresses by the first bytes, as lib/decompress.c does.
func unpack(payload []byte) ([]byte, error) {
	compressed := bytes.NewReader(payload)
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(payload, gzipMagic):
		var z *gzip.Reader
		if z, err = gzip.NewReader(compressed); err == nil {
			z.Multistream(false)
			r = z
		}
	case bytes.HasPrefix(payload, []byte("\xfd7zXZ\x00")):
		// The kernel's build uses the x86 filter, which few Go packages know.
		var z *xz.Reader
		if z, err = xz.NewReader(compressed, maxWindow); err == nil {
			z.Multistream(false)
			r = z
		}
	case bytes.HasPrefix(payload, []byte("\x28\xb5\x2f\xfd")):
		return unpackZstd(payload[:len(payload)-sizeField])
	case bytes.HasPrefix(payload, []byte("\x02\x21\x4c\x18")):
		return unpackLZ4(payload)
	case bytes.HasPrefix(payload, []byte("BZh")):
		r = bzip2.NewReader(bytes.NewReader(payload[:len(payload)-sizeField]))
	case bytes.HasPrefix(payload, []byte("\x5d\x00\x00")):
		r, err = lzmaReader(payload)
	case isELF(payload):
		return payload, nil // CONFIG_KERNEL_UNCOMPRESSED
	default:
		return nil, fmt.Errorf("it is compressed in an unknown way (it begins with % x)", payload[:min(4, len(payload))])
	}
	if err != nil {
		return nil, err
	}
	return bounded.ReadExpected(r, maxUnpacked, sizeHint(payload))
}

// sizeHint is the unpacked size, which the build leaves behind what it compresses; gzip
// does so itself. A lie costs no memory before it is written to.
func sizeHint(payload []byte) int64 {
	return int64(binary.LittleEndian.Uint32(payload[len(payload)-sizeField:]))
}

// lzmaReader refuses a header that asks for more memory than the build's, whose
// dictionary has 64 MB at the most (lzma -9).
func lzmaReader(payload []byte) (io.Reader, error) {
	if len(payload) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	if size := binary.LittleEndian.Uint32(payload[1:]); size > maxWindow {
		return nil, fmt.Errorf("an LZMA dictionary of %d bytes, more than %d", size, maxWindow)
	}
	return lzma.NewReader(bytes.NewReader(payload))
}

func unpackZstd(payload []byte) ([]byte, error) {
	r, err := zstd.NewReader(bytes.NewReader(payload), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return bounded.ReadExpected(r, maxUnpacked, 0)
}

// builtinList finds system_certificate_list (certs/system_certificates.S): DER
// certificates one after another, then, aligned to 8 bytes, their length all
// together, and the length of the first ones, the build's own. No symbol is needed
// for that, and other certificates in an image (wireless regulatory ones, those of
// self-tests) have no such lengths behind them.
func builtinList(image []byte) ([]byte, error) {
	steps := minSteps + len(image)/64
	for at := 0; ; {
		next := bytes.Index(image[at:], []byte{0x30, 0x82})
		if next < 0 {
			return nil, nil
		}
		at += next
		if size := listAt(image[at:], &steps); size > 0 {
			return image[at : at+size], nil
		}
		if steps < 0 {
			return nil, errLooksLike
		}
		at++
	}
}

// minSteps bounds, with the image's size, how many certificates are looked at where a
// list may begin. By chance one place in 16 million looks like one.
const minSteps = 1 << 16

var errLooksLike = errors.New("too much in the image looks like lists of certificates")

// maxList bounds how many certificates a list may have.
const maxList = 4096

// maxOdd bounds how far behind the certificates of a list that has something else in it
// its lengths are looked for, in bytes.
const maxOdd = 64 << 10

// listAt is the size of a list that begins here, 0 if none does.
func listAt(list []byte, steps *int) int {
	first, end := certificateSize(list), 0
	for n := 0; n < maxList && *steps >= 0; n++ {
		*steps--
		size := certificateSize(list[end:])
		if size == 0 {
			break
		}
		if end += size; listEnds(list, end, first) {
			return end
		}
	}
	for size := first + 1; first > 0 && size < end+maxOdd && *steps >= 0; size++ {
		if size%16 == 0 {
			*steps--
		}
		if listEnds(list, size, first) {
			return size
		}
	}
	return 0
}

// certificateSize is the length of what may be a certificate: a SEQUENCE of at
// least 256 bytes that begins with another.
func certificateSize(b []byte) int {
	if len(b) < 8 || b[0] != 0x30 || b[1] != 0x82 || b[4] != 0x30 {
		return 0
	}
	size := 4 + int(binary.BigEndian.Uint16(b[2:]))
	if size > len(b) {
		return 0
	}
	return size
}

// splitList is x509_load_certificate_list, which asks of what follows only that it begins
// with one of the two bytes that certificates begin with, and stops where that is not so.
func splitList(list []byte) (certificates [][]byte, rest []byte) {
	for len(list) >= 4 && (list[0] == 0x30 || list[1] == 0x82) {
		size := 4 + int(binary.BigEndian.Uint16(list[2:]))
		if size > len(list) {
			break
		}
		certificates, list = append(certificates, list[:size]), list[size:]
	}
	return certificates, list
}

// listEnds looks for the two lengths of a list of this size. Between the list and them
// there may be room for one more certificate (CONFIG_SYSTEM_EXTRA_CERTIFICATE) and an int
// that says how much of it is used.
func listEnds(list []byte, size, first int) bool {
	const extra = 4096 // CONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE, unless changed
	return lengthsAt(list, alignUp(size, 8), size, first) ||
		lengthsAt(list, alignUp(alignUp(size+extra, 4)+4, 8), size, first)
}

func lengthsAt(list []byte, at, size, first int) bool {
	if at+16 > len(list) {
		return false
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		own := order.Uint64(list[at+8:])
		if order.Uint64(list[at:]) == uint64(size) && (own == 0 || own == uint64(first) || own == uint64(size)) {
			return true
		}
	}
	return false
}

func alignUp(n, to int) int { return (n + to - 1) / to * to }
