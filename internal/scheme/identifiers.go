package scheme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"

	"filippo.io/mldsa"

	"sign-file/digest"
	"sign-file/internal/fips204"
)

// OIDRSA is rsaEncryption (RFC 8017, appendix C).
func OIDRSA() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} }

// OIDECPublicKey is id-ecPublicKey (RFC 5480, section 2.1.1).
func OIDECPublicKey() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} }

// CurveByOID returns one of the curves that crypto/ecdsa has (RFC 5480, section
// 2.1.1.1), or nil.
func CurveByOID(oid asn1.ObjectIdentifier) elliptic.Curve {
	switch oid.String() {
	case "1.2.840.10045.3.1.7":
		return elliptic.P256()
	case "1.3.132.0.33":
		return elliptic.P224()
	case "1.3.132.0.34":
		return elliptic.P384()
	case "1.3.132.0.35":
		return elliptic.P521()
	}
	return nil
}

// Signature is the algorithm of a signature value in a SignerInfo. It has no parameters,
// but NULL for RSA (RFC 3370, section 3.2; RFC 5758, section 3.2; RFC 9882, section 4).
// ok is false for keys that sign nothing here, and for hashes that ECDSA has no
// identifier for. With RSA it is rsaEncryption, whatever the hash is:
// sha256WithRSAEncryption and its like are refused by the kernel.
func Signature(public crypto.PublicKey, hash *digest.Algorithm) (oid asn1.ObjectIdentifier, null, ok bool) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return OIDRSA(), true, true
	case *ecdsa.PublicKey:
		return hash.ECDSA(), false, hash.ECDSA() != nil
	case *mldsa.PublicKey:
		return fips204.OID(key.Parameters()), false, true
	}
	return nil, false, false
}

// CertificateSignature is Signature for a certificate, where RSA names the hash (RFC
// 4055, section 5; RFC 5758, section 3.2; RFC 9881, section 2). The hashes are those that
// CONFIG_MODULE_SIG_HASH can name.
func CertificateSignature(public crypto.PublicKey, hash *digest.Algorithm) (oid asn1.ObjectIdentifier, null, ok bool) {
	if _, isRSA := public.(*rsa.PublicKey); isRSA {
		oid = rsaWith(hash)
		return oid, true, oid != nil
	}
	return Signature(public, hash)
}

// rsaWith are the identifiers of RSA with a hash (RFC 8017, appendix C; NIST CSOR sigAlgs).
func rsaWith(hash *digest.Algorithm) asn1.ObjectIdentifier {
	switch hash {
	case digest.SHA256:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	case digest.SHA384:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	case digest.SHA512:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
	case digest.SHA3_256:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 14}
	case digest.SHA3_384:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 15}
	case digest.SHA3_512:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 16}
	}
	return nil
}
