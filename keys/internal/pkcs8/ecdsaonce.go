package pkcs8

import (
	"crypto/ecdsa"
	"crypto/fips140"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/ecdsaonce"
	"sign-file/internal/scheme"
)

// parseEC reads an ECPrivateKey (RFC 5915) on P-384 or P-521 without computing anything:
// crypto/x509 derives the public key anew, and builds a table for that which takes longer
// than a signature. ok is false for what is better read by crypto/x509: other curves, and
// a key without its public key.
func parseEC(der []byte, curve asn1.ObjectIdentifier) (key *ecdsaonce.PrivateKey, ok bool) {
	input := cryptobyte.String(der)
	var body, scalar, parameters, bits cryptobyte.String
	var version int
	var hasParameters, hasPublic bool
	tag := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	if !input.ReadASN1(&body, cbasn1.SEQUENCE) || // ECPrivateKey ::= SEQUENCE {
		!body.ReadASN1Integer(&version) || version != 1 || // version INTEGER { ecPrivkeyVer1(1) },
		!body.ReadASN1(&scalar, cbasn1.OCTET_STRING) || // privateKey OCTET STRING,
		!body.ReadOptionalASN1(&parameters, &hasParameters, tag(0)) || // parameters [0] ECParameters OPTIONAL,
		!body.ReadOptionalASN1(&bits, &hasPublic, tag(1)) || !hasPublic { // publicKey [1] BIT STRING OPTIONAL }
		return nil, false
	}
	if hasParameters && !parameters.ReadASN1ObjectIdentifier(&curve) {
		return nil, false
	}
	var point []byte
	named := scheme.CurveByOID(curve)
	if !ecdsaonce.Takes(named) || fips140.Enabled() || !bits.ReadASN1BitStringAsBytes(&point) {
		return nil, false
	}
	public, err := ecdsa.ParseUncompressedPublicKey(named, point)
	if err != nil {
		return nil, false
	}
	key, err = ecdsaonce.NewPrivateKey(scalar, public)
	return key, err == nil
}

// parsePKCS8EC is parseEC for a PrivateKeyInfo (RFC 5958) whose algorithm has been
// read.
func parsePKCS8EC(der []byte, parameters cryptobyte.String) (key *ecdsaonce.PrivateKey, ok bool) {
	input := cryptobyte.String(der)
	var info, inner cryptobyte.String
	var curve asn1.ObjectIdentifier
	if !parameters.ReadASN1ObjectIdentifier(&curve) ||
		!input.ReadASN1(&info, cbasn1.SEQUENCE) || // PrivateKeyInfo ::= SEQUENCE {
		!info.SkipASN1(cbasn1.INTEGER) || // version INTEGER,
		!info.SkipASN1(cbasn1.SEQUENCE) || // privateKeyAlgorithm AlgorithmIdentifier,
		!info.ReadASN1(&inner, cbasn1.OCTET_STRING) { // privateKey OCTET STRING, ... }
		return nil, false
	}
	return parseEC(inner, curve)
}
