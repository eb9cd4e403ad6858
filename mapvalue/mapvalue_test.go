package mapvalue_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"sign-file/kernel"
	"sign-file/mapvalue"
)

func signed(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/golden/hello-p256-sha256.ko")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prefixed puts a be32 before the rest.
func prefixed(size uint32, rest []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, size), rest...)
}

// The checks of bpf_map_verify_value_sig in its order: kernel.md, §1.7.
func TestDecode(t *testing.T) {
	file := signed(t)
	n := uint32(len(file))
	marker := "~Module signature appended~\n"
	trailer := func(id byte, size uint32) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0, 0, id, 0, 0, 0, 0, 0}, size), marker...)
	}
	for name, c := range map[string]struct {
		value []byte
		want  error
	}{
		"signed":                   {prefixed(n, file), nil},
		"with a tail":              {prefixed(n, append(bytes.Clone(file), "tail"...)), nil},
		"nothing":                  {nil, syscall.ENOENT},
		"three bytes":              {make([]byte, 3), syscall.ENOENT},
		"size alone":               {prefixed(0, nil), syscall.ENOENT},
		"zeros":                    {make([]byte, 1024), syscall.ENOENT},
		"size one too large":       {prefixed(n+1, file), syscall.EINVAL},
		"the selftest's 1024":      {prefixed(1024, make([]byte, 1020)), syscall.EINVAL},
		"largest size":             {prefixed(1<<32-1, file), syscall.EINVAL},
		"the selftest's str_len":   {prefixed(5, append([]byte("test\x00"), make([]byte, 1015)...)), syscall.ENOENT},
		"size one too small":       {prefixed(n-1, file), syscall.ENOENT},
		"marker alone":             {prefixed(28, []byte(marker)), syscall.ENOENT},
		"marker after a byte":      {prefixed(29, []byte("x"+marker)), syscall.EBADMSG},
		"no data":                  {prefixed(n-5248, file[5248:]), syscall.EBADMSG},
		"signature longer than it": {prefixed(41, append([]byte("x"), trailer(2, 1)...)), syscall.EBADMSG},
		"id_type":                  {prefixed(43, append([]byte("xyz"), trailer(1, 1)...)), syscall.ENOPKG},
		"little-endian size":       {append(binary.LittleEndian.AppendUint32(nil, n), file...), syscall.EINVAL},
	} {
		_, err := mapvalue.Decode(c.value)
		if refusal := kernel.RefusalOf(err); refusal != nil {
			err = refusal
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEncode(t *testing.T) {
	file := signed(t)
	tail := []byte("the tail")
	exact := 4 + len(file) + len(tail)
	for _, size := range []int{0, exact, exact + 1, 1 << 16} {
		value, err := mapvalue.Encode(file, tail, size)
		if err != nil {
			t.Errorf("value size %d: %v", size, err)
			continue
		}
		want := append(prefixed(uint32(len(file)), file), tail...)
		if size > len(want) {
			want = append(want, make([]byte, size-len(want))...)
		}
		if !bytes.Equal(value, want) {
			t.Errorf("value size %d: %d bytes that are not size, file, tail and zeros", size, len(value))
		}
	}
	if _, err := mapvalue.Encode(file, tail, exact-3); err == nil || !strings.Contains(err.Error(), "3 more") {
		t.Errorf("a value size that is 3 too small: %v", err)
	}
	for _, size := range []int{-1, mapvalue.MaxSize + 1, 1 << 40} {
		if _, err := mapvalue.Encode(file, nil, size); err == nil {
			t.Errorf("value size %d: taken", size)
		}
	}
	for name, file := range map[string][]byte{"unsigned": []byte("data"), "empty": nil, "no data": file[5248:]} {
		if _, err := mapvalue.Encode(file, nil, 0); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	file := signed(f)
	f.Add(prefixed(uint32(len(file)), file))
	f.Add(prefixed(29, []byte("x~Module signature appended~\n")))
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := mapvalue.Decode(value)
		if err != nil {
			return
		}
		again, err := mapvalue.Encode(v.Signed, v.Tail, len(value))
		if err != nil || !bytes.Equal(again, value) {
			t.Errorf("%q: %v, encodes to %q", value, err, again)
		}
		if len(v.Data) == 0 || !bytes.HasPrefix(v.Signed, v.Data) || !bytes.HasPrefix(v.Signed[len(v.Data):], v.Message) {
			t.Errorf("%q: data %q, message %q", value, v.Data, v.Message)
		}
	})
}
