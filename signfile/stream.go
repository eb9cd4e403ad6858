package signfile

import (
	"context"
	"io"

	modsig "sign-file/module_signature"
)

// bufferSize is the unit of reading and writing where nobody knows how much there
// is.
const bufferSize = 64 << 10

// bufferFor is that unit for a file. A large one gains 5 % with 256 KB; a small one
// loses as much, since the kernel has to clear the memory first. It is a byte more
// than a file that fits in, so that the end is seen in the same read.
func bufferFor(size int64) int {
	return int(min(size+1, max(bufferSize, min(size/64, 4*bufferSize))))
}

// Sign copies a module from src to dst and appends its signature. When it fails
// dst has a part of the module, or all of it, and no signature.
func (s *Signer) Sign(ctx context.Context, dst io.Writer, src io.Reader) error {
	if err := s.check(); err != nil {
		return err
	}
	h := s.newHash()
	if _, err := pour(ctx, src, bufferSize, h, dst); err != nil {
		return err
	}
	message, err := s.Message(ctx, h.Sum(nil))
	if err != nil {
		return err
	}
	return appendMessage(dst, message)
}

// Detach reads a module and returns only its signature.
func (s *Signer) Detach(ctx context.Context, src io.Reader) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	h := s.newHash()
	if _, err := pour(ctx, src, bufferSize, h); err != nil {
		return nil, err
	}
	return s.Message(ctx, h.Sum(nil))
}

// Digest reads a module and returns the sum that the key signs: a digest of the
// module, for ML-DSA mu.
func (s *Signer) Digest(ctx context.Context, src io.Reader) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	h := s.newHash()
	if _, err := pour(ctx, src, bufferSize, h); err != nil {
		return nil, err
	}
	_, sum := s.cover(h.Sum(nil))
	return sum, nil
}

// Block returns message followed by its trailer: all that a signed module has
// behind its content.
func Block(message []byte) ([]byte, error) {
	trailer, err := modsig.Trailer(int64(len(message)))
	if err != nil {
		return nil, err
	}
	return append(append([]byte(nil), message...), trailer...), nil
}

func appendMessage(dst io.Writer, message []byte) error {
	block, err := Block(message)
	if err != nil {
		return err
	}
	n, err := dst.Write(block)
	if err == nil && n < len(block) {
		err = io.ErrShortWrite
	}
	return err
}

// pour reads all of src into every writer and returns how much there was. Unlike
// io.Copy it lets no writer choose its own way (and buffer), and it can be
// cancelled.
func pour(ctx context.Context, src io.Reader, size int, to ...io.Writer) (int64, error) {
	buf := make([]byte, size)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := src.Read(buf)
		for _, w := range to {
			if n == 0 {
				break // a file would be asked all the same
			}
			switch m, err := w.Write(buf[:n]); {
			case err != nil:
				return total, err
			case m < n:
				return total, io.ErrShortWrite
			}
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
