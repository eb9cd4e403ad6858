package kernel_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"sign-file/kernel"
)

// TestCheckELF: fields of a module's headers, as kernels 6.1, 6.12, 6.18 and 7.3 answered
// that test/kernel boots.
func TestCheckELF(t *testing.T) {
	module := read(t, "../testdata/hello.ko")
	if binary.LittleEndian.Uint16(module[18:]) != 62 {
		t.Fatal("hello.ko is not of x86-64, whose layout this test knows")
	}
	sections, count, names := int(binary.LittleEndian.Uint64(module[40:])), int(binary.LittleEndian.Uint16(module[60:])), int(binary.LittleEndian.Uint16(module[62:]))
	header := func(n int) int { return sections + 64*n }
	for what, c := range map[string]struct {
		at, size int
		value    uint64
		says     string // empty for a module
	}{
		"nothing":              {0, 0, 0, ""},
		"EI_CLASS":             {4, 1, 1, ""},
		"EI_DATA":              {5, 1, 2, ""},
		"e_version":            {20, 4, 0, ""},
		"e_type":               {16, 2, 2, "no relocatable"},
		"e_shentsize":          {58, 2, 40, "another size"},
		"e_shoff":              {40, 8, uint64(len(module)), "is cut"},
		"e_shoff, elsewhere":   {40, 8, uint64(header(1)), ""},
		"e_shnum, none":        {60, 2, 0, "e_shstrndx"},
		"e_shnum, few":         {60, 2, 2, "e_shstrndx"},
		"e_shnum, many":        {60, 2, 0xffff, "is cut"},
		"e_shstrndx, none":     {62, 2, 0, "e_shstrndx"},
		"e_shstrndx, too high": {62, 2, uint64(count), "e_shstrndx"},
		"names, elsewhere":     {header(names) + 24, 8, uint64(len(module)), "section names"},
		"names, overflow":      {header(names) + 32, 8, 1<<64 - 1, "section names"},
		"names, none":          {header(names) + 32, 8, 0, "section names"},
		"section 0, type":      {header(0) + 4, 4, 1, "first section"},
		"section 0, address":   {header(0) + 16, 8, 1, "first section"},
		"section 0, offset":    {header(0) + 24, 8, 1, ""},
		"section 1, offset":    {header(1) + 24, 8, 1 << 63, "section 1 lies behind"},
	} {
		b := bytes.Clone(module)
		copy(b[c.at:], binary.LittleEndian.AppendUint64(nil, c.value)[:c.size])
		err := kernel.CheckELF(bytes.NewReader(b), int64(len(b)))
		if what == "e_shoff, elsewhere" {
			if err == nil {
				t.Errorf("%s: no error", what) // whichever comes first
			}
			continue
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
	without := bytes.Replace(module, []byte(".gnu.linkonce.this_module\x00"), []byte(".gnu.linkonce.that_module\x00"), 1)
	if err := kernel.CheckELF(bytes.NewReader(without), int64(len(without))); err == nil || bytes.Equal(without, module) {
		t.Errorf("an object of no module: %v", err)
	}
}
