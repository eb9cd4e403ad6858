package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"sign-file/internal/bounded"
)

const (
	// maxList bounds a list of paths or of signatures, in bytes.
	maxList = 256 << 20
	// maxLine bounds a line of either, in bytes: a path, and ML-DSA-87 in base64.
	maxLine = 64 << 10
	// maxLines bounds how many there are, as short ones cost more memory than they have bytes.
	maxLines = 1_000_000
)

// eachLine hands on each line of a file, or of standard input for "-", with the byte that ends
// it. Of the file, which may be no list at all, only that much is in memory. first looks
// at how the file begins. An error names the file, and the line.
func (p *program) eachLine(from string, end byte, first func(head []byte) error, do func(line []byte) error) error {
	in, closeList, err := p.openList(from)
	if err != nil {
		return err
	}
	defer closeList()
	if from == "-" {
		from = "standard input"
	}
	limited := &io.LimitedReader{R: in, N: maxList + 1}
	lines := bufio.NewReaderSize(limited, max(maxLine, maxLook))
	if head, _ := lines.Peek(maxLook); first != nil {
		if err := first(head); err != nil {
			return about(from, err)
		}
	}
	for n := 1; ; n++ {
		line, err := lines.ReadSlice(end)
		switch {
		case limited.N == 0:
			return about(from, &bounded.TooLargeError{Limit: maxList})
		case errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine:
			return about(from, fmt.Errorf("line %d: has more than %d bytes", n, maxLine))
		case err != nil && err != io.EOF:
			return about(from, err)
		}
		if n > maxLines && len(line) > 0 {
			return about(from, fmt.Errorf("has more than %d lines", maxLines))
		}
		if len(line) > 0 {
			if err := do(line); err != nil {
				return about(from, fmt.Errorf("line %d: %w", n, err))
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// openList opens what eachLine reads.
func (p *program) openList(from string) (in io.Reader, closeList func() error, err error) {
	if from == "-" {
		in, err := p.input()
		return in, func() error { return nil }, about("standard input", err)
	}
	file, err := p.openInput(from)
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}
