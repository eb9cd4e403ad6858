package modsig_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	modsig "sign-file/module_signature"
)

// TestDamaged takes what the kernel's sign-file signed, and does to it what transfers,
// editors and padding do.
func TestDamaged(t *testing.T) {
	signed, err := os.ReadFile("../testdata/golden/hello-rsa2048-sha256.ko")
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := os.ReadFile("../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(signed))
	for what, c := range map[string]struct {
		file []byte
		end  int64 // 0: not damaged
		zero bool
	}{
		"a line end behind":   {append(bytes.Clone(signed), '\n'), size, false},
		"padded":              {append(bytes.Clone(signed), make([]byte, 4096)...), size, true},
		"much behind":         {append(bytes.Clone(signed), bytes.Repeat([]byte("x"), 512)...), size, false},
		"too much behind":     {append(bytes.Clone(signed), bytes.Repeat([]byte("x"), 513)...), 0, false},
		"padded by 512":       {append(bytes.Clone(signed), make([]byte, 512)...), size, true},
		"padded by 513":       {append(bytes.Clone(signed), make([]byte, 513)...), size, true},
		"text and padding":    {append(bytes.Clone(signed), append([]byte("x"), make([]byte, 512)...)...), 0, false},
		"padded too far":      {append(bytes.Clone(signed), make([]byte, 64<<10)...), 0, false},
		"text behind":         {append(bytes.Clone(signed), "~Module signature appended~"...), size, false},
		"without its newline": {signed[:size-1], size, false},
		"cut in the marker":   {signed[:size-20], size, false},
		"cut before it":       {signed[:size-28], 0, false},
		"never signed":        {unsigned, 0, false},
		"only a marker":       {append(bytes.Clone(unsigned), modsig.Marker+"x"...), 0, false},
		"empty":               {nil, 0, false},
	} {
		err := modsig.Damaged(bytes.NewReader(c.file), int64(len(c.file)))
		var damaged *modsig.DamagedError
		if errors.As(err, &damaged) != (c.end != 0) || damaged != nil && (damaged.End != c.end || damaged.Zeros != c.zero) {
			t.Errorf("%s: %v, want the end at %d", what, err, c.end)
		}
	}
}

func FuzzDamaged(f *testing.F) {
	f.Add([]byte("\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01" + modsig.Marker + "x"))
	f.Add([]byte("\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01~Module"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var damaged *modsig.DamagedError
		if err := modsig.Damaged(bytes.NewReader(b), int64(len(b))); err != nil && !errors.As(err, &damaged) {
			t.Error(err)
		}
	})
}
