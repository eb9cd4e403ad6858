package cli

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine escapes what must not reach a terminal or a log as it is: control characters,
// which write lines of their own or command the terminal, those of 8 bits (C1) too, as
// characters and as bytes; marks that turn the direction of writing, or can't be seen;
// and line separators. Other bytes that are no UTF-8 stay.
func oneLine(text string) string {
	if printable(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1 && text[i] < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case shown(r):
			b.WriteString(text[i : i+size])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		i += size
	}
	return b.String()
}

func printable(text string) bool {
	for _, r := range text {
		if !shown(r) || r == utf8.RuneError {
			return false // or has to be looked at closely
		}
	}
	return true
}

// shown tells the characters that are written as they are: letters, marks, numbers,
// punctuation, symbols and the ASCII space. Spaces that look like it are told apart.
// Letters and symbols that are not drawn at all are no letters to whoever reads them.
func shown(r rune) bool {
	const brailleBlank = '\u2800'
	return unicode.IsPrint(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && r != brailleBlank
}

// plain is text that is not escaped: what this package colours.
type plain string

// escaped makes of each argument that holds text from elsewhere what may be printed.
func escaped(args []any) []any {
	clean := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case plain:
			clean[i] = string(a)
		case string:
			clean[i] = oneLine(a)
		case error:
			clean[i] = oneLine(errorText(a))
		case fmt.Stringer:
			clean[i] = oneLine(a.String())
		default:
			clean[i] = a
		}
	}
	return clean
}

// text is fmt.Sprintf for what comes from elsewhere.
func text(format string, args ...any) string { return fmt.Sprintf(format, escaped(args)...) }
