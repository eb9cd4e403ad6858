package kernel

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"syscall"
)

// Container is how a module is compressed, and who decompresses it to load it.
type Container struct {
	Format string // gzip, xz or zstd
	// ByKernel: this kernel decompresses the format by itself (CONFIG_MODULE_DECOMPRESS),
	// and kmod 31 and later hands it the file as it is. Other files kmod decompresses.
	ByKernel bool
	// Problem says why a kernel that decompresses the format by itself does not read
	// this file. It is empty where it does.
	Problem string
}

// CompressedModule judges a module that is compressed where it lies: file as it is there,
// and the module that is inside.
func (j *Judge) CompressedModule(file io.ReaderAt, size int64, module io.ReaderAt, moduleSize int64) (*Verdict, error) {
	return j.decide(func() (v *Verdict, err error) {
		container, problem := j.kernel.container(file, size, moduleSize)
		switch {
		case container.Format == "" && errors.Is(problem, errNoContainer): // kmod goes by what it sees, too
			v, err = j.refused(refuse(syscall.ENOEXEC, "elf_validity_check", "%v", problem))
		case !container.ByKernel || j.usage != Module || problem == nil && moduleSize >= elfHeader:
			v, err = j.Module(module, moduleSize)
		case problem == nil || errors.Is(problem, errMore) || errors.Is(problem, errGzipField):
			return j.PackedModule(file, size)
		default:
			v, err = j.refused(problem)
		}
		if err == nil {
			v.Container = &container
		}
		if err == nil && j.usage == Module && j.kernel.NoModules {
			v.withoutModules()
		}
		return v, err
	})
}

// ContainerOf looks at a compressed module, and says what kernels make of it that
// decompress its format by themselves, as they are mostly built.
func ContainerOf(file io.ReaderAt, size, moduleSize int64) Container {
	newest := kernels()[len(kernels())-1]
	c, _ := newest.container(file, size, moduleSize)
	return c
}

// maxRead is what finit_module has kernel_read_file read.
const maxRead = math.MaxInt32

// decompressor is one of kernel/module/decompress.c.
type decompressor struct {
	format, magic string
	check         func(k *Kernel, file io.ReaderAt, size, moduleSize int64) error
}

func decompressors() []decompressor {
	return []decompressor{
		{"gzip", "\x1f\x8b", checkGzip}, // as much of it as kmod asks for
		{"xz", "\xfd7zXZ\x00", checkXZ},
		{"zstd", "\x28\xb5\x2f\xfd", checkZstd},
	}
}

// container looks at a compressed file as module_decompress does. The error, a *Refusal
// or why there is none, is of a kernel that decompresses the format, as k may not; Problem
// is its text.
func (k *Kernel) container(file io.ReaderAt, size, moduleSize int64) (c Container, err error) {
	defer func() {
		if err != nil {
			c.Problem = reason(err)
		}
	}()
	head := make([]byte, 6)
	if err := readFull(file, head, 0); err != nil {
		return c, err
	}
	for _, d := range decompressors() {
		if !bytes.HasPrefix(head, []byte(d.magic)) {
			continue
		}
		c = Container{Format: d.format, ByKernel: k.decompresses == d.format}
		if size > maxRead {
			return c, refuse(syscall.EFBIG, "kernel_read_file", "a file of 2 GiB or more")
		}
		return c, d.check(k, file, size, moduleSize)
	}
	return c, errNoContainer
}

var errNoContainer = errors.New("it begins in a way that neither kmod nor a kernel knows as compressed (a skippable frame, for instance)")

// errMore: a kernel ends with the first stream, member or frame, kmod with the last.
var errMore = errors.New("the compressed module does not end where the file does, and a kernel that decompresses by itself reads no more than that")

const (
	xzHeaderSize = 12 // of a stream's header, and of its footer, in bytes
	xzDelta      = 3
	xzLZMA2      = 0x21
)

// xzRefusal is what XZ_OPTIONS_ERROR leads to.
func xzRefusal(format string, args ...any) error {
	return logged(syscall.EINVAL, "module_xz_decompress", "decompression failed with status 6", format, args...)
}

// checkXZ is dec_stream_header and dec_block_header (lib/xz/xz_dec_stream.c) for all
// blocks of the one stream that a module has.
func checkXZ(k *Kernel, file io.ReaderAt, size, _ int64) error {
	var header [xzHeaderSize]byte
	if err := readFull(file, header[:], 0); err != nil {
		return err
	}
	if check := header[7] & 0xf; check > 1 {
		return xzRefusal("xz with %s as its check, and the kernel takes none but CRC32", xzCheck(check))
	}
	blocks, err := xzBlocks(file, size)
	if err != nil {
		return err
	}
	for _, at := range blocks {
		if err := k.checkXZBlock(file, at); err != nil {
			return err
		}
	}
	return nil
}

func xzCheck(id byte) string {
	if name, ok := map[byte]string{4: "CRC64", 10: "SHA-256"}[id]; ok {
		return name
	}
	return fmt.Sprintf("number %d", id)
}

// maxBlocks bounds how many blocks are looked at. Those of zstd have 128 KiB, those that
// xz -T makes some megabytes.
const maxBlocks = 1 << 17

var errXZIndex = errors.New("its xz index is damaged")

// xzBlocks finds where the blocks of a file begin, by the index at its end (The .xz File
// Format, sections 2.1.2 and 4).
func xzBlocks(file io.ReaderAt, size int64) ([]int64, error) {
	var footer [xzHeaderSize]byte
	if size < 2*xzHeaderSize {
		return nil, errXZIndex
	}
	if err := readFull(file, footer[:], size-xzHeaderSize); err != nil {
		return nil, err
	}
	if string(footer[10:]) != "YZ" {
		return nil, errMore // padding, or something else
	}
	indexSize := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	indexAt := size - xzHeaderSize - indexSize
	if indexAt < xzHeaderSize {
		return nil, errXZIndex
	}
	index := bufio.NewReader(io.NewSectionReader(file, indexAt+1, indexSize-1))
	count, err := binary.ReadUvarint(index)
	if err != nil || count > maxBlocks {
		return nil, errXZIndex
	}
	var blocks []int64
	at := int64(xzHeaderSize)
	for range count {
		unpadded, err := binary.ReadUvarint(index)
		if err != nil || unpadded == 0 || unpadded > uint64(indexAt) {
			return nil, errXZIndex
		}
		if _, err := binary.ReadUvarint(index); err != nil {
			return nil, errXZIndex
		}
		blocks = append(blocks, at)
		if at += (int64(unpadded) + 3) &^ 3; at > indexAt {
			return nil, errXZIndex
		}
	}
	if at != indexAt {
		return nil, errMore
	}
	return blocks, nil
}

// checkXZBlock looks at the filters of one block: LZMA2, and before it at most one of
// those that the kernel is built with, beginning at 0.
func (k *Kernel) checkXZBlock(file io.ReaderAt, at int64) error {
	var length [1]byte
	if err := readFull(file, length[:], at); err != nil {
		return err
	}
	header := make([]byte, (int(length[0])+1)*4)
	if err := readFull(file, header, at); err != nil {
		return err
	}
	flags, filters := header[1], bytes.NewReader(header[2:])
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&present != 0 {
			if _, err := binary.ReadUvarint(filters); err != nil {
				return errXZIndex
			}
		}
	}
	for n := flags & 3; ; n-- {
		id, err := binary.ReadUvarint(filters)
		properties, err2 := binary.ReadUvarint(filters)
		if err != nil || err2 != nil || properties > uint64(filters.Len()) {
			return errXZIndex
		}
		filters.Seek(int64(properties), io.SeekCurrent)
		switch {
		case n == 0 && id == xzLZMA2:
			return nil
		case n != 1 || properties != 0 || !k.hasXZFilter(id):
			return xzRefusal("xz with filter %s, which the kernel lacks", filterName(id, properties))
		}
	}
}

func (k *Kernel) hasXZFilter(id uint64) bool {
	i := slices.IndexFunc(xzFilters(), func(f xzFilter) bool { return f.id == id })
	return i >= 0 && k.xzFilters[xzFilters()[i].option]
}

// xzFilter is one that a kernel may be built with.
type xzFilter struct {
	id           uint64
	name, option string
}

func xzFilters() []xzFilter {
	return []xzFilter{
		{4, "x86", "XZ_DEC_X86"}, {5, "powerpc", "XZ_DEC_POWERPC"}, {6, "ia64", "XZ_DEC_IA64"},
		{7, "arm", "XZ_DEC_ARM"}, {8, "armthumb", "XZ_DEC_ARMTHUMB"}, {9, "sparc", "XZ_DEC_SPARC"},
		{10, "arm64", "XZ_DEC_ARM64"}, {11, "riscv", "XZ_DEC_RISCV"},
	}
}

func filterName(id, properties uint64) string {
	name := fmt.Sprintf("number %d", id)
	if id == xzDelta {
		return "delta"
	}
	for _, f := range xzFilters() {
		if f.id == id {
			name = f.name
		}
	}
	if properties != 0 {
		name += " from an offset"
	}
	return name
}

// errGzipField: what the kernel makes of it depends on the bytes that it takes for data.
var errGzipField = errors.New("gzip with a field in its header that the kernel does not skip (it knows the name)")

// checkGzip is module_gzip_header_len: of the optional fields of a header (RFC 1952,
// section 2.3) it skips only the name. moduleSize below 0 is not known.
func checkGzip(_ *Kernel, file io.ReaderAt, size, moduleSize int64) error {
	const name, others = 0x08, 0x02 | 0x04 | 0x10
	var flags [1]byte
	var length [4]byte
	if err := readFull(file, flags[:], 3); err != nil {
		return err
	}
	if flags[0]&others != 0 {
		return errGzipField
	}
	if err := readFull(file, length[:], size-4); err != nil {
		return err
	}
	if moduleSize >= 0 && binary.LittleEndian.Uint32(length[:]) != uint32(moduleSize) {
		return errMore
	}
	return nil
}

// checkZstd wants one frame and nothing else.
func checkZstd(_ *Kernel, file io.ReaderAt, size, _ int64) error {
	if frame, ok := zstdFrame(file, size); !ok || frame.end != size {
		return errMore
	}
	return nil
}

// frame is where the parts of a zstd frame are, in bytes from its start.
type frame struct {
	last  int64 // header of the last block that is whole, 0 for none
	whole int64 // end of that block, or of the frame's header
	end   int64 // of the frame, which is behind that of a cut file
}

// zstdFrame follows the first frame (RFC 8878, section 3.1.1) to its end. ok is false for
// one of more blocks than are followed.
func zstdFrame(file io.ReaderAt, size int64) (f frame, ok bool) {
	at := int64(4)
	take := func(n int) []byte {
		b := make([]byte, n)
		file.ReadAt(b, at)
		at += int64(n)
		return b
	}
	descriptor := take(1)[0]
	single, checksum := descriptor&0x20 != 0, descriptor&4 != 0
	header := []int{0, 1, 2, 4}[descriptor&3] + []int{0, 2, 4, 8}[descriptor>>6]
	if single && descriptor>>6 == 0 || !single {
		header++ // the content's size in one byte, or the window
	}
	take(header)
	f.whole = at
	for last, blocks := false, 0; !last && at < size; blocks++ {
		if blocks == maxBlocks {
			return f, false
		}
		start := at
		block := take(3)
		n := int64(block[0])>>3 | int64(block[1])<<5 | int64(block[2])<<13
		last = block[0]&1 != 0
		if block[0]>>1&3 == 1 {
			n = 1 // one byte, repeated
		}
		if at += n; at <= size {
			f.last, f.whole = start, at
		}
	}
	if checksum {
		take(4)
	}
	f.end = at
	return f, true
}
