package signfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"sign-file/internal/atomicfile"
	"sign-file/internal/paths"
)

// Output says where a signed module goes.
type Output struct {
	// Dest is the file to write, through links too; empty, or the path that the
	// module was opened by, means in place.
	Dest string
	// Message writes the PKCS#7 message to <module>.p7s too (sign-file -p).
	Message bool
	// Existing says what becomes of a module that is signed already.
	Existing Existing
}

// pending is what is written but not in its place yet. It ends with Commit or Discard.
type pending struct {
	files  []*atomicfile.File
	module *Module // which is held open as long, if it is not the caller's
}

// Commit puts the files in their places, all of them or none. What was replaced or
// changed since it was opened is not replaced: then the error is ErrChanged.
func (p *pending) Commit() error {
	defer p.Discard()
	return atomicfile.CommitAll(p.files...)
}

// Discard drops the files. The error says that a temporary one stays behind.
func (p *pending) Discard() error {
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.Discard())
	}
	if p.module != nil {
		p.module.Close()
		p.module = nil
	}
	return errors.Join(errs...)
}

// ErrChanged says that a file was replaced or changed while it was being worked on. It
// is as somebody else left it.
var ErrChanged = atomicfile.ErrChanged

// behind returns what comes behind the content of a module, when the content's sum is
// known.
type behind func(sum []byte) (io.Reader, error)

// job is a module on its way to one file.
type job struct {
	module *Module
	target *atomicfile.Target
	limit  int64 // how much of the content goes there
	// newHash is what the content goes through; nil where nothing asks for its sum.
	newHash func() hash.Hash
	behind  behind
}

// prepare writes the new file: the content's first bytes, then what comes behind them,
// compressed as the module was. The target is used up.
func (j job) prepare(ctx context.Context) (*atomicfile.File, error) {
	switch {
	case j.module.Compressed() && j.target.Direct():
		j.target.Close()
		return nil, j.module.named(errDirect)
	case j.module.Compressed():
		return j.prepareCompressed(ctx)
	case j.target.Direct():
		return j.writeDirect(ctx)
	}
	return j.writeThrough(ctx)
}

// writeThrough reads the module once, through the hash and into the new file.
func (j job) writeThrough(ctx context.Context) (*atomicfile.File, error) {
	out, err := j.target.Create()
	if err != nil {
		return nil, err
	}
	if j.module.original.Sparse() {
		out.Sparse()
	}
	listen(ctx, out)
	sum, err := j.pour(ctx, out)
	if err == nil {
		err = j.append(ctx, sum, out)
	}
	if err != nil {
		return nil, failed(err, out)
	}
	return out, nil
}

// listen asks for the channel of ctx where a file has a name already. A context may begin
// to listen to signals only then, which costs a short run a twentieth of its time: where
// the file has no name yet, dying on the spot leaves nothing behind.
func listen(ctx context.Context, out *atomicfile.File) {
	if out.Named() {
		ctx.Done()
	}
}

// writeDirect writes to what can't be taken back. So the signature is ready before the
// first byte, and the content is read twice.
func (j job) writeDirect(ctx context.Context) (*atomicfile.File, error) {
	sum, err := j.pour(ctx)
	if err != nil {
		j.target.Close()
		return nil, err
	}
	behind, err := j.behind(sum)
	if err != nil {
		j.target.Close()
		return nil, err
	}
	out, err := j.target.Create()
	if err != nil {
		return nil, err
	}
	again, err := j.pour(ctx, out)
	if err == nil && !bytes.Equal(again, sum) {
		err = j.module.named(ErrChanged)
	}
	if err == nil {
		_, err = pour(ctx, behind, bufferSize, out)
	}
	if err != nil {
		return nil, failed(err, out)
	}
	return out, nil
}

// prepareCompressed changes the module's scratch file, which nobody else sees, and
// compresses it into its place. A compressor may end with success and have written
// anything: the module is there only once, so what it wrote is read back.
func (j job) prepareCompressed(ctx context.Context) (*atomicfile.File, error) {
	m := j.module
	if err := j.changeScratch(ctx); err != nil {
		j.target.Close()
		return nil, err
	}
	out, err := j.target.Create()
	if err != nil {
		return nil, err
	}
	listen(ctx, out)
	err = m.format.Compress(ctx, out, m.content)
	if err == nil {
		err = m.checkCompressed(ctx, out)
	}
	if err != nil {
		return nil, failed(m.named(err), out)
	}
	return out, nil
}

func (j job) changeScratch(ctx context.Context) error {
	m := j.module
	sum, err := j.pour(ctx)
	if err != nil {
		return err
	}
	behind, err := j.behind(sum)
	if err != nil {
		return err
	}
	if err := m.content.Truncate(j.limit); err != nil {
		return m.named(err)
	}
	if _, err := m.content.Seek(j.limit, io.SeekStart); err != nil {
		return m.named(err)
	}
	size, err := pour(ctx, behind, bufferSize, m.content)
	m.size = j.limit + size
	return err
}

// checkCompressed holds what the compressor wrote against what it was given.
func (m *Module) checkCompressed(ctx context.Context, out *atomicfile.File) error {
	written := io.NewSectionReader(out, 0, 1<<62)
	return m.format.Check(ctx, written, io.NewSectionReader(m, 0, m.size))
}

// pour reads the content through the hash and into every writer, and returns its sum.
func (j job) pour(ctx context.Context, to ...io.Writer) ([]byte, error) {
	if j.newHash == nil {
		return nil, j.module.pour(ctx, j.limit, to...)
	}
	h := j.newHash()
	if err := j.module.pour(ctx, j.limit, append([]io.Writer{h}, to...)...); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

func (j job) append(ctx context.Context, sum []byte, out io.Writer) error {
	behind, err := j.behind(sum)
	if err != nil {
		return err
	}
	_, err = pour(ctx, behind, bufferSize, out)
	return err
}

var (
	errDirect  = errors.New("a compressed module goes to a regular file only")
	errOnePass = errors.New("not a regular file (only a detached signature is made of what can be read once)")
)

// target is where the module goes: in place, or the file that dest leads to.
func (m *Module) target(dest string) (*atomicfile.Target, error) {
	if !m.Regular() {
		// sign-file reads a module twice, and so fails here as well.
		return nil, m.named(errOnePass)
	}
	if dest == "" || dest == m.Path() {
		return m.inPlace()
	}
	target, err := atomicfile.Follow(dest)
	if err != nil {
		return nil, err
	}
	if target.Direct() && target.Is(m.original) {
		target.Close()
		return m.inPlace() // /dev/stdout may be the module
	}
	m.hide(target)
	return target, nil
}

func (m *Module) inPlace() (*atomicfile.Target, error) {
	target, err := m.original.Target()
	if err == nil && m.private {
		target.Private()
	}
	return target, err
}

// Secret reports whether another user's link led to the module, who may not read it. Files
// that are made of it are their owner's alone.
func (m *Module) Secret() bool {
	return m.private || m.original != nil && m.original.Secret()
}

// KeepPrivate makes what is written of the module its owner's alone: a secret goes into it.
func (m *Module) KeepPrivate() { m.private = true }

// hide makes what goes there as hidden as the module.
func (m *Module) hide(target *atomicfile.Target) {
	if m.Secret() {
		target.Private()
	}
}

// messagePath is the path of the file that has only the PKCS#7 message.
func (m *Module) messagePath() string { return m.Path() + ".p7s" }

// messageTarget is that file, next to the module. Nobody gave this name: a link there
// is followed as sign-file does, but only one of the user's own.
func (m *Module) messageTarget() (*atomicfile.Target, error) {
	return m.notItself(m.messagePath(), func(path string) (*atomicfile.Target, error) {
		if m.Regular() {
			return m.place.Sibling(m.place.Name() + ".p7s").FollowOwn()
		}
		place, err := atomicfile.At(path)
		if err != nil {
			return nil, err
		}
		return place.FollowOwn()
	})
}

// notItself finds what goes beside the module. A link that leads to the module itself
// would end with the module lost.
func (m *Module) notItself(path string, find func(string) (*atomicfile.Target, error)) (*atomicfile.Target, error) {
	target, err := find(path)
	if err == nil && m.Regular() && target.Is(m.original) {
		target.Close()
		return nil, paths.About("create", path, errors.New("is the module itself, under another name"))
	}
	return target, err
}

// failed drops a file after an error, and tells where a temporary one stays behind.
func failed(err error, out *atomicfile.File) error {
	if left := out.Discard(); left != nil {
		return fmt.Errorf("%w (and %w)", err, left)
	}
	return err
}
