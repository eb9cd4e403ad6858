package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// As GNU getopt(3) does it; test/differential_test.go asks the real sign-file.
func TestGetopt(t *testing.T) {
	for _, c := range []struct {
		args     string
		posix    bool
		options  string
		operands string
		bad      byte
	}{
		{"a b c d", false, "", "a b c d", 0},
		{"-dp a b", false, "dp", "a b", 0},
		{"a -d b -p", false, "dp", "a b", 0},
		{"a -d b -p", true, "", "a -d b -p", 0},
		{"-d a -p", true, "d", "a -p", 0},
		{"-d -- -p a", false, "d", "-p a", 0},
		{"a -- -p -- b", false, "", "a -p -- b", 0},
		{"- a", false, "", "- a", 0},
		{"-ddd -d", false, "d", "", 0},
		{"-dx a", false, "d", "", 'x'},
		{"--help", false, "", "", '-'},
		{"-d-", false, "d", "", '-'},
	} {
		options, operands, bad := getopt(strings.Fields(c.args), "sdpk", c.posix)
		var letters []byte
		for letter := range maps.Keys(options) {
			letters = append(letters, letter)
		}
		slices.Sort(letters)
		if string(letters) != c.options || strings.Join(operands, " ") != c.operands || bad != c.bad {
			t.Errorf("%q: %q %q %q, want %q %q %q", c.args, letters, operands, bad, c.options, c.operands, c.bad)
		}
	}
}

// No argument is lost, whatever the order.
func FuzzGetopt(f *testing.F) {
	f.Add("-d a -p -- -k b", false)
	f.Add("a -s", true)
	f.Fuzz(func(t *testing.T, line string, posix bool) {
		if strings.Contains(line, "\x00") {
			return // no argument of a process has one
		}
		args := strings.Split(line, " ")
		options, operands, bad := getopt(args, "sdpk", posix)
		if bad != 0 {
			return
		}
		rest := slices.Clone(args)
		for _, operand := range operands {
			i := slices.Index(rest, operand)
			if i < 0 {
				t.Fatalf("%q: operand %q comes from nowhere", args, operand)
			}
			rest = slices.Delete(rest, i, i+1)
		}
		for _, arg := range rest {
			for _, letter := range []byte(strings.Trim(arg, "-")) {
				if !options[letter] {
					t.Errorf("%q: %q is lost", args, arg)
				}
			}
		}
	})
}
