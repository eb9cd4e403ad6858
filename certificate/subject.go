package certificate

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// attributeType is one that ParseName takes, with the bound of RFC 5280, appendix
// A.1, in characters, and the string type that openssl req gives it.
type attributeType struct {
	name        string
	oid         asn1.ObjectIdentifier
	least, most int
	tag         cbasn1.Tag
}

var attributeTypes = []attributeType{
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}, 2, 2, cbasn1.PrintableString},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}, 1, 128, cbasn1.UTF8String},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}, 1, 128, cbasn1.UTF8String},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}, 1, 64, cbasn1.UTF8String},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}, 1, 64, cbasn1.UTF8String},
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}, 1, 64, cbasn1.UTF8String},
	{"emailAddress", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, 1, 128, cbasn1.IA5String},
}

// ParseName encodes a name in the form of openssl req's -subj, "/O=Example/CN=Build
// key", as a DER Name. A backslash takes the next character as it stands.
func ParseName(text string) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q is no name of the form /O=Example/CN=Build key", text)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // Name ::= SEQUENCE OF
		for _, part := range splitName(rest) {
			if err := addAttribute(b, part); err != nil {
				b.SetError(err)
				return
			}
		}
	})
	return b.Bytes()
}

// splitName splits at slashes and undoes backslashes.
func splitName(text string) []string {
	parts := []string{""}
	last := &parts[0]
	escaped := false
	for _, c := range []byte(text) {
		switch {
		case !escaped && c == '\\':
			escaped = true
			continue
		case !escaped && c == '/':
			parts = append(parts, "")
			last = &parts[len(parts)-1]
			continue
		}
		*last += string([]byte{c})
		escaped = false
	}
	return parts
}

func addAttribute(b *cryptobyte.Builder, part string) error {
	name, value, _ := strings.Cut(part, "=")
	for _, t := range attributeTypes {
		if t.name != name {
			continue
		}
		if err := t.check(value); err != nil {
			return fmt.Errorf("%s=%q: %w", name, value, err)
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { // RelativeDistinguishedName ::= SET OF
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // AttributeTypeAndValue ::= SEQUENCE {
				b.AddASN1ObjectIdentifier(t.oid)                                            // type,
				b.AddASN1(t.tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) }) // value DirectoryString }
			})
		})
		return nil
	}
	return fmt.Errorf("%q: want C, ST, L, O, OU, CN or emailAddress, and a value behind =", part)
}

func (t attributeType) check(value string) error {
	if n := utf8.RuneCountInString(value); n < t.least || n > t.most {
		return fmt.Errorf("%d characters, want %d to %d", n, t.least, t.most)
	}
	if !utf8.ValidString(value) {
		return errors.New("not UTF-8")
	}
	for _, c := range value {
		if t.tag != cbasn1.UTF8String && c > '~' || t.tag == cbasn1.PrintableString && (c < 'A' || c > 'Z') {
			return errors.New("a character that is not allowed there")
		}
	}
	return nil
}
