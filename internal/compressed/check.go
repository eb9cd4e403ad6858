package compressed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Check decompresses what was written and compares it with what was to be compressed.
func (f Format) Check(ctx context.Context, written, plain io.Reader) error {
	same := &comparer{want: plain}
	err := f.Decompress(same, reader{ctx, written})
	if err == nil {
		if n, _ := plain.Read(make([]byte, 1)); n > 0 {
			err = errOther
		}
	}
	if err != nil {
		return fmt.Errorf("%s wrote what does not decompress to the module, which is left as it was: %w", f.tool[0], err)
	}
	return nil
}

var errOther = errors.New("other content")

// comparer is a writer that fails at the first byte that is not what it wants.
type comparer struct {
	want io.Reader
	buf  []byte
}

func (c *comparer) Write(b []byte) (int, error) {
	if len(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	if _, err := io.ReadFull(c.want, c.buf[:len(b)]); err != nil || !bytes.Equal(c.buf[:len(b)], b) {
		return 0, errOther
	}
	return len(b), nil
}
