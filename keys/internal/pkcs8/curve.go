package pkcs8

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/scheme"
)

// checkCurve says why EC parameters (RFC 5480, section 2.1.1) can't be used, and nil
// where that is not their fault.
func checkCurve(parameters cryptobyte.String) error {
	if parameters.PeekASN1Tag(cbasn1.SEQUENCE) { // specifiedCurve
		return &CurveError{Explicit: true}
	}
	var oid asn1.ObjectIdentifier
	if !parameters.ReadASN1ObjectIdentifier(&oid) || scheme.CurveByOID(oid) != nil {
		return nil
	}
	return &CurveError{Name: cmp.Or(scheme.CurveName(oid), oid.String())}
}

// parseSEC1 reads an ECPrivateKey (RFC 5915).
func parseSEC1(der []byte) (crypto.Signer, error) {
	if key, ok := parseEC(der, nil); ok {
		return key, nil
	}
	key, err := x509.ParseECPrivateKey(der)
	if err == nil {
		return key, nil
	}
	if parameters, ok := sec1Parameters(der); ok {
		if curve := checkCurve(parameters); curve != nil {
			return nil, curve
		}
	}
	return nil, malformed(err)
}

// isSEC1 tells an ECPrivateKey from the other kinds of DER key: version 1, and then an
// OCTET STRING.
func isSEC1(der []byte) bool {
	_, ok := sec1Parameters(der)
	return ok
}

func sec1Parameters(der []byte) (parameters cryptobyte.String, ok bool) {
	input := cryptobyte.String(der)
	var key cryptobyte.String
	var version int
	ok = input.ReadASN1(&key, cbasn1.SEQUENCE) && // ECPrivateKey ::= SEQUENCE {
		key.ReadASN1Integer(&version) && version == 1 && // version INTEGER { ecPrivkeyVer1(1) },
		key.SkipASN1(cbasn1.OCTET_STRING) && // privateKey OCTET STRING,
		key.ReadOptionalASN1(&parameters, nil, tagExplicit0) // parameters [0] ECParameters OPTIONAL, ... }
	return parameters, ok
}
