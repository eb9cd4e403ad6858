package cms

import (
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSize is the longest message that the kernel's ASN.1 decoder takes, in
// bytes (asn1_ber_decoder: EMSGSIZE above).
const MaxSize = 65535

// SyntaxError is a message that is not what sign-file or OpenSSL write. The kernel may
// take it all the same: see package kernel.
type SyntaxError struct {
	Reason string // lower case, no period
}

func (e *SyntaxError) Error() string { return e.Reason }

func syntax(format string, args ...any) error {
	return &SyntaxError{fmt.Sprintf(format, args...)}
}

func malformed(what string) error { return syntax("malformed %s, or not DER", what) }

// Parse reads a DER ContentInfo that holds a SignedData and nothing behind it.
// It is stricter than the kernel, which reads BER and ignores what follows. An error is
// a *SyntaxError.
func Parse(der []byte) (*SignedData, error) {
	if len(der) > MaxSize {
		return nil, syntax("a message of %d bytes is longer than the kernel reads (%d)", len(der), MaxSize)
	}
	input := cryptobyte.String(der)
	var info, explicit, body cryptobyte.String
	var contentType asn1.ObjectIdentifier
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) { // ContentInfo ::= SEQUENCE {
		return nil, syntax("not a DER PKCS#7 message")
	}
	if !input.Empty() {
		return nil, syntax("%d bytes follow the PKCS#7 message (the kernel ignores them, and no signer writes them)", len(input))
	}
	if !info.ReadASN1ObjectIdentifier(&contentType) || // contentType ContentType,
		!info.ReadASN1(&explicit, tag0Constructed) || !info.Empty() { // content [0] EXPLICIT
		return nil, malformed("ContentInfo")
	}
	if !contentType.Equal(oidSignedData) {
		return nil, syntax("content type %v is not signedData", contentType)
	}
	if !explicit.ReadASN1(&body, cbasn1.SEQUENCE) || !explicit.Empty() { // SignedData }
		return nil, malformed("SignedData")
	}
	return parseSignedData(body)
}

func parseSignedData(body cryptobyte.String) (*SignedData, error) { // SignedData ::= SEQUENCE {
	var s SignedData
	var algorithms, content, signers cryptobyte.String
	if !body.ReadASN1Integer(&s.Version) || // version CMSVersion,
		!body.ReadASN1(&algorithms, cbasn1.SET) || // digestAlgorithms DigestAlgorithmIdentifiers,
		!body.ReadASN1(&content, cbasn1.SEQUENCE) || // encapContentInfo SEQUENCE {
		!content.ReadASN1ObjectIdentifier(&s.ContentType) { // eContentType ContentType,
		return nil, malformed("SignedData")
	}
	if s.Version != 1 && s.Version != 3 {
		return nil, syntax("SignedData version %d is neither 1 nor 3", s.Version)
	}
	s.DigestAlgorithms = algorithms
	if err := eachAlgorithm(algorithms); err != nil {
		return nil, err
	}
	if !readOptional(&content, &s.Content, tag0Constructed) || !content.Empty() { // eContent [0] OPTIONAL },
		return nil, malformed("encapContentInfo")
	}
	if !readOptional(&body, &s.Certificates, tag0Constructed) || // certificates [0] OPTIONAL,
		!readOptional(&body, &s.CRLs, tag1Constructed) { // crls [1] OPTIONAL,
		return nil, malformed("certificates in SignedData")
	}
	if !body.ReadASN1(&signers, cbasn1.SET) || !body.Empty() { // signerInfos SET OF SignerInfo }
		return nil, malformed("signerInfos")
	}
	for !signers.Empty() {
		signer, err := parseSigner(&signers)
		if err != nil {
			return nil, err
		}
		if signer.Version != s.Version {
			return nil, syntax("SignedData version %d with SignerInfo version %d", s.Version, signer.Version)
		}
		s.Signers = append(s.Signers, *signer)
	}
	if len(s.Signers) == 0 {
		return nil, syntax("SignedData without a signer")
	}
	return &s, nil
}

func parseSigner(signers *cryptobyte.String) (*SignerInfo, error) { // SignerInfo ::= SEQUENCE {
	var s SignerInfo
	var body, signature cryptobyte.String
	if !signers.ReadASN1(&body, cbasn1.SEQUENCE) ||
		!body.ReadASN1Integer(&s.Version) || // version CMSVersion,
		!s.ID.read(&body) { // sid SignerIdentifier,
		return nil, malformed("SignerInfo")
	}
	if want := map[bool]int{false: 1, true: 3}[s.ID.ByKeyID()]; s.Version != want {
		return nil, syntax("SignerInfo version %d does not go with the way the signer is named (version %d)", s.Version, want)
	}
	if !s.Digest.read(&body) || // digestAlgorithm DigestAlgorithmIdentifier,
		!readOptional(&body, &s.SignedAttributes, tag0Constructed) || // signedAttrs [0] OPTIONAL,
		!s.Algorithm.read(&body) || // signatureAlgorithm SignatureAlgorithmIdentifier,
		!body.ReadASN1(&signature, cbasn1.OCTET_STRING) || // signature SignatureValue,
		!readOptional(&body, &s.UnsignedAttributes, tag1Constructed) || // unsignedAttrs [1] OPTIONAL }
		!body.Empty() {
		return nil, malformed("SignerInfo")
	}
	s.Signature = signature
	return &s, nil
}

func (id *SignerID) read(body *cryptobyte.String) bool { // SignerIdentifier ::= CHOICE {
	if body.PeekASN1Tag(tag0Primitive) { // subjectKeyIdentifier [0] IMPLICIT,
		return body.ReadASN1((*cryptobyte.String)(&id.SubjectKeyID), tag0Primitive)
	}
	var pair, issuer, serial cryptobyte.String
	if !body.ReadASN1(&pair, cbasn1.SEQUENCE) || // issuerAndSerialNumber SEQUENCE {
		!pair.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || // issuer Name,
		!pair.ReadASN1Element(&serial, cbasn1.INTEGER) || // serialNumber CertificateSerialNumber } }
		!pair.Empty() || !isName(issuer) {
		return false
	}
	id.Issuer, id.Serial = issuer, serial
	return true
}

// isName checks a Name (RFC 5280, section 4.1.2.4) down to where the kernel's
// pkcs7.asn1 looks; nothing is made of it.
func isName(element cryptobyte.String) bool {
	var name cryptobyte.String
	ok := element.ReadASN1(&name, cbasn1.SEQUENCE) // Name ::= SEQUENCE OF
	for ok && !name.Empty() {
		var rdn cryptobyte.String
		ok = name.ReadASN1(&rdn, cbasn1.SET) // RelativeDistinguishedName ::= SET OF
		for ok && !rdn.Empty() {
			var attribute cryptobyte.String
			ok = rdn.ReadASN1(&attribute, cbasn1.SEQUENCE) && // AttributeTypeAndValue ::= SEQUENCE {
				attribute.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && // type OBJECT IDENTIFIER,
				attribute.ReadAnyASN1Element(new(cryptobyte.String), new(cbasn1.Tag)) && // value ANY }
				attribute.Empty()
		}
	}
	return ok
}

func (a *AlgorithmIdentifier) read(from *cryptobyte.String) bool {
	var body cryptobyte.String
	if !from.ReadASN1(&body, cbasn1.SEQUENCE) || // AlgorithmIdentifier ::= SEQUENCE {
		!body.ReadASN1ObjectIdentifier(&a.OID) { // algorithm OBJECT IDENTIFIER,
		return false
	}
	if body.Empty() {
		return true
	}
	var parameters cryptobyte.String
	if !body.ReadAnyASN1Element(&parameters, new(cbasn1.Tag)) || !body.Empty() { // parameters ANY OPTIONAL }
		return false
	}
	a.Parameters = parameters
	return true
}

// eachAlgorithm checks that the SET holds AlgorithmIdentifiers and nothing else.
func eachAlgorithm(set cryptobyte.String) error {
	for !set.Empty() {
		if !new(AlgorithmIdentifier).read(&set) {
			return malformed("digestAlgorithms")
		}
	}
	return nil
}

// readOptional reads an element with its header, and leaves out nil if the next
// element has another tag.
func readOptional(from *cryptobyte.String, out *[]byte, tag cbasn1.Tag) bool {
	if !from.PeekASN1Tag(tag) {
		return true
	}
	return from.ReadASN1Element((*cryptobyte.String)(out), tag)
}
