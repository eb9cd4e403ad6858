package pkcs8

import (
	"crypto"
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of RFC 7292, section 4, and RFC 2315.
var (
	oidPKCS7Data        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidKeyBag           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidPKCS8ShroudedBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	errMalformedPKCS12  = errors.New("malformed PKCS#12 file, or one in BER (convert it with: openssl pkcs12 -nodes)")
	errNoKeyInPKCS12    = &NoKeyError{Found: []string{"certificates in a PKCS#12 file"}}
	tagExplicit0        = cbasn1.Tag(0).ContextSpecific().Constructed()
)

// isPKCS12 tells a PFX from the other kinds of DER key: it begins with version 3
// and a ContentInfo.
func isPKCS12(der []byte) bool {
	_, ok := readPFX(der)
	return ok
}

func readPFX(der []byte) (authSafe cryptobyte.String, ok bool) {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	var version int
	ok = input.ReadASN1(&body, cbasn1.SEQUENCE) && // PFX ::= SEQUENCE {
		body.ReadASN1Integer(&version) && version == 3 && // version INTEGER {v3(3)},
		body.ReadASN1(&authSafe, cbasn1.SEQUENCE) // authSafe ContentInfo, macData MacData OPTIONAL }
	return authSafe, ok
}

// parsePKCS12 opens the first key of a PKCS#12 file. The MAC is not looked at: it
// vouches for certificates in the file, of which none is used, and a wrong
// passphrase or another key is found without it.
func parsePKCS12(der []byte, pin PINFunc) (crypto.Signer, error) {
	authSafe, ok := readPFX(der)
	if !ok {
		return nil, errMalformedPKCS12
	}
	content, plain, ok := readContentInfo(&authSafe)
	var safes cryptobyte.String
	if !ok || !plain || !content.ReadASN1(&safes, cbasn1.SEQUENCE) { // AuthenticatedSafe ::= SEQUENCE OF ContentInfo
		return nil, errMalformedPKCS12
	}
	for !safes.Empty() {
		var info, bags cryptobyte.String
		if !safes.ReadASN1(&info, cbasn1.SEQUENCE) {
			return nil, errMalformedPKCS12
		}
		content, plain, ok := readContentInfo(&info)
		if !ok {
			return nil, errMalformedPKCS12
		}
		if !plain {
			continue // certificates: keys are encrypted each for itself
		}
		if !content.ReadASN1(&bags, cbasn1.SEQUENCE) { // SafeContents ::= SEQUENCE OF SafeBag
			return nil, errMalformedPKCS12
		}
		if key, err := firstKey(bags, pin); err != errNoKeyInPKCS12 {
			return key, err
		}
	}
	return nil, errNoKeyInPKCS12
}

// readContentInfo returns the octets of a ContentInfo of type data; those of
// another type are not plain and not read.
func readContentInfo(body *cryptobyte.String) (content cryptobyte.String, plain, ok bool) {
	var oid asn1.ObjectIdentifier
	if !body.ReadASN1ObjectIdentifier(&oid) { // contentType OBJECT IDENTIFIER,
		return nil, false, false
	}
	if !oid.Equal(oidPKCS7Data) {
		return nil, false, true
	}
	var explicit cryptobyte.String
	ok = body.ReadASN1(&explicit, tagExplicit0) && // content [0] EXPLICIT
		explicit.ReadASN1(&content, cbasn1.OCTET_STRING) // OCTET STRING }
	return content, true, ok
}

func firstKey(bags cryptobyte.String, pin PINFunc) (crypto.Signer, error) {
	for !bags.Empty() { // SafeBag ::= SEQUENCE {
		var bag, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !bags.ReadASN1(&bag, cbasn1.SEQUENCE) ||
			!bag.ReadASN1ObjectIdentifier(&oid) || // bagId OBJECT IDENTIFIER,
			!bag.ReadASN1(&value, tagExplicit0) { // bagValue [0] EXPLICIT, bagAttributes SET OPTIONAL }
			return nil, errMalformedPKCS12
		}
		switch {
		case oid.Equal(oidKeyBag):
			return parsePrivateKeyInfo(value)
		case oid.Equal(oidPKCS8ShroudedBag):
			key, err := parseEncrypted(value, pin)
			var unread *EncryptionError
			if errors.As(err, &unread) {
				unread.PKCS12 = true
			}
			return key, err
		}
	}
	return nil, errNoKeyInPKCS12
}
