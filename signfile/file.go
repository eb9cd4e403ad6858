package signfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"sign-file/internal/atomicfile"
	modsig "sign-file/module_signature"
)

// Output says where a signed module goes.
type Output struct {
	// Dest is the file to write; empty, or the name that the module was opened
	// by, means in place.
	Dest string
	// Message, if not empty, is a file for the PKCS#7 message too (sign-file -p).
	Message string
	// Replace drops the signatures that the module has.
	Replace bool
}

// SignFile signs an open module. Each file is replaced whole, at the end; on an
// error all are as they were.
func (s *Signer) SignFile(ctx context.Context, module *os.File, out Output) error {
	pending, err := s.PrepareFile(ctx, module, out)
	if err != nil {
		return err
	}
	if len(pending.files) > 1 {
		// Dying between two renames would leave one file new, one old, and a
		// temporary name: whoever can cancel ctx is asked now, and then waits.
		if err := ctx.Err(); err != nil {
			pending.Discard()
			return err
		}
	}
	return pending.Commit()
}

// Pending is a signed file that is written but not in its place yet. It ends with
// Commit or Discard.
type Pending struct {
	files []*atomicfile.File
}

// Commit puts the files in their places, all of them or none.
func (p *Pending) Commit() error { return atomicfile.CommitAll(p.files...) }

// Discard drops the files.
func (p *Pending) Discard() {
	for _, f := range p.files {
		f.Discard()
	}
}

// PrepareFile is SignFile but for the Commit.
func (s *Signer) PrepareFile(ctx context.Context, module *os.File, out Output) (*Pending, error) {
	job, err := newJob(module, out.Dest)
	if err != nil {
		return nil, err
	}
	if out.Replace {
		if job.limit, err = contentSize(module, job.size); err != nil {
			return nil, named(module, err)
		}
	}
	pending := &Pending{}
	if err := s.run(ctx, job, pending, out.Message); err != nil {
		job.discard()
		pending.Discard()
		return nil, err
	}
	pending.files = append(pending.files, job.out)
	return pending, nil
}

func (s *Signer) run(ctx context.Context, job *job, pending *Pending, message string) error {
	h := s.newHash()
	if err := job.read(ctx, h); err != nil {
		return err
	}
	sum := h.Sum(nil)
	der, err := s.Message(sum)
	if err != nil {
		return err
	}
	if message != "" {
		p7s, err := prepareMessage(job.module, message, der)
		if err != nil {
			return err
		}
		pending.files = append(pending.files, p7s)
	}
	again := s.newHash()
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
	return writeMessage(module, path, der)
}

func writeMessage(module *os.File, path string, message []byte) error {
	file, err := prepareMessage(module, path, message)
	if err != nil {
		return err
	}
	return file.Commit()
}

// prepareMessage writes what stands beside a module to path. A link there that leads
// to the module itself would end with the module lost.
func prepareMessage(module *os.File, path string, message []byte) (*atomicfile.File, error) {
	info, err := module.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err == nil && os.SameFile(info, there) {
		return nil, fmt.Errorf("%s: is the module itself, under another name", path)
	}
	return atomicfile.Prepare(path, message)
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
	return writeMessage(module, path, block)
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

var (
	errIsDir  = errors.New("is a directory")
	errDirect = errors.New("a compressed module goes to a regular file only")
)

// contentSize is the size of a module without any of its signatures.
func contentSize(module io.ReaderAt, size int64) (int64, error) {
	for {
		layout, err := modsig.Find(io.NewSectionReader(module, 0, size), size)
		if errors.Is(err, modsig.ErrUnsigned) {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
		size = layout.ContentSize
	}
}

// job is one module on its way to one file.
type job struct {
	module *os.File
	size   int64 // of the file, in bytes; 0 for those of /proc
	limit  int64 // how much of it is signed: all, or what Replace leaves
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
	j := &job{module: module, size: info.Size(), limit: math.MaxInt64}
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
	n, err := pour(ctx, io.NewSectionReader(j.module, 0, j.limit), bufferFor(j.size), to...)
	if err == nil && n < j.limit && j.limit != math.MaxInt64 {
		err = named(j.module, io.ErrUnexpectedEOF) // it shrank since
	}
	return err
}

func (j *job) discard() {
	if j.out != nil {
		j.out.Discard()
	}
}

// named puts the file's name before an error that lacks it.
func named(file *os.File, err error) error {
	if _, ok := err.(*os.PathError); ok {
		return err
	}
	return fmt.Errorf("%s: %w", file.Name(), err)
}
