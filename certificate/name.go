package certificate

import (
	"cmp"
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// attributeName is the short name of RFC 4514, or the one that OpenSSL prints, and "" where
// there is neither.
func attributeName(oid string) string {
	switch oid {
	case "2.5.4.3":
		return "CN"
	case "2.5.4.5":
		return "serialNumber"
	case "2.5.4.6":
		return "C"
	case "2.5.4.7":
		return "L"
	case "2.5.4.8":
		return "ST"
	case "2.5.4.10":
		return "O"
	case "2.5.4.11":
		return "OU"
	case "1.2.840.113549.1.9.1":
		return "emailAddress"
	}
	return ""
}

// FormatName prints a DER Name for people: "CN=Build key, O=Example", in the
// order of the DER, several attributes of one RDN joined by "+". Control
// characters are escaped, so that a certificate can't write on a terminal.
func FormatName(name []byte) string {
	var b strings.Builder
	ok := eachAttribute(name, func(first bool, oid string, tag cbasn1.Tag, value []byte) {
		switch {
		case b.Len() == 0:
		case first:
			b.WriteString(", ")
		default:
			b.WriteString("+")
		}
		b.WriteString(formatAttribute(oid, tag, value))
	})
	if !ok {
		return "(malformed name)"
	}
	return b.String()
}

// OneLine prints a DER Name as OpenSSL's X509_NAME_oneline does.
func OneLine(name []byte) string {
	var b strings.Builder
	ok := eachAttribute(name, func(first bool, oid string, _ cbasn1.Tag, value []byte) {
		short := cmp.Or(attributeName(oid), oid)
		separator := "/"
		if !first {
			separator = "+"
		}
		b.WriteString(separator + short + "=")
		for _, c := range value {
			if c < ' ' || c > '~' {
				fmt.Fprintf(&b, "\\x%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
	})
	if !ok {
		return "(malformed name)"
	}
	return b.String()
}

// eachAttribute calls found for every attribute of a Name, and says which are the first of
// their RDN; ok is false where the Name is malformed.
func eachAttribute(name []byte, found func(first bool, oid string, tag cbasn1.Tag, value []byte)) (ok bool) {
	input := cryptobyte.String(name)
	var rdns cryptobyte.String
	if !input.ReadASN1(&rdns, cbasn1.SEQUENCE) {
		return false
	}
	for !rdns.Empty() {
		var rdn cryptobyte.String
		if !rdns.ReadASN1(&rdn, cbasn1.SET) {
			return false
		}
		for first := true; !rdn.Empty(); first = false {
			var attribute, value cryptobyte.String
			var oid asn1.ObjectIdentifier
			var tag cbasn1.Tag
			if !rdn.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) || !attribute.ReadAnyASN1(&value, &tag) {
				return false
			}
			found(first, oid.String(), tag, value)
		}
	}
	return true
}

func formatAttribute(oid string, tag cbasn1.Tag, value []byte) string {
	short := cmp.Or(attributeName(oid), oid)
	if tag == cbasn1.Tag(30) { // BMPString, UTF-16 big-endian
		runes := make([]rune, 0, len(value)/2)
		for i := 0; i+1 < len(value); i += 2 {
			runes = append(runes, rune(value[i])<<8|rune(value[i+1]))
		}
		value = []byte(string(runes))
	}
	quoted := fmt.Sprintf("%q", value)
	// What would begin another attribute is escaped (RFC 4514, section 2.4).
	return short + "=" + strings.NewReplacer(",", "\\,", "+", "\\+").Replace(quoted[1:len(quoted)-1])
}

// FormatSerial prints a DER INTEGER as modinfo's sig_key: bytes in upper-case
// hex, joined by colons.
func FormatSerial(serial []byte) string {
	input := cryptobyte.String(serial)
	var body cryptobyte.String
	if !input.ReadASN1(&body, cbasn1.INTEGER) {
		return "(malformed serial number)"
	}
	return FormatKeyID(body)
}

// FormatKeyID prints bytes in upper-case hex, joined by colons.
func FormatKeyID(id []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", id), " ", ":")
}
