package signfile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"

	"sign-file/internal/atomicfile"
	"sign-file/internal/bounded"
	modsig "sign-file/module_signature"
)

// SignFile signs the module that a path leads to. Each file is replaced whole, at the
// end; on an error all are as they were.
func (s *Signer) SignFile(ctx context.Context, path string, out Output) error {
	module, err := OpenModule(ctx, path)
	if err != nil {
		return err
	}
	defer module.Close()
	return s.SignModule(ctx, module, out)
}

// SignModule signs an open module, which is used up: see SignFile.
func (s *Signer) SignModule(ctx context.Context, m *Module, out Output) error {
	if out.Existing == RefuseSigned || out.Existing == SkipSigned {
		switch _, err := m.Find(); {
		case err == nil && out.Existing == SkipSigned:
			return nil
		case err == nil:
			return m.named(ErrSigned)
		case !errors.Is(err, modsig.ErrUnsigned):
			return err
		}
	}
	target, err := m.target(out.Dest)
	if err != nil {
		return err
	}
	pending, err := s.prepare(ctx, m, target, out)
	if err != nil {
		return err
	}
	if len(pending.files) > 1 {
		// Dying between two renames would leave one file new, one old, and a
		// temporary name: whoever can cancel ctx is asked now, and then waits.
		ctx.Done()
		if err := ctx.Err(); err != nil {
			pending.Discard()
			return err
		}
	}
	return pending.Commit()
}

// prepare signs a module into its target, which is used up.
func (s *Signer) prepare(ctx context.Context, m *Module, target *atomicfile.Target, out Output) (*pending, error) {
	limit, err := m.limitOf(out.Existing == ReplaceSigned)
	if err = cmp.Or(s.check(), err); err != nil {
		target.Close()
		return nil, err
	}
	made := &pending{}
	var message *atomicfile.Target
	if out.Message {
		if message, err = m.messageBeside(target); err != nil {
			target.Close()
			return nil, err
		}
	}
	sign := func(sum []byte) (io.Reader, error) {
		der, err := s.Message(ctx, sum)
		if err != nil {
			return nil, m.named(err)
		}
		if message != nil {
			file, err := message.CreateWith(der)
			message = nil // used up
			if err != nil {
				return nil, err
			}
			made.files = append(made.files, file)
		}
		block, err := Block(der)
		return bytes.NewReader(block), err
	}
	file, err := job{module: m, target: target, limit: limit, newHash: s.newHash, behind: sign}.prepare(ctx)
	if err != nil {
		if message != nil {
			message.Close()
		}
		made.Discard()
		return nil, err
	}
	made.files = append(made.files, file)
	return made, nil
}

// limitOf is how much of the module a new signature covers.
func (m *Module) limitOf(replace bool) (int64, error) {
	if replace {
		return m.contentSize()
	}
	return m.all(), nil
}

// messageBeside is where <module>.p7s goes; nil if the signed module goes there, which
// sign-file writes last.
func (m *Module) messageBeside(signed *atomicfile.Target) (*atomicfile.Target, error) {
	target, err := m.messageTarget()
	if err == nil && target.SamePlace(signed) {
		target.Close()
		return nil, nil
	}
	return target, err
}

// DetachModule signs an open module and writes the PKCS#7 message to <module>.p7s.
func (s *Signer) DetachModule(ctx context.Context, m *Module) error {
	target, err := m.messageTarget()
	if err != nil {
		return err
	}
	file, err := s.prepareMessage(ctx, m, target, false)
	if err != nil {
		return err
	}
	return file.Commit()
}

// prepareMessage signs a module and writes the message to a target, which is used up. The
// target is looked at before the key signs, so that what becomes of it meanwhile is noticed.
func (s *Signer) prepareMessage(ctx context.Context, m *Module, target *atomicfile.Target, replace bool) (*atomicfile.File, error) {
	message, err := s.messageOf(ctx, m, replace)
	if err != nil {
		target.Close()
		return nil, err
	}
	return target.CreateWith(message)
}

func (s *Signer) messageOf(ctx context.Context, m *Module, replace bool) ([]byte, error) {
	limit, err := m.limitOf(replace)
	if err = cmp.Or(s.check(), err); err != nil {
		return nil, err
	}
	sum, err := job{module: m, limit: limit, newHash: s.newHash}.pour(ctx)
	if err != nil {
		return nil, m.named(err)
	}
	message, err := s.Message(ctx, sum)
	if err != nil {
		return nil, m.named(err)
	}
	return message, nil
}

// DetachBlock signs an open module and writes the message with its trailer to dest:
// what kmodsign -D does.
func (s *Signer) DetachBlock(ctx context.Context, m *Module, dest string) error {
	message, err := s.messageOf(ctx, m, false)
	if err != nil {
		return err
	}
	block, err := Block(message)
	if err != nil {
		return err
	}
	target, err := m.notItself(dest, atomicfile.Follow)
	if err != nil {
		return err
	}
	file, err := target.CreateWith(block)
	if err != nil {
		return err
	}
	return file.Commit()
}

// AttachModule appends a finished PKCS#7 message and its trailer to a copy of the
// module at dest, or in place. As in sign-file -s, the message may be any bytes.
func AttachModule(ctx context.Context, m *Module, dest string, message io.Reader) error {
	target, err := m.target(dest)
	if err != nil {
		return err
	}
	attach := func([]byte) (io.Reader, error) {
		return &withTrailer{message: message}, nil
	}
	return job{module: m, target: target, limit: m.all(), behind: attach}.commit(ctx)
}

func (j job) commit(ctx context.Context) error {
	file, err := j.prepare(ctx)
	if err != nil {
		return err
	}
	return file.Commit()
}

// maxMessage bounds what AttachModule appends, in bytes: a hundred times what a kernel reads.
const maxMessage = 8 << 20

// withTrailer reads a message and then the trailer that tells its length.
type withTrailer struct {
	message io.Reader
	size    int64
	trailer io.Reader // once the message has ended
}

func (w *withTrailer) Read(b []byte) (int, error) {
	if w.trailer != nil {
		return w.trailer.Read(b)
	}
	n, err := w.message.Read(b)
	w.size += int64(n)
	if w.size > maxMessage {
		err = errors.New("the message is " + (&bounded.TooLargeError{Limit: maxMessage}).Error())
	}
	if err != io.EOF {
		return n, err
	}
	trailer, err := modsig.Trailer(w.size)
	w.trailer = bytes.NewReader(trailer)
	return n, err
}

// StripModule takes the outermost signature off an open module, in place. The error is
// modsig.ErrUnsigned where there is none, and another where the trailer can't be
// trusted to tell where the content ends.
func StripModule(ctx context.Context, m *Module) error {
	layout, err := m.Find()
	if err != nil {
		return err
	}
	target, err := m.target("")
	if err != nil {
		return err
	}
	nothing := func([]byte) (io.Reader, error) { return bytes.NewReader(nil), nil }
	return job{module: m, target: target, limit: layout.ContentSize, behind: nothing}.commit(ctx)
}
