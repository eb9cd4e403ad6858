package kernel

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"

	"sign-file/internal/bounded"
	modsig "sign-file/module_signature"
)

// ErrByKmod says that the kernel does not decompress this file by itself, so what cannot be
// decompressed never gets to it.
var ErrByKmod = errors.New("the kernel does not decompress it by itself")

// PackedModule judges a compressed module by what the kernel's own decompressor makes of it
// (kernel/module/decompress.c): a damaged one is EINVAL, and of one with something behind it
// the first stream counts. It is ErrByKmod where kmod decompresses.
func (j *Judge) PackedModule(file io.ReaderAt, size int64) (*Verdict, error) {
	return j.decide(func() (*Verdict, error) {
		container, problem := j.kernel.container(file, size, -1)
		if !container.ByKernel || j.usage != Module {
			return nil, ErrByKmod
		}
		v, err := j.packed(container.Format, problem, file, size)
		if err == nil {
			if container.Problem = ""; v.Func == unpackers()[container.Format].function {
				container.Problem = v.Reason
			}
			v.Container = &container
		}
		return v, err
	})
}

func (j *Judge) packed(format string, problem error, file io.ReaderAt, size int64) (*Verdict, error) {
	if RefusalOf(problem) != nil && format != "gzip" { // of which the header says nothing for certain
		return j.refused(problem)
	}
	content, err := j.kernel.unpack(format, file, size)
	if err != nil {
		return j.refused(err)
	}
	if len(content) >= elfHeader {
		return j.Module(bytes.NewReader(content), int64(len(content)))
	}
	// finit_module asks for no size here, so that the signature comes first.
	_, unsigned := modsig.Find(bytes.NewReader(content), int64(len(content)))
	if unsigned == nil || unsigned == modsig.ErrUnsigned {
		unsigned = refuse(syscall.ENODATA, "module_sig_check", "%v", modsig.ErrUnsigned)
	}
	v, err := j.refused(unsigned)
	if err == nil {
		v.load(j.kernel)
		err = v.loadELF(j.kernel, bytes.NewReader(content), int64(len(content)))
	}
	return v, err
}

// maxUnpacked bounds what is decompressed in memory, in bytes.
const maxUnpacked = 256 << 20

// maxXZWindow and maxZstdWindow are what the decompressors here may look back, in bytes. A
// kernel's xz takes more, if it has the memory.
const maxXZWindow, maxZstdWindow = 128 << 20, 128 << 20

type unpacker struct {
	function, log string
	unpack        func(k *Kernel, file io.ReaderAt, size int64) ([]byte, error)
}

func unpackers() map[string]unpacker {
	const failed = "decompression failed with status"
	return map[string]unpacker{
		"gzip": {"module_gzip_decompress", failed, unpackGzip},
		"xz":   {"module_xz_decompress", failed, unpackXZ},
		"zstd": {"module_zstd_decompress", "ZSTD-decompression failed with status", unpackZstd},
	}
}

// errUndecided wraps what the decompressors here refuse, and the kernel's may not.
var errUndecided = errors.New("not decided")

// unpack decompresses as the kernel does. The error is a *Refusal, or why there is no answer.
func (k *Kernel) unpack(format string, file io.ReaderAt, size int64) ([]byte, error) {
	how := unpackers()[format]
	content, err := how.unpack(k, file, size)
	var limit *bounded.TooLargeError
	switch {
	case err == nil || RefusalOf(err) != nil || errors.Is(err, errUndecided):
		return content, err
	case errors.As(err, &limit):
		return nil, fmt.Errorf("%w: decompressed, the module is %w", errUndecided, err)
	}
	damaged := logged(syscall.EINVAL, how.function, how.log, "the compressed file is damaged: %v", err)
	return nil, advised(damaged, "", "get the file anew, or build it again: what is damaged can't be decompressed by anything else either")
}

// unpackGzip is module_gzip_decompress: the header is ten bytes and a name, whatever else its
// flags announce, and what follows the deflated data is not looked at.
func unpackGzip(_ *Kernel, file io.ReaderAt, size int64) ([]byte, error) {
	const fixed, named = 10, 0x08
	refusal := logged(syscall.EINVAL, "module_gzip_decompress", "not a gzip compressed module", "no gzip header that the kernel takes")
	var head [fixed]byte
	if n, err := file.ReadAt(head[:], 0); n < fixed {
		if err == io.EOF {
			err = refusal
		}
		return nil, err
	}
	if head[2] != 8 {
		return nil, refusal
	}
	whole, err := bounded.Read(io.NewSectionReader(file, fixed, size-fixed), maxUnpacked)
	if err != nil {
		return nil, err
	}
	if head[3]&named != 0 {
		_, rest, ok := bytes.Cut(whole, []byte{0})
		if !ok {
			return nil, refusal
		}
		whole = rest
	}
	return bounded.Read(flate.NewReader(bytes.NewReader(whole)), maxUnpacked)
}

// unpackXZ is module_xz_decompress, which ends with the first stream.
func unpackXZ(k *Kernel, file io.ReaderAt, size int64) ([]byte, error) {
	whole, err := bounded.Read(io.NewSectionReader(file, 0, size), maxUnpacked)
	if err != nil {
		return nil, err
	}
	const tries = 4 // what ends like a stream and is none is rare
	for end, n := 2*xzHeaderSize, 0; end <= len(whole) && n < tries; end += 4 {
		if string(whole[end-2:end]) != "YZ" {
			continue
		}
		stream := bytes.NewReader(whole[:end])
		blocks, err := xzBlocks(stream, int64(end))
		if err != nil {
			continue
		}
		n++
		if content, err := k.unpackStream(whole[:end]); err == nil || errors.Is(err, errUndecided) {
			// Of what was decompressed here, the kernel may lack a filter.
			for _, at := range blocks {
				if err := k.checkXZBlock(stream, at); err != nil {
					return nil, err
				}
			}
			return content, err
		}
	}
	if content, err := k.unpackStream(whole); err != nil {
		return content, err
	}
	return nil, fmt.Errorf("%w: the end of the first xz stream is not found", errUndecided)
}

// unpackStream decompresses one stream.
func (k *Kernel) unpackStream(stream []byte) ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(stream), maxXZWindow)
	var content []byte
	if err == nil {
		r.Multistream(false)
		content, err = bounded.Read(r, maxUnpacked)
	}
	if !errors.Is(err, xz.ErrMemlimit) && !errors.Is(err, xz.ErrOptions) {
		return content, err
	}
	if refusal := k.checkXZBlock(bytes.NewReader(stream), xzHeaderSize); RefusalOf(refusal) != nil {
		return nil, refusal
	}
	return nil, fmt.Errorf("%w: %v, as far as sign-file can read it", errUndecided, err)
}

// unpackZstd is module_zstd_decompress, which ends with the first frame, or where the data
// does: what a cut file has up to there is the module.
func unpackZstd(_ *Kernel, file io.ReaderAt, size int64) ([]byte, error) {
	frame, ok := zstdFrame(file, size)
	if !ok {
		return nil, fmt.Errorf("%w: a zstd frame of more than %d blocks", errUndecided, maxBlocks)
	}
	data, err := bounded.Read(io.NewSectionReader(file, 0, min(frame.end, size)), maxUnpacked)
	if err != nil {
		return nil, err
	}
	cut := frame.end > size
	switch {
	case frame.whole > size:
		return nil, errors.New("it is cut in its header")
	case cut && frame.last == 0:
		return nil, nil
	case cut: // the last whole block becomes the frame's last, and nothing has a checksum
		const descriptor, checksum, lastBlock = 4, 0x04, 1
		data = data[:frame.whole]
		data[descriptor] &^= checksum
		data[frame.last] |= lastBlock
	}
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var content bytes.Buffer
	n, err := io.Copy(&content, io.LimitReader(r, maxUnpacked+1))
	switch {
	case n > maxUnpacked:
		return nil, &bounded.TooLargeError{Limit: maxUnpacked}
	case cut && errors.Is(err, zstd.ErrFrameSizeMismatch):
		return content.Bytes(), nil
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeTooSmall):
		return nil, fmt.Errorf("%w: %v, as far as sign-file can read it", errUndecided, err)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return nil, errors.New("it was compressed with a dictionary")
	}
	return content.Bytes(), err
}
