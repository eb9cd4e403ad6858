// Package cms writes and reads the one kind of CMS SignedData (RFC 5652) that
// the kernel's module signatures use: detached content of type id-data, one or
// more signers. It knows no files, no keys and no hash functions.
//
// Everything that identifies or parametrises a signer is kept as the DER that
// was read, so that what Parse takes, Marshal gives back byte for byte.
package cms

import (
	"bytes"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of RFC 5652, sections 4, 5.1 and 11.
var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
)

// Context-specific tags of SignedData and SignerInfo.
var (
	tag0Constructed = cbasn1.Tag(0).ContextSpecific().Constructed()
	tag1Constructed = cbasn1.Tag(1).ContextSpecific().Constructed()
	tag0Primitive   = cbasn1.Tag(0).ContextSpecific()
)

// SignedData is RFC 5652, section 5.1.
type SignedData struct {
	// Version is 1 for signers named by issuer and serial number, 3 for
	// signers named by subject key identifier.
	Version int
	// DigestAlgorithms is the content of the SET, one AlgorithmIdentifier
	// after another. The kernel ignores it.
	DigestAlgorithms []byte
	// ContentType is id-data in all that sign-file writes.
	ContentType asn1.ObjectIdentifier
	// Content is the [0] eContent element with its header; nil when detached.
	Content []byte
	// Certificates and CRLs are the [0] and [1] elements with their headers;
	// nil when absent.
	Certificates []byte
	CRLs         []byte
	Signers      []SignerInfo
}

// SignerInfo is how one signer signed, RFC 5652, section 5.3.
type SignerInfo struct {
	Version int
	ID      SignerID

	Digest AlgorithmIdentifier
	// SignedAttributes is the [0] element with its header; nil when absent.
	SignedAttributes []byte
	Algorithm        AlgorithmIdentifier
	Signature        []byte
	// UnsignedAttributes is the [1] element with its header; nil when absent.
	UnsignedAttributes []byte
}

// SignerID is a SignerIdentifier: either Issuer and Serial, or SubjectKeyID.
type SignerID struct {
	Issuer       []byte // the Name, DER, raw from the certificate
	Serial       []byte // the INTEGER, DER, raw from the certificate
	SubjectKeyID []byte // the value of the extension's OCTET STRING
}

// ByKeyID reports whether the signer is named by subject key identifier.
func (id SignerID) ByKeyID() bool { return id.Issuer == nil }

// AlgorithmIdentifier is RFC 5280, section 4.1.1.2.
type AlgorithmIdentifier struct {
	OID asn1.ObjectIdentifier
	// Parameters is the DER of the parameters; nil when absent.
	Parameters []byte
}

// null is the DER of the parameters NULL.
const null = "\x05\x00"

// WithNull returns an AlgorithmIdentifier whose parameters are NULL.
func WithNull(oid asn1.ObjectIdentifier) AlgorithmIdentifier {
	return AlgorithmIdentifier{OID: oid, Parameters: []byte(null)}
}

// HasAbsentOrNullParameters reports whether the parameters carry nothing.
func (a AlgorithmIdentifier) HasAbsentOrNullParameters() bool {
	return a.Parameters == nil || string(a.Parameters) == null
}

// New returns the message that sign-file writes: one signer, no certificates,
// and the version that goes with the way the signer is named.
func New(signer SignerInfo) *SignedData {
	signer.Version = 1
	if signer.ID.ByKeyID() {
		signer.Version = 3
	}
	var algorithms cryptobyte.Builder
	signer.Digest.add(&algorithms)
	list, _ := algorithms.Bytes() // Marshal meets the same identifier again
	return &SignedData{
		Version:          signer.Version,
		DigestAlgorithms: list,
		ContentType:      oidData,
		Signers:          []SignerInfo{signer},
	}
}

// Embed puts certificates, DER, into a message that New has made, as openssl cms does
// without -nocerts: in DER's order of a SET.
func (s *SignedData) Embed(certificates ...[]byte) {
	var b cryptobyte.Builder
	b.AddASN1(tag0Constructed, func(b *cryptobyte.Builder) { // certificates [0] IMPLICIT CertificateSet
		for _, der := range slices.SortedFunc(slices.Values(certificates), bytes.Compare) {
			b.AddBytes(der)
		}
	})
	s.Certificates, _ = b.Bytes()
}

// Marshal returns the DER ContentInfo.
func (s *SignedData) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // ContentInfo ::= SEQUENCE {
		b.AddASN1ObjectIdentifier(oidSignedData)                 // contentType ContentType,
		b.AddASN1(tag0Constructed, func(b *cryptobyte.Builder) { // content [0] EXPLICIT
			b.AddASN1(cbasn1.SEQUENCE, s.add) // SignedData }
		})
	})
	return b.Bytes()
}

func (s *SignedData) add(b *cryptobyte.Builder) { // SignedData ::= SEQUENCE {
	b.AddASN1Int64(int64(s.Version))                    // version CMSVersion,
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { // digestAlgorithms DigestAlgorithmIdentifiers,
		b.AddBytes(s.DigestAlgorithms)
	})
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // encapContentInfo SEQUENCE {
		b.AddASN1ObjectIdentifier(s.ContentType) // eContentType ContentType,
		b.AddBytes(s.Content)                    // eContent [0] EXPLICIT OCTET STRING OPTIONAL },
	})
	b.AddBytes(s.Certificates)                          // certificates [0] IMPLICIT CertificateSet OPTIONAL,
	b.AddBytes(s.CRLs)                                  // crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { // signerInfos SET OF SignerInfo }
		for _, signer := range s.Signers {
			b.AddASN1(cbasn1.SEQUENCE, signer.add)
		}
	})
}

func (s *SignerInfo) add(b *cryptobyte.Builder) { // SignerInfo ::= SEQUENCE {
	b.AddASN1Int64(int64(s.Version))  // version CMSVersion,
	s.ID.add(b)                       // sid SignerIdentifier,
	s.Digest.add(b)                   // digestAlgorithm DigestAlgorithmIdentifier,
	b.AddBytes(s.SignedAttributes)    // signedAttrs [0] IMPLICIT SignedAttributes OPTIONAL,
	s.Algorithm.add(b)                // signatureAlgorithm SignatureAlgorithmIdentifier,
	b.AddASN1OctetString(s.Signature) // signature SignatureValue,
	b.AddBytes(s.UnsignedAttributes)  // unsignedAttrs [1] IMPLICIT UnsignedAttributes OPTIONAL }
}

func (id SignerID) add(b *cryptobyte.Builder) { // SignerIdentifier ::= CHOICE {
	if id.ByKeyID() {
		b.AddASN1(tag0Primitive, func(b *cryptobyte.Builder) { // subjectKeyIdentifier [0] IMPLICIT,
			b.AddBytes(id.SubjectKeyID)
		})
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // issuerAndSerialNumber SEQUENCE {
		b.AddBytes(id.Issuer) // issuer Name,
		b.AddBytes(id.Serial) // serialNumber CertificateSerialNumber } }
	})
}

func (a AlgorithmIdentifier) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // AlgorithmIdentifier ::= SEQUENCE {
		b.AddASN1ObjectIdentifier(a.OID) // algorithm OBJECT IDENTIFIER,
		b.AddBytes(a.Parameters)         // parameters ANY DEFINED BY algorithm OPTIONAL }
	})
}
