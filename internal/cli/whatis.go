package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/internal/compressed"
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

// named is the name, and the way out where there is one.
func (k kindOfFile) named() string {
	if k.asModule == "" {
		return k.name
	}
	return k.name + ": " + k.asModule
}

const (
	aMessage   = "a bare PKCS#7 message"
	aValue     = "a signed map value"
	aSkeleton  = "a skeleton of bpftool"
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
		return kindOfFile{name: "an ELF file, as modules are", asCertificate: "the module comes last", asKey: "the module comes last"}
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
		return kindOfFile{"a certificate request", nameModule, "have it signed, or sign it yourself: openssl x509 -req -in OLD -key KEY -out NEW", "the key that it was made with is in another file"}
	case strings.Contains(label, "CERTIFICATE"):
		return kindOfFile{"a certificate (PEM)", "trust it with --trusted, and " + nameModule, "", swapPlaces + "<x509>"}
	case label == "PKCS7":
		return kindOfFile{"a PKCS#7 message in PEM", "write it in DER (openssl pkcs7 -outform DER), which is what the kernel reads", "name the signer's certificate", "name the key's file"}
	case label == "CMS":
		return kindOfFile{"a PKCS#7 message in PEM", "write it in DER (openssl cms -cmsout -inform PEM -outform DER), which is what the kernel reads", "name the signer's certificate", "name the key's file"}
	case label == "PUBLIC KEY":
		return kindOfFile{"a public key alone", nameModule, "a certificate has a name and a serial number too: sign-file keygen makes one with a key", "the private key is in another file"}
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
	if _, err := x509.ParseCertificateRequest(b); err == nil {
		return whatIsPEM("CERTIFICATE REQUEST")
	}
	if _, err := x509.ParsePKIXPublicKey(b); err == nil {
		return whatIsPEM("PUBLIC KEY")
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
	if bytes.Contains(b, []byte("AUTOGENERATED BY BPFTOOL")) {
		return kindOfFile{name: aSkeleton, asModule: "sign-file bpf signs and verifies it"}
	}
	if suffix := compressed.Suffix(b); suffix != "" {
		return kindOfFile{name: "a compressed file", asModule: "give it a name that ends with " + suffix + ", so that what is inside is looked at"}
	}
	if _, err := mapvalue.Decode(b); err == nil {
		return kindOfFile{name: aValue, asModule: "sign-file map verify checks it"}
	}
	if valueText(b) != nil {
		return kindOfFile{name: "text in hexadecimal", asModule: "turn it into bytes first (xxd -r -p)"}
	}
	if first, _, _ := strings.Cut(string(b), "\n"); strings.Contains(first, "sign-file") && strings.Contains(string(b), "\nkey ") {
		return kindOfFile{"a key reference with another first line", nameModule, "name the signer's certificate", "its first line has to be: sign-file key reference"}
	}
	text := strings.Join(strings.Fields(string(b)), "")
	if der, err := base64.StdEncoding.DecodeString(text); err == nil && len(der) > 0 && len(text) >= 40 {
		return kindOfFile{name: "text in base64", asModule: "turn it into bytes first (base64 -d)"}
	}
	return kindOfFile{}
}

// isELF reports whether a file begins as every module does.
func isELF(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

// valueText reads a value that was written as text: our own hex and c formats, bpftool's
// dump (key: .. value: ..) and its JSON. It returns nil for anything else.
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
	if _, after, ok := strings.Cut(text, "{"); ok { // a C array
		text, _, _ = strings.Cut(after, "}")
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

// valueMistake tells what is wrong with a value that is not laid out as one, and whether
// what is to be done then is about values.
func valueMistake(value []byte) (is kindOfFile, ofValue bool) {
	if len(value) > mapvalue.HeaderSize {
		swapped := bytes.Clone(value)
		swapped[0], swapped[1], swapped[2], swapped[3] = value[3], value[2], value[1], value[0]
		if _, err := mapvalue.Decode(swapped); err == nil {
			return kindOfFile{name: "a value whose size has the wrong byte order", asModule: "write the size big-endian (htonl), as sign-file map sign does"}, true
		}
	}
	if _, err := modsig.Find(bytes.NewReader(value), int64(len(value))); err == nil {
		return kindOfFile{name: "a signed file, and its size is missing or wrong", asModule: fmt.Sprintf("where it is missing sign-file map wrap makes a value of the file, and where it is wrong it has to be %d, big-endian", len(value)-mapvalue.HeaderSize)}, true
	}
	if inside := valueText(value); inside != nil {
		what := "text in hexadecimal and not the value's bytes"
		if _, err := mapvalue.Decode(inside); err == nil {
			what += "; what it spells is a signed value"
		}
		return kindOfFile{name: what, asModule: "turn it into bytes first (xxd -r -p, or map sign without --format hex)"}, true
	}
	return whatIs(value), false
}
