package scheme

import "encoding/asn1"

// CurveName is OpenSSL's name of a curve that people try and kernels or this program do
// not have, or "".
func CurveName(oid asn1.ObjectIdentifier) string {
	return map[string]string{
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
	}[oid.String()]
}
