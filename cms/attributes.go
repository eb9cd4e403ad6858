package cms

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SignedAttributes returns the attributes that OpenSSL signs where nothing else is
// asked for (RFC 5652, section 11): the content's type, which is id-data here, and
// its digest.
func SignedAttributes(digest []byte) []byte {
	attribute := func(oid asn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) cryptobyte.BuilderContinuation {
		return func(b *cryptobyte.Builder) { // Attribute ::= SEQUENCE {
			b.AddASN1ObjectIdentifier(oid) // attrType OBJECT IDENTIFIER,
			b.AddASN1(cbasn1.SET, value)   // attrValues SET OF }
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(tag0Constructed, func(b *cryptobyte.Builder) { // in DER's order: the shorter one first
		b.AddASN1(cbasn1.SEQUENCE, attribute(oidContentType, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidData)
		}))
		b.AddASN1(cbasn1.SEQUENCE, attribute(oidMessageDigest, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(digest)
		}))
	})
	return b.BytesOrPanic()
}

// SignedBytes returns what a signature over signed attributes covers: their
// DER with the SET tag in place of [0] (RFC 5652, section 5.4).
func (s *SignerInfo) SignedBytes() []byte {
	if len(s.SignedAttributes) == 0 {
		return nil
	}
	b := append([]byte(nil), s.SignedAttributes...)
	b[0] = byte(cbasn1.SET)
	return b
}

// MessageDigest reads the signed attributes and returns the digest of the
// content that they name. contentType must be among them and equal want, and no
// attribute may come twice, as in the kernel's pkcs7_sig_note_authenticated_attr.
func (s *SignerInfo) MessageDigest(want asn1.ObjectIdentifier) ([]byte, error) {
	var contentType asn1.ObjectIdentifier
	var digest []byte
	attributes := cryptobyte.String(s.SignedAttributes)
	var set cryptobyte.String
	if !attributes.ReadASN1(&set, tag0Constructed) {
		return nil, malformed("signed attributes")
	}
	seen := map[string]bool{}
	for !set.Empty() { // SET OF Attribute ::= SEQUENCE {
		var attribute, values cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !set.ReadASN1(&attribute, cbasn1.SEQUENCE) ||
			!attribute.ReadASN1ObjectIdentifier(&oid) || // attrType OBJECT IDENTIFIER,
			!attribute.ReadASN1(&values, cbasn1.SET) || !attribute.Empty() { // attrValues SET OF }
			return nil, malformed("signed attribute")
		}
		if seen[oid.String()] {
			return nil, syntax("signed attribute %v comes twice", oid)
		}
		seen[oid.String()] = true
		ok := true
		switch {
		case oid.Equal(oidContentType):
			ok = values.ReadASN1ObjectIdentifier(&contentType) && values.Empty()
		case oid.Equal(oidMessageDigest):
			ok = values.ReadASN1((*cryptobyte.String)(&digest), cbasn1.OCTET_STRING) && values.Empty()
		}
		if !ok {
			return nil, malformed("signed attribute " + oid.String())
		}
	}
	if contentType == nil || digest == nil {
		return nil, syntax("signed attributes lack contentType or messageDigest")
	}
	if !contentType.Equal(want) {
		return nil, syntax("signed content type %v is not that of the message", contentType)
	}
	return digest, nil
}
