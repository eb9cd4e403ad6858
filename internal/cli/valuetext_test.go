package cli

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzValueText: whatever is taken for a C array is one of ours, and digits are read back.
func FuzzValueText(f *testing.F) {
	for _, text := range []string{
		"00 1f", "0x00, 0x1f", "001f", "static const unsigned char value[1] = {\n\t0x00,\n};\n",
		"key: 00  value: 01\nFound 1 element\n", `[{"key":["0x00"],"value":["0x01"],"formatted":{"value":1}}]`, "{", "value:", "[{]", "key:",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := readValueText(text)
		if err != nil && read.elements != nil || err == nil && (read.form == "") != (read.elements == nil) {
			t.Fatalf("form %q, %d elements, %v", read.form, len(read.elements), err)
		}
		for _, e := range read.elements {
			var again bytes.Buffer
			if err := writeC(&again, e.value); err != nil || len(e.value) == 0 && read.form != textC {
				t.Fatalf("an element of %d bytes, %v", len(e.value), err)
			}
			if read.form == textC && strings.Join(words(again.String()), "") != strings.Join(words(string(text)), "") {
				t.Fatalf("%q is not read as it is written", text)
			}
		}
	})
}
