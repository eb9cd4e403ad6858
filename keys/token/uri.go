package token

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"sign-file/internal/bounded"
)

// uriScheme is what sign-file tests the key operand for, in lower case only.
const uriScheme = "pkcs11:"

// IsURI tells a pkcs11: URI from a file's name as sign-file does.
func IsURI(reference string) bool { return strings.HasPrefix(reference, uriScheme) }

// Show writes a pkcs11: URI as it may be printed: what names the key, and neither the
// PIN nor attributes that nobody knows. Of a malformed URI nothing is sure, so only the
// scheme is left.
func Show(reference string) string {
	u, err := parseURI(reference)
	if err != nil {
		return uriScheme + "..."
	}
	return u.String()
}

// uri is a PKCS#11 URI (RFC 7512): attributes by name, percent-decoded. It names
// objects on tokens, and may say where PIN and module are.
type uri map[string]string

// uriAttributes are the attributes that are looked at. Others are ignored, as
// OpenSSL's provider does and its engine does not.
var uriAttributes = []string{
	"token", "manufacturer", "model", "serial", "slot-id", "slot-description", "slot-manufacturer",
	"object", "id", "type", "pin-value", "pin-source", "module-path",
}

// parseURI splits at ";", "?" and "&" wherever they are, as both OpenSSL back
// ends do, so that pin-value is found in the path too. Its errors hold no value:
// a PIN with one of these characters unescaped falls into pieces.
func parseURI(reference string) (uri, error) {
	rest, ok := strings.CutPrefix(reference, uriScheme)
	if !ok {
		return nil, errors.New("not a pkcs11: URI")
	}
	u := uri{}
	pieces := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(";?&", r) })
	for i, piece := range pieces {
		name, escaped, ok := strings.Cut(piece, "=")
		if !ok {
			return nil, fmt.Errorf("part %d of the URI has no \"=\" (write ; as %%3B, ? as %%3F and & as %%26 in a value)", i+1)
		}
		if name == "object-type" {
			name = "type" // so it was called before RFC 7512
		}
		if !slices.Contains(uriAttributes, name) {
			continue
		}
		if _, twice := u[name]; twice {
			return nil, fmt.Errorf("%s is in the URI twice", name)
		}
		value, err := unescapeValue(name, escaped)
		if err != nil {
			return nil, fmt.Errorf("%s in the URI: %w", name, err)
		}
		u[name] = value
	}
	return u, nil
}

// parseKeyURI reads a URI that is to name a private key.
func parseKeyURI(reference string) (uri, error) {
	u, err := parseURI(reference)
	if kind := u["type"]; kind != "" && kind != "private" {
		return nil, fmt.Errorf("type=%s in the URI names no private key (leave type out)", escapeValue(kind))
	}
	return u, err
}

// parseCertificateURI reads a URI that is to name a certificate.
func parseCertificateURI(reference string) (uri, error) {
	u, err := parseURI(reference)
	if kind := u["type"]; kind != "" && kind != "cert" {
		return nil, fmt.Errorf("type=%s in the URI names no certificate (leave type out)", escapeValue(kind))
	}
	return u, err
}

// unescapeValue refuses a zero byte in all but the id, which is binary: the others
// end up as C strings, and would end there.
func unescapeValue(name, escaped string) (string, error) {
	value, err := url.PathUnescape(escaped)
	switch {
	case err != nil:
		return "", errors.New("bad percent-encoding (write % as %25)") // err has the value
	case name != "id" && strings.Contains(value, "\x00"):
		return "", errors.New("has a zero byte")
	case name != "pin-value" && strings.Contains(strings.ToLower(value), "pin-value"):
		return "", errors.New("has pin-value in it (attributes end with ;)") // or the PIN would be printed with it
	}
	return value, nil
}

// String writes the known attributes back, without the PIN. A pin-source is written
// only if it is a path, because people put the PIN itself or a command there.
func (u uri) String() string {
	var parts []string
	for _, name := range uriAttributes {
		value, ok := u[name]
		switch {
		case !ok || name == "pin-value":
		case name == "pin-source" && !isPath(value):
			parts = append(parts, name+"=...")
		default:
			parts = append(parts, name+"="+escapeValue(value))
		}
	}
	return uriScheme + strings.Join(parts, ";")
}

// escapeValue leaves the unreserved characters of RFC 3986 and what paths and
// file: URIs are read by; a raw id is binary.
func escapeValue(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// objects is the part of the URI that tells one object of a token from another.
func (u uri) objects() string {
	return u.pick("object", "id").describe("any object")
}

// tokens is the part of the URI that tells one token from another.
func (u uri) tokens() string {
	return u.pick(uriAttributes[:7]...).describe("any token")
}

func (u uri) pick(names ...string) uri {
	picked := uri{}
	for _, name := range names {
		if value, ok := u[name]; ok {
			picked[name] = value
		}
	}
	return picked
}

func (u uri) describe(empty string) string {
	if len(u) == 0 {
		return empty
	}
	return strings.TrimPrefix(u.String(), uriScheme)
}

// pin returns the PIN that the URI holds or points to, nil if it does neither.
func (u uri) pin() ([]byte, error) {
	value, hasValue := u["pin-value"]
	source, hasSource := u["pin-source"]
	switch {
	case hasValue && hasSource:
		return nil, errors.New("the URI has both pin-value and pin-source")
	case hasValue:
		return checkPIN("pin-value", []byte(value))
	case hasSource:
		return pinFile(source)
	}
	return nil, nil
}

// sourcePath is the file of a pin-source: "file:/f", "file:///f" or a bare file name.
func sourcePath(source string) string {
	path := strings.TrimPrefix(source, "file:")
	if strings.HasPrefix(path, "//") && path != source {
		path = strings.TrimPrefix(strings.TrimPrefix(path, "//"), "localhost")
	}
	return path
}

func isPath(source string) bool {
	path := sourcePath(source)
	return strings.Contains(path, "/") && !strings.HasPrefix(path, "|")
}

// pinFile reads pin-source. The line end that editors leave is not part of the PIN.
func pinFile(source string) ([]byte, error) {
	path := sourcePath(source)
	if strings.HasPrefix(path, "|") {
		return nil, errors.New("pin-source: a command is not run; name a file")
	}
	text, err := bounded.ReadFile(path, MaxPINSize+int64(len("\r\n")))
	var pathErr *fs.PathError
	var tooLarge *bounded.TooLargeError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLong("pin-source")
	case errors.As(err, &pathErr) && !isPath(source):
		return nil, fmt.Errorf("pin-source: the file that it names: %w", pathErr.Err) // its name may be the PIN
	case err != nil:
		return nil, fmt.Errorf("pin-source: %w", err)
	}
	line, _ := bytes.CutSuffix(text, []byte("\n"))
	line, _ = bytes.CutSuffix(line, []byte("\r"))
	return checkPIN("pin-source", line)
}

func errTooLong(from string) error {
	return fmt.Errorf("%s is longer than %d bytes", from, MaxPINSize)
}

func checkPIN(from string, pin []byte) ([]byte, error) {
	if len(pin) > MaxPINSize {
		clear(pin)
		return nil, errTooLong(from)
	}
	return pin, nil
}
