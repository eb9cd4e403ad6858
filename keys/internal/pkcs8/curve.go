package pkcs8

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/scheme"
)

// curveNames are OpenSSL's names of curves that people try.
var curveNames = map[string]string{
	"1.2.840.10045.3.1.1":   "prime192v1",
	"1.2.156.10197.1.301":   "SM2",
	"1.3.132.0.10":          "secp256k1",
	"1.3.36.3.3.2.8.1.1.1":  "brainpoolP160r1",
	"1.3.36.3.3.2.8.1.1.3":  "brainpoolP192r1",
	"1.3.36.3.3.2.8.1.1.5":  "brainpoolP224r1",
	"1.3.36.3.3.2.8.1.1.7":  "brainpoolP256r1",
	"1.3.36.3.3.2.8.1.1.8":  "brainpoolP256t1",
	"1.3.36.3.3.2.8.1.1.9":  "brainpoolP320r1",
	"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
	"1.3.36.3.3.2.8.1.1.12": "brainpoolP384t1",
	"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
	"1.3.36.3.3.2.8.1.1.14": "brainpoolP512t1",
	"1.2.643.2.2.35.1":      "GOST R 34.10-2001 A",
	"1.2.643.7.1.2.1.1.1":   "GOST R 34.10-2012 256 A",
	"1.3.132.0.31":          "secp192k1",
	"1.3.132.0.32":          "secp224k1",
}

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
	if name := curveNames[oid.String()]; name != "" {
		return &CurveError{Name: name}
	}
	return &CurveError{Name: oid.String()}
}

// parseSEC1 reads an ECPrivateKey (RFC 5915).
func parseSEC1(der []byte) (crypto.Signer, error) {
	if key, ok := parseP384(der, nil); ok {
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
