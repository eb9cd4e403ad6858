package modsig

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// DamagedError says that a file was signed, and that its trailer is not its end any more.
// To the kernel such a file is unsigned, like any other that does not end with the marker.
type DamagedError struct {
	// End is where the marker ends or should end, in bytes from the start of the file.
	End int64
	// Size is that of the file. If it is more than End, something follows the marker;
	// if it is less, the marker is cut.
	Size int64
	// Zeros: all that follows is zero, as padding is.
	Zeros bool
}

func (e *DamagedError) Error() string {
	if e.Size < e.End {
		return "its signature is damaged: of its last " + bytesOf(int64(len(Marker))) + fmt.Sprintf(" %d are missing", e.End-e.Size)
	}
	what, verb := bytesOf(e.Size-e.End), "follow"
	if e.Zeros {
		what = strings.Replace(what, " ", " zero ", 1)
	}
	if e.Size-e.End == 1 {
		verb = "follows"
	}
	return fmt.Sprintf("its signature is hidden: %s %s the marker, which must be the end of the file", what, verb)
}

func bytesOf(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

const (
	// maxBehind is how far from the end of the file a marker is looked for, in bytes, where
	// only zeros follow it.
	maxBehind = 64 << 10
	// maxForeign is how much else may follow it: with more the file is rather one that holds
	// another, as an archive does.
	maxForeign = 512
	// minMarker is how much of a marker has to be left to be known as one.
	minMarker = 6
)

// Damaged looks for the trailer of a file that Find says is unsigned. It returns a
// *DamagedError, nil if the file never was signed, as far as can be seen, or an error of
// reading.
func Damaged(r io.ReaderAt, size int64) error {
	tail, err := readTail(r, size, maxForeign+int64(len(Marker))+InfoSize)
	if err == nil && onlyZeros(tail[max(0, len(tail)-maxForeign):]) {
		tail, err = readTail(r, size, maxBehind)
	}
	if err != nil {
		return fmt.Errorf("reading the end of the file: %w", err)
	}
	for left := len(Marker) - 1; left >= minMarker; left-- {
		if before, ok := bytes.CutSuffix(tail, []byte(Marker[:left])); ok && isTrailer(before) {
			return &DamagedError{End: size + int64(len(Marker)-left), Size: size}
		}
	}
	for end := len(tail); ; {
		at := bytes.LastIndex(tail[:end], []byte(Marker))
		if at < 0 {
			break
		}
		behind := tail[at+len(Marker):]
		zeros := onlyZeros(behind)
		if isTrailer(tail[:at]) && len(behind) > 0 && (zeros || len(behind) <= maxForeign) {
			return &DamagedError{End: size - int64(len(behind)), Size: size, Zeros: zeros}
		}
		end = at
	}
	return nil
}

// readTail reads the last bytes of a file.
func readTail(r io.ReaderAt, size, length int64) ([]byte, error) {
	tail := make([]byte, min(size, length))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return nil, err
	}
	return tail, nil
}

func onlyZeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// isTrailer reports whether bytes end with a struct module_signature as sign-file
// writes it.
func isTrailer(b []byte) bool {
	if len(b) < InfoSize {
		return false
	}
	info := parseInfo([InfoSize]byte(b[len(b)-InfoSize:]))
	return info == Info{IDType: typePKCS7, SignatureSize: info.SignatureSize} && info.SignatureSize > 0
}
