package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// valueText is what a file spells that has map values as text. All but its form is empty
// where a compiler, bpftool or xxd might read other bytes out of it than are read here.
type valueText struct {
	form     string // of the constants below; empty for what is no text
	elements []valueElement
}

// valueElement is one element of a dump, or the only value of a text.
type valueElement struct {
	key   string // in hexadecimal, as bpftool writes it; empty where none is given
	value []byte
}

// Forms of text, in the words of --json.
const (
	textHex  = "hex"
	textC    = "c"
	textDump = "bpftool"
	textJSON = "bpftool-json"
)

// errManyReadings: a reader of C or of hexadecimal digits might make other bytes of it.
var errManyReadings = errors.New("is text that can be read in more than one way")

// readValueText reads text in the forms that map sign writes, and bpftool's dumps. Only
// what has one reading is taken: the error says what else is in it, and the form is still
// what the text looks like.
func readValueText(b []byte) (text valueText, err error) {
	text.form = formOfText(b)
	switch text.form {
	case textHex:
		text.elements, err = hexText(string(b))
	case textC:
		text.elements, err = cText(string(b))
	case textDump:
		text.elements, err = dumpText(string(b))
	case textJSON:
		text.elements, err = jsonText(b)
	}
	return text, err
}

// formOfText tells the forms apart by what only one of them has.
func formOfText(b []byte) string {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return ""
	}
	words := bytes.TrimLeft(b, blanks)
	switch {
	case len(words) == 0:
	case (words[0] == '{' || words[0] == '[') && bytes.Contains(words, []byte(`"value`)):
		return textJSON
	case bytes.HasPrefix(words, []byte("key:")) || bytes.HasPrefix(words, []byte("value:")):
		return textDump
	case bytes.Contains(words, []byte("{")) && bytes.Contains(words, []byte("0x")):
		return textC
	case len(bytes.TrimLeft(words, "0123456789abcdefABCDEFxX, \t\r\n")) == 0:
		return textHex
	}
	return ""
}

// blanks separate words in every form. A compiler knows no others that are worth having.
const blanks = " \t\r\n"

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(blanks, r) })
}

// hexText reads digits in pairs. An odd one stands for a byte of its own with bpftool and
// for half of one with xxd, and 0x0102 is one number.
func hexText(text string) ([]valueElement, error) {
	var value []byte
	for _, word := range words(text) {
		word = strings.TrimSuffix(word, ",")
		if pair, ok := strings.CutPrefix(strings.ToLower(word), "0x"); ok && len(pair) == 2 {
			word = pair
		}
		octets, err := hex.DecodeString(word)
		if err != nil || len(octets) == 0 {
			return nil, fmt.Errorf("%w (%q is no whole number of bytes)", errManyReadings, shortened(word))
		}
		value = append(value, octets...)
	}
	return []valueElement{{value: value}}, nil
}

// shortened is as much of a word as a message has room for.
func shortened(word string) string {
	const room = 20
	if len(word) > room {
		return word[:room] + "..."
	}
	return word
}

// cText reads one array, exactly as map sign --format c writes it but for its white space:
// a comment, a directive, a second array or another size would have a compiler see another
// value.
func cText(text string) ([]valueElement, error) {
	var value []byte
	for _, word := range words(text) {
		if digits, ok := strings.CutPrefix(word, "0x"); ok {
			octet, err := hex.DecodeString(strings.TrimSuffix(digits, ","))
			if err != nil {
				break
			}
			value = append(value, octet...)
		}
	}
	var again strings.Builder
	if err := writeC(&again, value); err != nil {
		return nil, err
	}
	if strings.Join(words(again.String()), " ") != strings.Join(words(text), " ") {
		return nil, fmt.Errorf("%w (it is not just the array that map sign --format c writes)", errManyReadings)
	}
	return []valueElement{{value: value}}, nil
}

// dumpText reads what bpftool map lookup and dump print (print_entry_plain): "key:" and
// "value:" with bytes behind them, for each element, and in the end how many were found.
func dumpText(text string) (elements []valueElement, err error) {
	const unlike = "is a dump of bpftool's that can't be read (%s); bpftool -j writes a plainer one"
	all := words(text)
	take := func() (octets []byte) {
		for len(all) > 0 && len(all[0]) == 2 {
			octet, err := hex.DecodeString(all[0])
			if err != nil {
				break
			}
			octets, all = append(octets, octet...), all[1:]
		}
		return octets
	}
	for len(all) > 0 && all[0] != "Found" {
		var element valueElement
		if all[0] == "key:" {
			all = all[1:]
			element.key = fmt.Sprintf("% x", take())
		}
		if len(all) == 0 || all[0] != "value:" {
			return nil, fmt.Errorf(unlike, "a key without a value")
		}
		all = all[1:]
		if element.value = take(); element.value == nil {
			return nil, fmt.Errorf(unlike, "a value without bytes")
		}
		elements = append(elements, element)
	}
	if len(all) == 0 {
		return elements, nil
	}
	if count := strconv.Itoa(len(elements)); len(all) != 3 || all[1] != count || !strings.HasPrefix(all[2], "element") {
		return nil, fmt.Errorf(unlike, fmt.Sprintf("it has %s elements, and says: %s", count, shortened(strings.Join(all, " "))))
	}
	return elements, nil
}

// jsonText reads what they print with -j: one element, or an array of them, each with its
// bytes as strings. Of a map with BTF, "formatted" follows, which are the same bytes.
func jsonText(b []byte) ([]valueElement, error) {
	var all []json.RawMessage
	if json.Unmarshal(b, &all) != nil {
		all = []json.RawMessage{b}
	}
	var elements []valueElement
	for i, object := range all {
		element, err := jsonElement(object)
		if err != nil {
			return nil, fmt.Errorf("is a dump of bpftool's that can't be read: element %d %w", i+1, err)
		}
		elements = append(elements, element)
	}
	if elements == nil {
		return nil, errors.New("is a dump of bpftool's without an element")
	}
	return elements, nil
}

// jsonElement takes each name once, which encoding/json does not insist on.
func jsonElement(object []byte) (e valueElement, err error) {
	if !json.Valid(object) {
		return e, errors.New("is no JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(object))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return e, errors.New("is no object")
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok || seen[name] {
			return e, fmt.Errorf("has %q twice", shortened(name))
		}
		seen[name] = true
		var content json.RawMessage
		if err := decoder.Decode(&content); err != nil {
			return e, err
		}
		switch name {
		case "key":
			key, _ := jsonBytes(content)
			e.key = fmt.Sprintf("% x", key)
		case "value":
			if e.value, ok = jsonBytes(content); !ok {
				return e, errors.New("has no value in bytes")
			}
		case "formatted":
		default:
			return e, fmt.Errorf("has %q, which bpftool writes of no map that has values", shortened(name))
		}
	}
	if e.value == nil {
		return e, errors.New("has no value")
	}
	return e, nil
}

// jsonBytes reads an array of strings like "0x1f".
func jsonBytes(content []byte) ([]byte, bool) {
	var list []string
	if json.Unmarshal(content, &list) != nil || len(list) == 0 {
		return nil, false
	}
	value := make([]byte, 0, len(list))
	for _, word := range list {
		digits, ok := strings.CutPrefix(word, "0x")
		octet, err := hex.DecodeString(digits)
		if !ok || err != nil || len(octet) != 1 {
			return nil, false
		}
		value = append(value, octet[0])
	}
	return value, true
}
