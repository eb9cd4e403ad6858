package signfile

import (
	"errors"
	"fmt"
	"os"

	"sign-file/internal/atomicfile"
	"sign-file/internal/compressed"
	modsig "sign-file/module_signature"
)

// Module is a module open for reading: a regular file, decompressed if its name
// says that it is compressed.
type Module struct {
	// File holds the uncompressed module. Its name is the module's only if it is
	// not compressed.
	*os.File
	// Size is the length of the uncompressed module in bytes.
	Size int64

	source *os.File // the file itself
	format compressed.Format
}

// OpenModule opens a module.
func OpenModule(path string) (*Module, error) {
	info, err := os.Stat(path) // before opening it, which would wait at a FIFO
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Module{File: file, source: file}
	format, ok := compressed.Of(path)
	if ok {
		m.format = format
		m.File, err = decompress(format, file)
	}
	if err == nil {
		info, err = m.File.Stat()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.Size = info.Size()
	return m, nil
}

// decompress returns an open file without a name that holds the module,
// uncompressed: a module may be larger than memory should be.
func decompress(format compressed.Format, module *os.File) (*os.File, error) {
	plain, err := atomicfile.Scratch()
	if err != nil {
		return nil, fmt.Errorf("%s: nowhere to decompress it to (TMPDIR): %w", module.Name(), err)
	}
	if err := format.Decompress(plain, module); err != nil {
		plain.Close()
		return nil, named(module, err)
	}
	return plain, nil
}

// Path is the name that the module was opened by.
func (m *Module) Path() string { return m.source.Name() }

// Compressed reports whether the module is compressed where it lies.
func (m *Module) Compressed() bool { return m.File != m.source }

// Close closes the module.
func (m *Module) Close() error {
	if m.File != nil && m.Compressed() {
		m.File.Close()
	}
	return m.source.Close()
}

// Find finds the module's outermost signature: see modsig.Find.
func (m *Module) Find() (modsig.Layout, error) {
	layout, err := modsig.Find(m, m.Size)
	if err != nil {
		err = named(m.source, err)
	}
	return layout, err
}
