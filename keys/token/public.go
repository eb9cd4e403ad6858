//go:build cgo

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/certificate"
	"sign-file/internal/scheme"
)

// publicKey looks for the public half of a private key: in the key itself, in a
// public key with its CKA_ID, in a certificate with its CKA_ID. Tokens need have
// none of them, and then it is nil.
func (t *token) publicKey(session pkcs11.SessionHandle, private pkcs11.ObjectHandle) crypto.PublicKey {
	if key := t.publicFrom(session, private); key != nil {
		return key
	}
	id := t.attribute(session, private, pkcs11.CKA_ID)
	if len(id) == 0 {
		return nil
	}
	same := uri{"id": string(id)}
	if found, err := t.find(session, pkcs11.CKO_PUBLIC_KEY, same); err == nil && len(found) == 1 {
		if key := t.publicFrom(session, found[0]); key != nil {
			return key
		}
	}
	if found, err := t.find(session, pkcs11.CKO_CERTIFICATE, same); err == nil && len(found) == 1 {
		return certificateKey(t.attribute(session, found[0], pkcs11.CKA_VALUE))
	}
	return nil
}

func certificateKey(der []byte) crypto.PublicKey {
	c, err := certificate.Parse(der)
	if err != nil {
		return nil
	}
	key, err := c.PublicKey()
	if err != nil {
		return nil
	}
	return key
}

// publicFrom reads a public key from the attributes of a public or private one.
func (t *token) publicFrom(session pkcs11.SessionHandle, object pkcs11.ObjectHandle) crypto.PublicKey {
	modulus := t.attribute(session, object, pkcs11.CKA_MODULUS)
	if exponent := new(big.Int).SetBytes(t.attribute(session, object, pkcs11.CKA_PUBLIC_EXPONENT)); len(modulus) > 0 && exponent.Sign() > 0 {
		if exponent.BitLen() > 31 {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(exponent.Int64())}
	}
	curve := namedCurve(t.attribute(session, object, pkcs11.CKA_EC_PARAMS))
	if curve == nil {
		return nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, ecPoint(t.attribute(session, object, pkcs11.CKA_EC_POINT)))
	if err != nil {
		return nil
	}
	return key
}

// ecPoint takes the OCTET STRING off a CKA_EC_POINT. Some tokens leave it out.
func ecPoint(value []byte) []byte {
	input, point := cryptobyte.String(value), cryptobyte.String(nil)
	if input.ReadASN1(&point, cbasn1.OCTET_STRING) && input.Empty() {
		return point
	}
	return value
}

// namedCurve reads ECParameters (RFC 5480) of the curves that crypto/ecdsa has.
func namedCurve(params []byte) elliptic.Curve {
	input := cryptobyte.String(params)
	var oid asn1.ObjectIdentifier
	if !input.ReadASN1ObjectIdentifier(&oid) {
		return nil
	}
	return scheme.CurveByOID(oid)
}
