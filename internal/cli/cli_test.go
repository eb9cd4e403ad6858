package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// outcome is what a run said.
type outcome struct {
	exit     int
	out, err string
}

// invoke runs the command line in this process.
func invoke(t testing.TB, args ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	var streams [3]*os.File
	for i, name := range []string{"in", "out", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		streams[i] = f
	}
	exit := Run(append([]string{"sign-file"}, args...), streams[0], streams[1], streams[2])
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return outcome{exit, read("out"), read("err")}
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	module := write(t, filepath.Join(dir, "m.ko"), "a module")
	const cert = "../../testdata/keys/rsa2048.x509"
	for _, c := range []struct {
		args string
		exit int
		says string // in either stream
	}{
		{"", 2, "Usage: scripts/sign-file [-dp]"},
		{"sha256 key cert", 2, "Usage: scripts/sign-file"},
		{"signn " + module, 2, `no command "signn": did you mean sign?`},
		{"vreify --trusted " + cert + " " + module, 2, `no command "vreify": did you mean verify?`},
		{"frobnicate", 2, `no command "frobnicate" (`},
		{"map wrapp " + module, 2, "did you mean wrap?"},
		{"map", 2, "wrap, "},
		{"help sign", 0, "--unsigned-only"},
		{"help map wrap", 0, "--tail"},
		{"help nosuch", 2, "nosuch"},
		{"sha256 nokey nocert " + module, 1, "nokey: no such file"},
		{"--version", 0, ""},
		{"--help", 0, "COMMANDS"},
		{"sign", 2, "0 operands"},
		{"sign --jobs 0 sha256 k c m", 2, "--jobs 0"},
		{"sign", 2, "(see sign-file sign --help)"},
		{"map size", 2, "(see sign-file map size --help)"},
		{"map size --nosuch", 2, "(see sign-file map size --help)"},
		{"inspect", 2, "no module to inspect"},
		{"inspect " + dir + "/none", 1, "no such file"},
		{"inspect " + module, 0, "not signed"},
		{"verify --kernel 6.12 --trusted " + cert + " " + module, 1, "refused"},
		{"verify --kernel 6.12 --trusted " + cert + " " + dir + "/none", 3, "no such file"},
		{"verify --kernel 6.12 --trusted " + dir + "/none " + module, 3, "none"},
		{"strip " + module, 1, module},
		{"map size " + module, 1, module},
		{"map size --nosuch", 2, "nosuch"},
		{"digest sha256", 2, "1 operands"},
		{"digest nosuch " + module, 1, "nosuch"},
	} {
		got := invoke(t, strings.Fields(c.args)...)
		if got.exit != c.exit || !strings.Contains(got.out+got.err, c.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.args, got.exit, c.exit, c.says, got.out, got.err)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"m.ko":          "m.ko",
		"größe ☃ 模块":    "größe ☃ 模块",
		"a\nb\x1b[2J":   `a\nb\x1b[2J`,
		"\u009b2J":      `\u009b2J`,      // C1, as a character
		"\x9b2J\x80":    `\x9b2J\x80`,    // and as bytes
		"\xff.ko":       "\xff.ko",       // Latin-1 commands nothing
		"\u202egpj":     `\u202egpj`,     // right to left
		"a\u2066b":      `a\u2066b`,      // an isolate
		"a\u2028b":      `a\u2028b`,      // a line separator
		"\ufeffa\u200b": `\ufeffa\u200b`, // not to be seen
		"\ufffd":        "\ufffd",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Two names that differ in bytes that are no UTF-8 stay two names.
func TestLosslessJSON(t *testing.T) {
	dir := t.TempDir()
	var seen []string
	for _, name := range []string{"\xff.ko", "\xfe.ko", "plain.ko"} {
		path := write(t, filepath.Join(dir, name), "a module")
		for _, command := range []string{"inspect --json", "digest --format json sha256"} {
			got := invoke(t, append(strings.Fields(command), path)...)
			var object struct {
				File  string
				Bytes []byte `json:"file_bytes"`
			}
			if err := json.Unmarshal([]byte(got.out), &object); err != nil || got.exit != 0 {
				t.Fatalf("%q: %v %s", path, err, got.err)
			}
			if object.Bytes == nil {
				object.Bytes = []byte(object.File)
			}
			if string(object.Bytes) != path {
				t.Errorf("%s: %q, want %q", command, object.Bytes, path)
			}
		}
		seen = append(seen, path)
	}
	if len(slices.Compact(seen)) != 3 {
		t.Errorf("%q", seen)
	}
}

// The values are bpftool's input and C, whatever their length.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format, value, want string
	}{
		{formatRaw, "\x00\xff", "\x00\xff"},
		{formatHex, "\x00\x1f\xff", "00 1f ff\n"},
		{formatHex, "", "\n"},
		{formatC, "\x00\xff", "static const unsigned char value[2] = {\n\t0x00, 0xff,\n};\n"},
		{formatC, strings.Repeat("a", 13), "static const unsigned char value[13] = {\n\t" +
			strings.TrimSuffix(strings.Repeat("0x61, ", 12), " ") + "\n\t0x61,\n};\n"},
	} {
		render, err := renderer(c.format)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := render(&out, []byte(c.value)); err != nil || out.String() != c.want {
			t.Errorf("%s of %q: %q, %v; want %q", c.format, c.value, out.String(), err, c.want)
		}
	}
	if _, err := renderer("xml"); err == nil {
		t.Error("an unknown format is taken")
	}
}

func TestOrderFlags(t *testing.T) {
	commands := (&program{}).app().Commands
	for args, want := range map[string]string{
		"verify m.ko --json":                   "verify --json -- m.ko",
		"verify --trusted a m.ko --trusted b":  "verify --trusted a --trusted b -- m.ko",
		"sign -j8 a b c d":                     "sign -j 8 -- a b c d",
		"sign a b c d -dk":                     "sign -dk -- a b c d",
		"map sign a b c --value-size 9 d":      "map sign --value-size 9 -- a b c d",
		"verify -- --json":                     "verify -- --json",
		"inspect -":                            "inspect -- -",
		"verify --kernel":                      "verify --kernel",
		"nosuch --flag x":                      "--flag -- nosuch x",
		"sign --output-dir d a -q b":           "sign --output-dir d -q -- a b",
		"verify --trusted=x m.ko --kernel=6.1": "verify --trusted=x --kernel=6.1 -- m.ko",
	} {
		if got := strings.Join(orderFlags(commands, strings.Fields(args)), " "); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}

// A fault over one file is that file's answer.
func TestGuarded(t *testing.T) {
	_, err := guarded(func() (int, error) { return []int{}[len(os.Args)], nil })
	if err == nil || !strings.Contains(err.Error(), "not decided") || !strings.Contains(err.Error(), "cli_test.go:") {
		t.Errorf("%v", err)
	}
	if n, err := guarded(func() (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Whatever a module holds, what is printed of it commands no terminal, and JSON is JSON.
func FuzzPrint(f *testing.F) {
	for _, name := range []string{"rsa2048-sha256", "p256-sha256", "mldsa44-sha512"} {
		if message, err := os.ReadFile("../../testdata/golden/" + name + ".p7s"); err == nil {
			f.Add(message)
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		module := append([]byte("a module"), message...)
		module = append(module, 0, 0, 2, 0, 0, 0, 0, 0, byte(len(message)>>24), byte(len(message)>>16), byte(len(message)>>8), byte(len(message)))
		module = append(module, "~Module signature appended~\n"...)
		path := write(t, filepath.Join(t.TempDir(), "m.ko"), string(module))
		const cert = "../../testdata/keys/rsa2048.x509"
		for _, args := range [][]string{{"inspect", path}, {"verify", "--kernel", "7.0", "--trusted", cert, path}} {
			if len(message)%2 == 0 { // each costs milliseconds
				checkJSON(t, args)
				continue
			}
			got := invoke(t, args...)
			for _, r := range got.out + got.err {
				if r != '\n' && unicode.IsControl(r) {
					t.Errorf("%s: %q", args[0], got.out+got.err)
				}
			}
		}
	})
}

// checkJSON runs a command with --json.
func checkJSON(t *testing.T, args []string) {
	t.Helper()
	got := invoke(t, append([]string{args[0], "--json"}, args[1:]...)...)
	if !utf8.ValidString(got.out) || !json.Valid([]byte(got.out)) || strings.Contains(got.err, "not decided: a fault") {
		t.Errorf("%s --json: %q %q", args[0], got.out, got.err)
	}
}

// TestWords: what people type, and where it leads.
func TestWords(t *testing.T) {
	s := newShop(t)
	for line, want := range map[string]struct {
		exit int
		says string
	}{
		"version":              {0, "sign-file version"},
		"--json inspect @m.ko": {0, `{"file":`},
		"attach @m.ko":         {2, "no --signature"},
		"map attach @m.ko":     {2, "no --signature"},
		"inspect @":            {0, "m.ko: 5248 bytes, not signed"},
		"strip @":              {1, "not signed"},
		"verify --kernel 6.13 --trusted " + testCert + " @m.ko": {1, "judged by the rules of 6.12"},
	} {
		got := s.does(want.exit, line)
		if !strings.Contains(got.out+got.err, want.says) {
			t.Errorf("%s: %s%s", line, got.out, got.err)
		}
	}
}

// TestLists: a list is as long as it says, and lines are not kept that no list has.
func TestLists(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"a\nb\r\n\n/c d\n":                     `["a" "b" "/c d"]`,
		"last":                                 `["last"]`,
		"":                                     `[]`,
		strings.Repeat("x", maxLine-1) + "\ny": "",
		strings.Repeat("x", maxLine) + "\n":    "line 1: has more than 65536 bytes",
		"a\n" + strings.Repeat("x", 3*maxLook): "line 2: has more than 65536 bytes",
		strings.Repeat("a\n", maxLines) + "one more": "has more than 1000000 lines",
		string(read(t, testKey)):                     "not a list of paths",
	} {
		p := &program{}
		got, err := p.pathList(write(t, filepath.Join(dir, "list"), text), false)
		said := fmt.Sprintf("%q", got)
		if err != nil {
			said = err.Error()
		}
		if want != "" && !strings.Contains(said, want) || want == "" && err != nil {
			t.Errorf("%.20q: %.100s, want %s", text, said, want)
		}
	}
	p := &program{}
	if got, err := p.pathList(write(t, filepath.Join(dir, "list"), "a\nb\r\x00\x00c"), true); err != nil || fmt.Sprintf("%q", got) != `["a\nb\r" "c"]` {
		t.Errorf("ended by NUL: %q, %v", got, err)
	}
	sparse := write(t, filepath.Join(dir, "sparse"), "")
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := p.signedLines(sparse); err == nil {
		t.Error("a GiB of zeros is a list of signatures")
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a file without a line took %d bytes of memory", took)
	}
}
