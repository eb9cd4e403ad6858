package signfile

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"sign-file/compressed"
	"sign-file/internal/atomicfile"
)

// decompress returns an open file without a name that holds the module,
// uncompressed: a module may be larger than memory should be.
func decompress(format compressed.Format, module *os.File) (*os.File, error) {
	plain, err := atomicfile.Scratch()
	if err != nil {
		return nil, err
	}
	if err := format.Decompress(plain, module); err != nil {
		plain.Close()
		return nil, named(module, err)
	}
	return plain, nil
}

// prepareCompressed signs the uncompressed module where it is, and compresses it
// into its place.
func (s *Signer) prepareCompressed(ctx context.Context, module, plain *os.File, format compressed.Format, out Output) (*Pending, error) {
	job, err := newJob(module, out.Dest)
	if err != nil {
		return nil, err
	}
	if job.direct() {
		return nil, named(module, errDirect)
	}
	if err := s.signScratch(ctx, plain, out.Replace); err != nil {
		return nil, named(module, err)
	}
	if job.out, err = job.target.Create(); err != nil {
		return nil, err
	}
	if err := format.Compress(ctx, job.out, plain); err != nil {
		job.discard()
		return nil, named(module, err)
	}
	return &Pending{files: []*atomicfile.File{job.out}, dir: job.target.Dir()}, nil
}

// signScratch appends the signature to the file itself, which nobody else sees.
func (s *Signer) signScratch(ctx context.Context, plain *os.File, replace bool) error {
	info, err := plain.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if replace {
		if size, err = contentSize(plain, size); err != nil {
			return err
		}
		if err := plain.Truncate(size); err != nil {
			return err
		}
	}
	message, err := s.Detach(ctx, io.NewSectionReader(plain, 0, size))
	if err != nil {
		return err
	}
	if _, err := plain.Seek(size, io.SeekStart); err != nil {
		return err
	}
	return appendMessage(plain, message)
}

// prepareDetached writes the message alone, to <dest>.p7s.
func (s *Signer) prepareDetached(ctx context.Context, plain *os.File, item Item, out Output) (*Pending, error) {
	info, err := plain.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if out.Replace {
		if size, err = contentSize(plain, size); err != nil {
			return nil, err
		}
	}
	message, err := s.Detach(ctx, io.NewSectionReader(plain, 0, size))
	if err != nil {
		return nil, err
	}
	dest := out.Dest
	if dest == "" {
		dest = item.Path
	}
	file, err := atomicfile.Prepare(dest+".p7s", message)
	if err != nil {
		return nil, err
	}
	return &Pending{files: []*atomicfile.File{file}, dir: filepath.Dir(dest)}, nil
}
