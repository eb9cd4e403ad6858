package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"unicode/utf8"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/keys"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
)

// maxLook is how much of a file is looked at to say what it is, in bytes: more than any
// certificate, key or message has.
const maxLook = 1 << 20

// kindOfFile is what a file turned out to be that was taken for something else: its name
// with an article, and what to do with it where a module, a certificate and a private key
// is wanted. All are empty where nothing is known that helps.
type kindOfFile struct{ name, asModule, asCertificate, asKey string }

const (
	aMessage   = "a bare PKCS#7 message"
	nameModule = "name the module that it belongs to"
	swapPlaces = "it goes in the place of "
)

// whatIs recognizes the files that people put into each other's places. What it is given is
// the file's beginning, at most maxLook bytes.
func whatIs(b []byte) kindOfFile {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")):
		const convert = "convert it with: iconv -f UTF-16 -t UTF-8 OLD > NEW"
		return kindOfFile{"text in UTF-16", convert, convert, convert}
	case isELF(b):
		return kindOfFile{name: "an ELF file, as modules are", asCertificate: "the module comes last"}
	case len(b) == 0:
		return kindOfFile{name: "empty"}
	}
	if block, _ := pem.Decode(b); block != nil {
		return whatIsPEM(block.Type)
	}
	if what, _, ok := bytes.Cut(b, []byte("-----BEGIN ")); ok && len(what) < 4096 {
		const anew = "get the file anew"
		return kindOfFile{"PEM without its last line (-----END ...), or damaged", anew, anew, anew}
	}
	if len(b) > 0 && b[0] == derSequence {
		if is := whatIsDER(b); is.name != "" {
			return is
		}
	}
	return whatIsOther(b)
}

func whatIsPEM(label string) kindOfFile {
	switch {
	case strings.Contains(label, "PRIVATE KEY"):
		return kindOfFile{"a private key (PEM)", nameModule + ", and keep the key to yourself", swapPlaces + "<key>", ""}
	case label == "TRUSTED CERTIFICATE":
		const convert = "take OpenSSL's trust settings off: openssl x509 -in OLD -out NEW"
		return kindOfFile{"a certificate with trust settings (TRUSTED CERTIFICATE)", nameModule, convert, swapPlaces + "<x509>"}
	case label == "CERTIFICATE REQUEST" || label == "NEW CERTIFICATE REQUEST":
		return kindOfFile{"a certificate request", nameModule, "have it signed, or sign it yourself: openssl x509 -req -in OLD -key KEY -out NEW", ""}
	case strings.Contains(label, "CERTIFICATE"):
		return kindOfFile{"a certificate (PEM)", "trust it with --trusted, and " + nameModule, "", swapPlaces + "<x509>"}
	case label == "PKCS7" || label == "CMS":
		return kindOfFile{"a PKCS#7 message in PEM", "write it in DER (openssl pkcs7 -outform DER), which is what the kernel reads", "name the signer's certificate", ""}
	case label == "PUBLIC KEY":
		return kindOfFile{"a public key alone", nameModule, "a certificate has a name and a serial number too: sign-file keygen makes one with a key", ""}
	}
	return kindOfFile{"a PEM file with " + label, nameModule, "name a certificate", ""}
}

func whatIsDER(b []byte) kindOfFile {
	if message, err := cms.Parse(b); err == nil && len(message.Signers) > 0 {
		return kindOfFile{aMessage, "name the file that it signs too: sign-file verify --signature <message> <file>", "name the signer's certificate", ""}
	}
	if _, err := certificate.Parse(b); err == nil {
		return kindOfFile{"a certificate (DER)", "trust it with --trusted, and " + nameModule, "", swapPlaces + "<x509>"}
	}
	_, err := keys.Parse(b, nil)
	switch {
	case bytes.Contains(b[:min(len(b), 12)], []byte("\x02\x01\x03\x30")): // PFX, version 3 (RFC 7292, section 4)
		return kindOfFile{"a PKCS#12 file", nameModule, "get the certificate out: openssl pkcs12 -clcerts -nokeys -in OLD -out NEW", ""}
	case err == nil || errors.Is(err, keys.ErrNoPIN):
		return kindOfFile{"a private key (DER)", nameModule + ", and keep the key to yourself", swapPlaces + "<key>", ""}
	}
	return kindOfFile{}
}

func whatIsOther(b []byte) kindOfFile {
	if suffix := compressedAs(b); suffix != "" {
		return kindOfFile{name: "a compressed file", asModule: "give it a name that ends with " + suffix + ", so that what is inside is looked at"}
	}
	if _, err := mapvalue.Decode(b); err == nil {
		return kindOfFile{name: "a signed map value", asModule: "sign-file map verify checks it"}
	}
	if valueText(b) != nil {
		return kindOfFile{name: "text in hexadecimal", asModule: "turn it into bytes first (xxd -r -p)"}
	}
	return kindOfFile{}
}

// compressedAs is the suffix of modules that begin like a file.
func compressedAs(b []byte) string {
	for magic, suffix := range map[string]string{"\xfd7zXZ\x00": ".ko.xz", "\x28\xb5\x2f\xfd": ".ko.zst", "\x1f\x8b\x08": ".ko.gz"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return suffix
		}
	}
	return ""
}

// isELF reports whether a file begins as every module does.
func isELF(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

// valueText reads a value that was written as text: our own hex format, bpftool's dump
// (key: .. value: ..) and its JSON. It returns nil for anything else.
func valueText(b []byte) []byte {
	if !utf8.Valid(b) || len(b) == 0 {
		return nil
	}
	if value := jsonValue(b); value != nil {
		return value
	}
	text := string(b)
	if _, after, ok := strings.Cut(text, "value:"); ok {
		text, _, _ = strings.Cut(after, "Found ")
	}
	var digits strings.Builder
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) }) {
		word = strings.TrimPrefix(word, "0x")
		digits.WriteString(word)
	}
	value, err := hex.DecodeString(digits.String())
	if err != nil || len(value) == 0 {
		return nil
	}
	return value
}

// jsonValue finds the value in what bpftool -j map lookup and dump print: an array of
// hexadecimal strings.
func jsonValue(b []byte) []byte {
	type entry struct {
		Value []string `json:"value"`
	}
	var one entry
	if json.Unmarshal(b, &one) != nil || one.Value == nil {
		var all []entry
		if json.Unmarshal(b, &all) != nil || len(all) == 0 {
			return nil
		}
		one = all[0]
	}
	var value []byte
	for _, word := range one.Value {
		octet, err := hex.DecodeString(strings.TrimPrefix(word, "0x"))
		if err != nil || len(octet) != 1 {
			return nil
		}
		value = append(value, octet...)
	}
	return value
}

// valueMistake tells what is wrong with a value that is not laid out as one.
func valueMistake(value []byte) kindOfFile {
	if len(value) > mapvalue.HeaderSize {
		swapped := bytes.Clone(value)
		swapped[0], swapped[1], swapped[2], swapped[3] = value[3], value[2], value[1], value[0]
		if _, err := mapvalue.Decode(swapped); err == nil {
			return kindOfFile{name: "a value whose size has the wrong byte order", asModule: "write the size big-endian (htonl), as sign-file map sign does"}
		}
	}
	if _, err := modsig.Find(bytes.NewReader(value), int64(len(value))); err == nil {
		return kindOfFile{name: "a signed file without the size before it", asModule: "sign-file map wrap makes a value of it"}
	}
	if inside := valueText(value); inside != nil {
		what := "text in hexadecimal and not the value's bytes"
		if _, err := mapvalue.Decode(inside); err == nil {
			what += "; what it spells is a signed value"
		}
		return kindOfFile{name: what, asModule: "turn it into bytes first (xxd -r -p, or map sign without --format hex)"}
	}
	return whatIs(value)
}
