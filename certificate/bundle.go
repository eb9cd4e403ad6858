package certificate

import (
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// bundleTypes are the PEM labels of files with several certificates.
var bundleTypes = []string{"CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CMS"}

var oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

// parseAll reads a PKCS#7 bundle, or certificates one after another. What follows
// the first and begins otherwise is ignored, as Parse does.
func parseAll(der []byte) ([]*Certificate, error) {
	if list, ok := bundle(der); ok {
		der = list
		if len(der) == 0 {
			return nil, errors.New("no certificate in this PKCS#7 bundle")
		}
	}
	var all []*Certificate
	for len(all) == 0 || isDER(der) {
		c, err := Parse(der)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		der = der[len(c.Raw):]
	}
	return all, nil
}

// bundle returns the certificates of a SignedData (RFC 5652, section 5.1), such as
// openssl crl2pkcs7 makes: without signers.
func bundle(der []byte) (certificates []byte, ok bool) {
	input := cryptobyte.String(der)
	var info, explicit, body, list cryptobyte.String
	var contentType asn1.ObjectIdentifier
	tag0 := cbasn1.Tag(0).ContextSpecific().Constructed()
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&contentType) ||
		!contentType.Equal(oidSignedData) ||
		!info.ReadASN1(&explicit, tag0) || !explicit.ReadASN1(&body, cbasn1.SEQUENCE) {
		return nil, false
	}
	if !body.SkipASN1(cbasn1.INTEGER) || // version CMSVersion,
		!body.SkipASN1(cbasn1.SET) || // digestAlgorithms DigestAlgorithmIdentifiers,
		!body.SkipASN1(cbasn1.SEQUENCE) || // encapContentInfo EncapsulatedContentInfo,
		!body.ReadOptionalASN1(&list, new(bool), tag0) { // certificates [0] OPTIONAL
		return nil, false
	}
	return list, true
}
