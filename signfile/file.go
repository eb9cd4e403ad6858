package signfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sign-file/internal/atomicfile"
	modsig "sign-file/module_signature"
)

// SignFile signs an open module into dest, or in place if dest is empty or the
// name that the module was opened by. If message is not empty, the PKCS#7
// message goes to that file too (sign-file -p). Each file is replaced whole, at
// the end; on an error all are as they were.
func (s *Signer) SignFile(ctx context.Context, module *os.File, dest, message string) error {
	pending, err := s.PrepareFile(ctx, module, dest, message)
	if err != nil {
		return err
	}
	return pending.Commit()
}

// Pending is a signed file that is written but not in its place yet. It ends with
// Commit or Discard.
type Pending struct{ files []*atomicfile.File }

// Commit puts the files in their places, all of them or none.
func (p *Pending) Commit() error { return atomicfile.CommitAll(p.files...) }

// Discard drops the files.
func (p *Pending) Discard() {
	for _, f := range p.files {
		f.Discard()
	}
}

// PrepareFile is SignFile but for the Commit.
func (s *Signer) PrepareFile(ctx context.Context, module *os.File, dest, message string) (*Pending, error) {
	job, err := newJob(module, dest)
	if err != nil {
		return nil, err
	}
	pending := &Pending{}
	if err := s.run(ctx, job, pending, message); err != nil {
		job.discard()
		pending.Discard()
		return nil, err
	}
	pending.files = append(pending.files, job.out)
	return pending, nil
}

func (s *Signer) run(ctx context.Context, job *job, pending *Pending, message string) error {
	h := s.options.Digest.New()
	if err := job.read(ctx, h); err != nil {
		return err
	}
	sum := h.Sum(nil)
	der, err := s.Message(sum)
	if err != nil {
		return err
	}
	if message != "" {
		p7s, err := atomicfile.Prepare(message, der)
		if err != nil {
			return err
		}
		pending.files = append(pending.files, p7s)
	}
	again := s.options.Digest.New()
	if err := job.writeDirect(ctx, again); err != nil {
		return err
	}
	if job.direct() && !bytes.Equal(again.Sum(nil), sum) {
		return fmt.Errorf("%s: changed while it was being signed", job.module.Name())
	}
	return appendMessage(job.out, der)
}

// DetachFile signs an open module and writes the PKCS#7 message alone to path.
func (s *Signer) DetachFile(ctx context.Context, module *os.File, path string) error {
	der, err := s.Detach(ctx, module)
	if err != nil {
		return named(module, err)
	}
	return atomicfile.WriteFile(path, der)
}

// DetachBlockFile is DetachFile with the trailer behind the message: what
// kmodsign -D writes.
func (s *Signer) DetachBlockFile(ctx context.Context, module *os.File, path string) error {
	der, err := s.Detach(ctx, module)
	if err != nil {
		return named(module, err)
	}
	block, err := Append(der)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, block)
}

// AttachFile appends a finished PKCS#7 message and its trailer to a copy of the
// module at dest, or in place. As in sign-file -s, the message may be any bytes.
func AttachFile(ctx context.Context, module *os.File, dest string, message *os.File) error {
	if info, err := message.Stat(); err != nil {
		return err
	} else if info.IsDir() {
		return named(message, errIsDir)
	}
	job, err := newJob(module, dest)
	if err != nil {
		return err
	}
	defer job.discard()
	if err := job.read(ctx, io.Discard); err != nil {
		return err
	}
	if err := job.writeDirect(ctx, io.Discard); err != nil {
		return err
	}
	size, err := pour(ctx, message, bufferSize, job.out)
	if err != nil {
		return err
	}
	trailer, err := modsig.Trailer(size)
	if err != nil {
		return named(message, err)
	}
	if _, err := job.out.Write(trailer); err != nil {
		return err
	}
	return job.out.Commit()
}

var errIsDir = errors.New("is a directory")

// job is one module on its way to one file.
type job struct {
	module *os.File
	size   int64
	target *atomicfile.Target
	out    *atomicfile.File
}

func newJob(module *os.File, dest string) (*job, error) {
	info, err := module.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, named(module, errIsDir)
	}
	if !info.Mode().IsRegular() {
		// sign-file reads a module twice, and so fails here as well.
		return nil, named(module, errors.New("not a regular file (only -d reads a module from a pipe)"))
	}
	j := &job{module: module, size: info.Size()}
	if dest == "" || dest == module.Name() {
		j.target, err = atomicfile.Entry(module.Name())
		return j, err
	}
	if j.target, err = atomicfile.Follow(dest); err != nil {
		return nil, err
	}
	if j.direct() && j.target.Is(info) {
		j.target, err = atomicfile.Entry(module.Name()) // /dev/stdout may be the module
	}
	return j, err
}

// direct tells that the output can't be taken back once written, so that the
// signature has to be ready before the first byte.
func (j *job) direct() bool { return j.target.Direct() }

// read reads the module through h, and on its way into the new file where one
// can be thrown away again: one pass over the module instead of two.
func (j *job) read(ctx context.Context, h io.Writer) error {
	to := []io.Writer{h}
	if !j.direct() {
		var err error
		if j.out, err = j.target.Create(); err != nil {
			return err
		}
		to = append(to, j.out)
	}
	return j.pour(ctx, to...)
}

// writeDirect is the second pass, for outputs that read left alone.
func (j *job) writeDirect(ctx context.Context, h io.Writer) error {
	if !j.direct() {
		return nil
	}
	if _, err := j.module.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var err error
	if j.out, err = j.target.Create(); err != nil {
		return err
	}
	return j.pour(ctx, h, j.out)
}

func (j *job) pour(ctx context.Context, to ...io.Writer) error {
	if j.out == nil || !j.out.Named() {
		ctx = context.WithoutCancel(ctx) // dying on the spot leaves nothing behind
	}
	// One byte more than the module, so that the end is seen in the same read.
	size := int(min(j.size+1, bufferSize))
	_, err := pour(ctx, j.module, size, to...)
	return err
}

func (j *job) discard() {
	if j.out != nil {
		j.out.Discard()
	}
}

// named puts the file's name before an error that lacks it.
func named(file *os.File, err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return err
	}
	return fmt.Errorf("%s: %w", file.Name(), err)
}
