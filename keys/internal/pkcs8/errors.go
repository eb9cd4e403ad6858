package pkcs8

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPassphrase says that a passphrase does not open a key. None of the formats can
// tell a wrong one from a damaged file.
var ErrPassphrase = errors.New("wrong passphrase (or a damaged file)")

var (
	errMalformed           = errors.New("not a private key (want PKCS#8, PKCS#1 or SEC1), or truncated")
	errMalformedEncrypted  = errors.New("malformed encrypted private key, or truncated")
	errNotFIPS             = errors.New("the key is encrypted by means of MD5, SHA-1 or scrypt, which is not allowed in FIPS 140-only mode")
	errMalformedEncryption = errors.New("malformed encryption parameters")
)

func malformed(err error) error { return fmt.Errorf("malformed private key: %w", err) }

// NoKeyError says that a file holds no private key.
type NoKeyError struct {
	Found []string // the PEM types, or the like, of what it holds instead
	UTF16 bool     // the file is text in UTF-16, in which nothing was looked for
}

func (e *NoKeyError) Error() string {
	if len(e.Found) > 0 {
		return "no private key in it, only " + strings.Join(e.Found, ", ")
	}
	return "no private key in it (want PEM or DER: PKCS#8, PKCS#1, SEC1 or PKCS#12)"
}

// KeyTypeError says that a private key is of a type that signs no module: DSA, Ed25519,
// Ed448, RSA-PSS, or in a container of another world: OpenSSH.
type KeyTypeError struct {
	Type string
}

func (e *KeyTypeError) Error() string {
	switch e.Type {
	case "RSA-PSS":
		return "an RSA-PSS key; module signatures are PKCS#1 v1.5, which such a key must not make (use a plain RSA key)"
	case "OpenSSH":
		return "an OpenSSH key; convert it with ssh-keygen -p -m PKCS8"
	}
	return "a key of type " + e.Type + "; the kernel verifies RSA, ECDSA and ML-DSA"
}

// CurveError says that an EC key is on a curve that this program does not sign with.
type CurveError struct {
	Name     string // as OpenSSL calls the curve, or its object identifier
	Explicit bool   // the curve is spelled out instead of named: it may be a usual one
}

func (e *CurveError) Error() string {
	if e.Explicit {
		return "an EC key with explicit curve parameters instead of a curve's name"
	}
	return "an EC key on the curve " + e.Name + ", which is not supported"
}

// EncryptionError says that a key is encrypted in a way that OpenSSL knows, or may
// know, and this program does not.
type EncryptionError struct {
	Scheme string // OpenSSL's name, or the object identifier
	Legacy bool   // OpenSSL 3 reads it only with its legacy provider
	PKCS12 bool   // the key is in a PKCS#12 file
}

func (e *EncryptionError) Error() string {
	return "the key is encrypted with " + e.Scheme + ", which is not supported"
}

// unsupportedScheme is how an encryption that is not supported is called.
type unsupportedScheme struct {
	name   string
	legacy bool
}

// schemes returns encryptions, key derivations and ciphers that OpenSSL 3 knows: RFC 8018,
// appendices A.3 and B.2, RFC 7292, appendix C, and the registries of their makers.
func schemes() map[string]unsupportedScheme {
	return map[string]unsupportedScheme{
		"1.2.840.113549.1.5.1":  {"PBE-MD2-DES", true},
		"1.2.840.113549.1.5.3":  {"PBE-MD5-DES", true},
		"1.2.840.113549.1.5.4":  {"PBE-MD2-RC2-64", true},
		"1.2.840.113549.1.5.6":  {"PBE-MD5-RC2-64", true},
		"1.2.840.113549.1.5.10": {"PBE-SHA1-DES", true},
		"1.2.840.113549.1.5.11": {"PBE-SHA1-RC2-64", true},

		"1.2.840.113549.1.12.1.1": {"PBE-SHA1-RC4-128", true},
		"1.2.840.113549.1.12.1.2": {"PBE-SHA1-RC4-40", true},
		"1.2.840.113549.1.12.1.5": {"PBE-SHA1-RC2-128", true},
		"1.2.840.113549.1.12.1.6": {"PBE-SHA1-RC2-40", true},

		"1.2.392.200011.61.1.1.1.2": {"CAMELLIA-128-CBC", false},
		"1.2.392.200011.61.1.1.1.3": {"CAMELLIA-192-CBC", false},
		"1.2.392.200011.61.1.1.1.4": {"CAMELLIA-256-CBC", false},
		"1.2.410.200046.1.1.2":      {"ARIA-128-CBC", false},
		"1.2.410.200046.1.1.7":      {"ARIA-192-CBC", false},
		"1.2.410.200046.1.1.12":     {"ARIA-256-CBC", false},
		"1.2.156.10197.1.104.2":     {"SM4-CBC", false},
		"2.16.840.1.101.3.4.1.4":    {"AES-128-CFB", false},
		"2.16.840.1.101.3.4.1.24":   {"AES-192-CFB", false},
		"2.16.840.1.101.3.4.1.44":   {"AES-256-CFB", false},
		"2.16.840.1.101.3.4.1.3":    {"AES-128-OFB", false},
		"2.16.840.1.101.3.4.1.43":   {"AES-256-OFB", false},

		"1.2.410.200004.1.4":      {"SEED-CBC", true},
		"1.2.840.113549.3.2":      {"RC2-CBC", true},
		"1.2.840.113549.3.4":      {"RC4", true},
		"1.3.14.3.2.7":            {"DES-CBC", true},
		"1.3.6.1.4.1.3029.1.2":    {"BF-CBC", true},
		"1.2.840.113533.7.66.10":  {"CAST5-CBC", true},
		"1.3.6.1.4.1.188.7.1.1.2": {"IDEA-CBC", true},

		"1.2.840.113549.2.6":    {"hmacWithMD5", false},
		"1.2.156.10197.1.401.2": {"hmacWithSM3", false},
	}
}

// legacyCiphers begin the names in DEK-Info (RFC 1421) of OpenSSL's legacy provider.
var legacyCiphers = []string{"SEED-", "RC2-", "DES-CBC", "DES-CFB", "DES-OFB", "BF-", "CAST5-", "IDEA-"}

// unsupported is the error for an encryption that is known by its object identifier.
func unsupported(oid fmt.Stringer) error {
	if s, ok := schemes()[oid.String()]; ok {
		return &EncryptionError{Scheme: s.name, Legacy: s.legacy}
	}
	return &EncryptionError{Scheme: oid.String()}
}

// unsupportedName is the error for a cipher of DEK-Info.
func unsupportedName(cipher string) error {
	legacy := false
	for _, prefix := range legacyCiphers {
		legacy = legacy || strings.HasPrefix(cipher, prefix)
	}
	return &EncryptionError{Scheme: cipher, Legacy: legacy}
}
