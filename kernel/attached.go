package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
)

// Attached judges a file and a bare message about it by what the kernel says once the
// message is attached: as a module or what else ends with its signature, or as a map value.
// BPF programs and firmware keep their messages apart, and are judged as by Message.
func (j *Judge) Attached(file io.ReaderAt, size int64, message []byte) (*Verdict, error) {
	if j != nil && (j.usage == BPF || j.usage == Firmware) {
		return j.Message(message, io.NewSectionReader(file, 0, size))
	}
	trailer, err := modsig.Trailer(int64(len(message)))
	if err != nil {
		return nil, err
	}
	signed := &appended{file, size, append(bytes.Clone(message), trailer...)}
	if j == nil || j.usage != MapValue {
		return j.Module(signed, signed.size())
	}
	if mapvalue.HeaderSize+signed.size() > mapvalue.MaxSize {
		return nil, fmt.Errorf("not decided: a map value of %d bytes, and %d are read", mapvalue.HeaderSize+signed.size(), mapvalue.MaxSize)
	}
	value := make([]byte, mapvalue.HeaderSize+signed.size())
	binary.BigEndian.PutUint32(value, uint32(signed.size()))
	if err := readFull(signed, value[mapvalue.HeaderSize:], 0); err != nil {
		return nil, err
	}
	return j.MapValue(value)
}

// appended is a file with more behind it.
type appended struct {
	file   io.ReaderAt
	length int64 // of the file, in bytes
	more   []byte
}

func (a *appended) size() int64 { return a.length + int64(len(a.more)) }

func (a *appended) ReadAt(b []byte, at int64) (n int, err error) {
	if at < a.length {
		n = int(min(int64(len(b)), a.length-at))
		if err := readFull(a.file, b[:n], at); err != nil {
			return 0, err
		}
	}
	if from := at + int64(n) - a.length; n < len(b) && from < int64(len(a.more)) {
		n += copy(b[n:], a.more[from:])
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}
