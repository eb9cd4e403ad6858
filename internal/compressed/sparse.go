package compressed

import (
	"bytes"
	"io"
	"os"
)

// holeSize is the length of zeros that is worth a hole: a page of most file systems.
const holeSize = 4096

var zeros [holeSize]byte

// sparse writes to the end of a file and leaves a hole for every page of zeros, so that
// a small file that grows to gigabytes of them fills no disk.
type sparse struct {
	*os.File
	end int64 // where the file shall end
}

// newSparse returns nil for what has no holes to leave: anything but a regular file, or
// a file with content behind its offset.
func newSparse(dst io.Writer) *sparse {
	f, ok := dst.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	offset, err := f.Seek(0, io.SeekCurrent)
	if err != nil || offset != info.Size() {
		return nil
	}
	return &sparse{f, offset}
}

func (s *sparse) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		n := s.untilHole(b)
		if n == 0 {
			n = holeSize
		} else if _, err := s.WriteAt(b[:n], s.end); err != nil {
			return written, err
		}
		s.end += int64(n)
		written += n
		b = b[n:]
	}
	return written, nil
}

// untilHole is how many bytes come before the first whole page of zeros.
func (s *sparse) untilHole(b []byte) int {
	at := int((holeSize - s.end%holeSize) % holeSize)
	for ; at+holeSize <= len(b); at += holeSize {
		if bytes.Equal(b[at:at+holeSize], zeros[:]) {
			return at
		}
	}
	return len(b)
}

// finish makes the file as long as what was written, and sets its offset to its end.
func (s *sparse) finish() error {
	if err := s.Truncate(s.end); err != nil {
		return err
	}
	_, err := s.Seek(s.end, io.SeekStart)
	return err
}
