package signfile

import (
	"context"
	"io"

	"sign-file/internal/atomicfile"
)

// prepareCompressed signs the uncompressed module where it is, and compresses it
// into its place.
func (s *Signer) prepareCompressed(ctx context.Context, m *Module, out Output) (*Pending, error) {
	if err := s.signScratch(ctx, m, out.Replace); err != nil {
		return nil, named(m.source, err)
	}
	return prepareScratch(ctx, m, out.Dest)
}

// prepareScratch compresses what a module's scratch file holds now.
func prepareScratch(ctx context.Context, m *Module, dest string) (*Pending, error) {
	job, err := newJob(m.source, dest)
	if err != nil {
		return nil, err
	}
	if job.direct() {
		return nil, named(m.source, errDirect)
	}
	if job.out, err = job.target.Create(); err != nil {
		return nil, err
	}
	if err := m.format.Compress(ctx, job.out, m.File); err != nil {
		job.discard()
		return nil, named(m.source, err)
	}
	return &Pending{[]*atomicfile.File{job.out}}, nil
}

// signScratch appends the signature to the scratch file, which nobody else sees.
func (s *Signer) signScratch(ctx context.Context, m *Module, replace bool) error {
	size, err := m.signedSize(replace)
	if err != nil {
		return err
	}
	if err := m.Truncate(size); err != nil {
		return err
	}
	message, err := s.Detach(ctx, io.NewSectionReader(m, 0, size))
	if err != nil {
		return err
	}
	if _, err := m.Seek(size, io.SeekStart); err != nil {
		return err
	}
	return appendMessage(m, message)
}

// signedSize is how much of the module a new signature covers.
func (m *Module) signedSize(replace bool) (int64, error) {
	if !replace {
		return m.Size, nil
	}
	return contentSize(m, m.Size)
}

// prepareDetached writes the message alone, to path.
func (s *Signer) prepareDetached(ctx context.Context, m *Module, path string, replace bool) (*Pending, error) {
	size, err := m.signedSize(replace)
	if err != nil {
		return nil, named(m.source, err)
	}
	message, err := s.Detach(ctx, io.NewSectionReader(m, 0, size))
	if err != nil {
		return nil, named(m.source, err)
	}
	file, err := prepareMessage(m.source, path, message)
	if err != nil {
		return nil, err
	}
	return &Pending{[]*atomicfile.File{file}}, nil
}
