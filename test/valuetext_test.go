package test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// values signed and tampered with, as text.
func spelledValues(t *testing.T) (array, digits, tampered string) {
	t.Helper()
	sign := func(format string) string {
		return mustRun(t, nil, program(t), "map", "sign", "--format", format, "sha256", keys+"/rsa2048.key", keys+"/rsa2048.pem", "../testdata/value.bin")
	}
	array, digits = sign("c"), strings.TrimSpace(sign("hex"))
	other := "00"
	if digits[12:14] == other { // the first byte of the data
		other = "01"
	}
	return array, digits, digits[:12] + other + digits[14:]
}

// TestMapVerifyDumps: of a dump every element is judged, and the worst counts.
func TestMapVerifyDumps(t *testing.T) {
	_, good, bad := spelledValues(t)
	object := func(key int, digits string) string {
		return fmt.Sprintf(`{"key": ["0x%02x"], "value": ["0x%s"]}`, key, strings.Join(strings.Fields(digits), `", "0x`))
	}
	plain := func(key int, digits string) string { return fmt.Sprintf("key: %02x  value: %s\n", key, digits) }
	percpu := fmt.Sprintf(`{"key":["0x00"],"values":[{"cpu":0,"value":["0x%s"]}]}`, strings.Join(strings.Fields(good), `","0x`))
	for name, c := range map[string]struct {
		text     string
		accepted bool
		element  int // 0: the text is not read as values
	}{
		"json good":         {"[" + object(0, good) + "," + object(1, good) + "]", true, 1},
		"json good bad":     {"[" + object(0, good) + "," + object(1, bad) + "]", false, 2},
		"json bad good":     {"[" + object(0, bad) + "," + object(1, good) + "]", false, 1},
		"json one":          {object(0, good), true, 1},
		"json other names":  {`{"old": ["0x00"], ` + object(0, good)[1:], false, 0},
		"json twice":        {strings.TrimSuffix(object(0, bad), "}") + "," + object(0, good)[1:], false, 0},
		"json capitals":     {strings.Replace(object(0, good), `"value"`, `"Value"`, 1) + ` "value"`, false, 0},
		"json two objects":  {object(0, good) + "\n" + object(1, bad), false, 0},
		"json no bytes":     {"[" + object(0, good) + `,{"key":["0x01"],"value":{"error":"no such file"}}]`, false, 0},
		"json empty":        {`[{"key":[],"value":[]}]`, false, 0},
		"json per CPU":      {percpu, false, 0},
		"json decimal":      {strings.Replace(object(0, good), `"0x00"`, `"0"`, 1), true, 1}, // the key's
		"json no element":   {`["value"]`, false, 0},
		"plain good":        {plain(0, good) + plain(1, good) + "Found 2 elements\n", true, 1},
		"plain good bad":    {plain(0, good) + plain(1, bad) + "Found 2 elements\n", false, 2},
		"plain lookup":      {plain(0, good), true, 1},
		"plain cut":         {plain(0, good) + "Found 2 elements\n", false, 0},
		"plain more":        {plain(0, good) + "Found 1 element\n" + plain(1, bad), false, 0},
		"plain no entry":    {plain(0, good) + "key: 01  value: <no entry>\nFound 1 element\n", false, 0},
		"plain key alone":   {plain(0, good) + "key: 01\n", false, 0},
		"plain no key":      {"value: " + good + "\nvalue: " + bad + "\n", false, 2},
		"plain half a byte": {strings.Replace(plain(0, good), "value: 00", "value: 0", 1), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dump")
			writeFile(t, file, c.text, 0o600)
			out, err := run(t, nil, program(t), "map", "verify", "--json", "--kernel", "6.12", "--trusted="+keys+"/rsa2048.pem", file)
			var report struct {
				Accepted          bool
				Text              string
				Element, Elements int
			}
			_, line, _ := strings.Cut("\n"+out, "\n{")
			if wrong := json.Unmarshal([]byte("{"+line), &report); wrong != nil {
				t.Fatalf("%v: %s", wrong, out)
			}
			if report.Accepted != c.accepted || report.Element != c.element || (err == nil) != c.accepted || (report.Text != "") != (c.element > 0) {
				t.Errorf("accepted %v, element %d of %d, form %q, %v; want %v and %d\n%s", report.Accepted, report.Element, report.Elements, report.Text, err, c.accepted, c.element, out)
			}
		})
	}
}

// TestMapVerifyText: text is taken only where a C compiler, or xxd, reads the same value
// out of it.
func TestMapVerifyText(t *testing.T) {
	array, digits, _ := spelledValues(t)
	const evil = "static const unsigned char value[9] = { 0x00, 0x00, 0x00, 0x05, 0x65, 0x76, 0x69, 0x6c, 0x21 };\n"
	size := func(n string) string {
		head, tail, _ := strings.Cut(array, "[")
		_, tail, _ = strings.Cut(tail, "]")
		return head + "[" + n + "]" + tail
	}
	first := func(old, new string) string { return strings.Replace(array, old, new, 1) }
	for name, c := range map[string]struct {
		text string
		same bool
	}{
		"as it is":        {array, true},
		"CRLF":            {strings.ReplaceAll(array, "\n", "\r\n"), true},
		"one line":        {strings.Join(strings.Fields(array), " "), true},
		"in a comment":    {"/*\n" + array + "*/\n" + evil, false},
		"in lines of it":  {"// " + strings.ReplaceAll(array, "\n", "\n// ") + "\n" + evil, false},
		"another first":   {strings.Replace(array, "value", "old", 1) + evil, false},
		"another behind":  {array + evil, false},
		"shorter":         {size("5"), false},
		"longer":          {size("2000"), false},
		"no size":         {size(""), false},
		"octal size":      {size("0" + "1002"), false},
		"left out":        {"#if 0\n" + array + "#endif\n" + evil, false},
		"defined":         {"#define value(x) evil\n" + array, false},
		"a comment":       {first("0x00,", "0x00, /* 0x01, */"), false},
		"half a byte":     {first("0x00,", "0x0 0,"), false},
		"two bytes":       {first("0x00,", "0x0000,"), false},
		"decimal":         {first("0x00,", "0,"), false},
		"designated":      {first("\n};", "\n [4]=0x69 };"), false},
		"spliced":         {first("0x00,", "0x\\\n00,"), false},
		"cut":             {array[:len(array)-100], false},
		"hex":             {digits, true},
		"hex, xxd -p":     {strings.ReplaceAll(digits, " ", ""), true},
		"hex, capitals":   {strings.ToUpper(digits), true},
		"hex, 0x":         {"0x" + strings.ReplaceAll(digits, " ", ", 0x"), true},
		"hex, odd":        {strings.Replace(digits, "00 ", "0 0 ", 1), false},
		"hex, numbers":    {strings.Replace(digits, "00 00", "0x0000", 1), false},
		"hex, something":  {digits + " zz", false},
		"hex, no-break":   {strings.Replace(digits, " ", "\u00a0", 1), false},
		"hex, two values": {digits + "\n" + digits, true}, // the second is the tail of the first
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "text")
			writeFile(t, file, c.text, 0o600)
			out, err := run(t, nil, program(t), "map", "verify", "--kernel", "6.12", "--trusted="+keys+"/rsa2048.pem", file)
			if (err == nil) != c.same {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestTailTooLong: a tail that fills the map is not the key's fault.
func TestTailTooLong(t *testing.T) {
	tail := filepath.Join(t.TempDir(), "tail")
	writeFile(t, tail, strings.Repeat("a", 2000), 0o600)
	for size, says := range map[string]string{"1024": "the tail is too long", "2050": "the tail is too long", "30": "the data is too long"} {
		args := []string{"map", "sign", "--value-size", size, "sha256", keys + "/rsa2048.key", keys + "/rsa2048.pem", "../testdata/value.bin", filepath.Join(t.TempDir(), "v")}
		if size != "30" {
			args = append(args, "--tail", tail)
		}
		if out, err := run(t, nil, program(t), args...); err == nil || !strings.Contains(out, says) || strings.Contains(out, "no key's") {
			t.Errorf("%s: %v: %s", size, err, out)
		}
	}
}
