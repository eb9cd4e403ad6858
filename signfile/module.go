package signfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"sign-file/internal/atomicfile"
	"sign-file/internal/compressed"
	"sign-file/internal/paths"
	modsig "sign-file/module_signature"
)

// Module is a module on its way through a verb, from the open to the commit: its
// descriptor, the folder and the name it was found by, what it looked like then, and
// its content, decompressed if its name says that it is compressed.
type Module struct {
	place    *atomicfile.Place
	original *atomicfile.Original // nil for a pipe
	content  *os.File             // the file itself, or a scratch file
	size     int64                // of the content, in bytes
	format   compressed.Format
	packed   bool // format is what the file is compressed in
	private  bool // see KeepPrivate
}

// OpenModule opens a module: a regular file, which the path may lead to through links.
func OpenModule(ctx context.Context, path string) (*Module, error) {
	return Item{Path: path}.Open(ctx)
}

// ReadModule reads a module to a file without a name: it can be looked at, and not be
// replaced. More than MaxSize bytes are an error.
func ReadModule(ctx context.Context, r io.Reader) (*Module, error) {
	scratch, err := atomicfile.Scratch()
	if err != nil {
		return nil, fmt.Errorf("nowhere to keep it (TMPDIR is to name a directory that can be written): %w", err)
	}
	size, err := pour(ctx, io.LimitReader(r, compressed.MaxSize+1), bufferSize, scratch)
	if err == nil && size > compressed.MaxSize {
		err = &compressed.LimitError{What: "a module", Limit: compressed.MaxSize}
	}
	if err != nil {
		scratch.Close()
		return nil, err
	}
	return &Module{content: scratch, size: size}, nil
}

// errDirectory refuses a directory where one file is wanted.
var errDirectory = errors.New("is a directory (sign-file sign takes directories)")

// OpenRaw opens a file of which nothing is known: what it is called says nothing about
// compression. One that is not regular can only be read once, and detached from.
func OpenRaw(path string) (*Module, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, paths.About("open", path, errDirectory)
		}
		in, err := atomicfile.OpenInput(path)
		if err != nil {
			return nil, err
		}
		return &Module{content: in.File, private: in.Secret}, nil
	}
	place, err := atomicfile.At(path)
	if err != nil {
		return nil, err
	}
	m, err := openAt(place, true)
	if err != nil {
		place.Close()
	}
	return m, err
}

// Open opens what a Tree found, or a path named. Decompressing it ends with ctx.
func (i Item) Open(ctx context.Context) (*Module, error) {
	place, err := i.place()
	if err != nil {
		return nil, err
	}
	m, err := openAt(place, i.follow())
	if err != nil {
		place.Close()
		return nil, err
	}
	if i.raw {
		return m, nil
	}
	if m.format, m.packed = compressed.Of(place.Name()); m.packed {
		if err := m.decompress(ctx); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

func openAt(place *atomicfile.Place, follow bool) (*Module, error) {
	original, err := place.Open(follow)
	if err != nil {
		return nil, err
	}
	return &Module{place: place, original: original, content: original.File(), size: original.Size()}, nil
}

// PackedError is about a compressed module that can't be decompressed. Some kernels
// decompress modules by themselves, and answer for that.
type PackedError struct{ Err error }

func (e *PackedError) Error() string { return e.Err.Error() }

// Unwrap gives the decompressor's error.
func (e *PackedError) Unwrap() error { return e.Err }

// decompress makes the content a file without a name that holds the module,
// uncompressed: a module may be larger than memory should be.
func (m *Module) decompress(ctx context.Context) error {
	plain, err := atomicfile.Scratch()
	if err != nil {
		return m.named(fmt.Errorf("nowhere to decompress it to (TMPDIR is to name a directory that can be written): %w", err))
	}
	m.content = plain
	if err := m.format.Decompress(ctx, plain, m.original.File()); err != nil {
		file := m.File()
		head := make([]byte, 8)
		file.ReadAt(head, 0)
		if layout, other := modsig.Find(file, file.Size()); other == nil && ctx.Err() == nil && compressed.Suffix(head) != "" {
			err = fmt.Errorf("%w (a signature follows the compressed data instead of being inside: truncate -s %d takes it off, and then sign-file sign signs what is inside)", err, layout.ContentSize)
		}
		return m.named(&PackedError{err})
	}
	info, err := plain.Stat()
	if err != nil {
		return m.named(err)
	}
	m.size = info.Size()
	return m.original.Check()
}

// ReadAt reads the module's content, uncompressed.
func (m *Module) ReadAt(b []byte, offset int64) (int, error) { return m.content.ReadAt(b, offset) }

// Size is the length of the module's content, uncompressed, in bytes. It is 0 for a
// pipe, and for the files of /proc.
func (m *Module) Size() int64 { return m.size }

// Path is the path that the module was opened by.
func (m *Module) Path() string {
	switch {
	case m.original != nil:
		return m.original.Path()
	case m.content != nil:
		return m.content.Name()
	}
	return ""
}

// Compressed reports whether the module is compressed where it lies.
func (m *Module) Compressed() bool { return m.packed }

// File reads the module as it lies there: compressed, if it is.
func (m *Module) File() *io.SectionReader {
	return io.NewSectionReader(m.original.File(), 0, m.original.Size())
}

// Lost names what of the module's owner, group and attributes the file that replaced it in
// place does not have: they could not be given to it.
func (m *Module) Lost() []string {
	if m.original == nil {
		return nil
	}
	return m.original.Lost()
}

// Regular reports whether the module can be read twice, and replaced.
func (m *Module) Regular() bool { return m.original != nil }

// Close closes the module.
func (m *Module) Close() error {
	if m.original == nil {
		return m.content.Close()
	}
	if m.packed {
		m.content.Close()
	}
	err := m.original.Close()
	m.place.Close()
	return err
}

// Find finds the module's outermost signature: see modsig.Find.
func (m *Module) Find() (modsig.Layout, error) {
	layout, err := modsig.Find(m, m.size)
	if err != nil {
		err = m.named(err)
	}
	return layout, err
}

// Damaged tells a module whose signature is hidden or cut from one that never was signed:
// see modsig.Damaged.
func (m *Module) Damaged() error {
	if err := modsig.Damaged(m, m.size); err != nil {
		return m.named(err)
	}
	return nil
}

// contentSize is the size of a module without any of its signatures.
func (m *Module) contentSize() (int64, error) {
	size := m.size
	for {
		layout, err := modsig.Find(io.NewSectionReader(m, 0, size), size)
		if errors.Is(err, modsig.ErrUnsigned) {
			return size, nil
		}
		if err != nil {
			return 0, m.named(err)
		}
		size = layout.ContentSize
	}
}

// all is how much of the module there is to read: what fstat said, since a file that
// somebody keeps appending to has no end; of a pipe or a file of /proc, whatever comes.
func (m *Module) all() int64 {
	if m.size == 0 && !m.packed {
		return math.MaxInt64
	}
	return m.size
}

// Check returns ErrChanged if the file was changed since it was opened.
func (m *Module) Check() error {
	if m.original == nil {
		return nil
	}
	return m.original.Check()
}

// pour reads the first limit bytes of the content into every writer.
func (m *Module) pour(ctx context.Context, limit int64, to ...io.Writer) error {
	var content io.Reader = m.content
	if m.Regular() {
		content = io.NewSectionReader(m, 0, limit)
	}
	n, err := pour(ctx, content, bufferFor(m.size), to...)
	switch {
	case err != nil:
		return err
	case n < limit && limit != math.MaxInt64:
		return m.named(io.ErrUnexpectedEOF) // it shrank since
	}
	return m.Check()
}

// named puts the module's name before an error that lacks it.
func (m *Module) named(err error) error { return paths.About("module", m.Path(), err) }
