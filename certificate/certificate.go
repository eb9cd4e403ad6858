// Package certificate reads the parts of an X.509 certificate (RFC 5280) that a
// module signature copies or needs, raw, as they are in the DER.
//
// crypto/x509 is not used for this: it refuses certificates that sign-file and
// the kernel take (negative serial numbers, unknown curves), and re-encodes.
package certificate

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"filippo.io/mldsa/x509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
	"sign-file/internal/rsalanes"
	"sign-file/internal/scheme"
)

// MaxFileSize bounds what is read as a certificate file or bundle, in bytes.
const MaxFileSize = 16 << 20

// Certificate holds slices of one DER certificate.
type Certificate struct {
	Raw          []byte // the whole certificate, DER
	Issuer       []byte // the Name with its header
	Subject      []byte // the Name with its header
	Serial       []byte // the INTEGER with its header
	SubjectKeyID []byte // content of the extension's OCTET STRING; nil when absent

	isCA     bool
	keyUsage byte // first octet

	publicKeyInfo []byte
	publicKey     crypto.PublicKey
	publicKeyErr  error

	checks atomic.Int32                       // signatures checked
	rsa    atomic.Pointer[rsalanes.PublicKey] // publicKey, once it has checked one
}

var oidSubjectKeyID = asn1.ObjectIdentifier{2, 5, 29, 14}

// FromFile is First for a file of at most MaxFileSize bytes.
func FromFile(path string) (*Certificate, error) {
	file, err := bounded.ReadFile(path, MaxFileSize)
	if err != nil {
		return nil, err
	}
	c, err := First(file)
	return c, paths.About("parse", path, err)
}

// First takes the first certificate of a file as sign-file does: DER if the file
// starts with a SEQUENCE in long form, PEM otherwise. What follows is ignored. Unlike
// sign-file it takes a PKCS#7 bundle of one certificate, in DER, BER or PEM.
func First(file []byte) (*Certificate, error) {
	if isBundle(file) {
		return parseOnly(file)
	}
	if isDER(file) {
		return Parse(file)
	}
	if block, _ := nextPEM(file, "CERTIFICATE", "X509 CERTIFICATE"); block != nil {
		return Parse(block)
	}
	if block, _ := nextPEM(file, bundleTypes...); block != nil {
		return parseOnly(block)
	}
	return nil, errNone
}

// PEM takes every certificate of a PEM file, as PEM_read_bio_X509 finds them; none is no
// error, and a damaged block of whatever type is.
func PEM(file []byte) ([]*Certificate, error) {
	if err := checkPEM(file); err != nil {
		return nil, err
	}
	var all []*Certificate
	for block, rest := nextPEM(file, "CERTIFICATE", "X509 CERTIFICATE"); block != nil; block, rest = nextPEM(rest, "CERTIFICATE", "X509 CERTIFICATE") {
		c, err := Parse(block)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// All takes every certificate of a file: PEM, also with PKCS#7 bundles in it,
// or in DER a bundle or certificates one after another.
func All(file []byte) ([]*Certificate, error) {
	list, _, err := Split(file)
	if err != nil {
		return nil, err
	}
	var all []*Certificate
	for i, der := range list {
		c, err := Parse(der)
		if err != nil && len(list) > 1 {
			err = fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// isDER is the test of read_x509 in scripts/sign-file.c.
func isDER(file []byte) bool {
	return len(file) >= 2 && file[0] == 0x30 && file[1] >= 0x81 && file[1] <= 0x84
}

// nextPEM skips blocks of other types, TRUSTED CERTIFICATE among them, as
// PEM_read_bio_X509 does for the names that it is not asked for.
func nextPEM(file []byte, types ...string) (der, rest []byte) {
	file = bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
	for {
		block, rest := pem.Decode(file)
		if block == nil {
			return nil, nil
		}
		if slices.Contains(types, block.Type) {
			return block.Bytes, rest
		}
		file = rest
	}
}

// checkPEM finds blocks that encoding/pem passes over, being damaged: cut off, within
// another, not in base64.
func checkPEM(file []byte) error {
	number := 1
	for block := range bytes.SplitSeq(append([]byte("\n"), file...), []byte("\n-----BEGIN ")) {
		first, _, _ := bytes.Cut(block, []byte("\n"))
		if number > 1 && bytes.HasSuffix(bytes.TrimSpace(first), []byte("-----")) { // no other line begins one
			if decoded, _ := pem.Decode(append([]byte("-----BEGIN "), block...)); decoded == nil {
				return fmt.Errorf("PEM block %d of the file is damaged", number-1)
			}
		}
		number++
	}
	return nil
}

// Parse reads one DER certificate and ignores what follows it.
func Parse(der []byte) (*Certificate, error) {
	input := cryptobyte.String(der)
	var whole, outer, tbs, algorithm cryptobyte.String
	if !input.ReadASN1Element(&whole, cbasn1.SEQUENCE) {
		return nil, errors.New("not a DER certificate, or truncated")
	}
	c := &Certificate{Raw: whole}
	var signature asn1.BitString
	if !whole.ReadASN1(&outer, cbasn1.SEQUENCE) || // Certificate ::= SEQUENCE {
		!outer.ReadASN1(&tbs, cbasn1.SEQUENCE) || // tbsCertificate TBSCertificate,
		!outer.ReadASN1(&algorithm, cbasn1.SEQUENCE) || // signatureAlgorithm AlgorithmIdentifier,
		!outer.ReadASN1BitString(&signature) || !outer.Empty() { // signature BIT STRING }
		return nil, errors.New("malformed certificate")
	}
	if !c.readTBS(tbs) {
		return nil, errors.New("malformed certificate: bad TBSCertificate")
	}
	c.publicKey, c.publicKeyErr = x509.ParsePKIXPublicKey(c.publicKeyInfo)
	return c, nil
}

func (c *Certificate) readTBS(tbs cryptobyte.String) bool { // TBSCertificate ::= SEQUENCE {
	var extensions cryptobyte.String
	var hasExtensions bool
	explicit := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	if !tbs.SkipOptionalASN1(explicit(0)) || // version [0] EXPLICIT DEFAULT v1,
		!tbs.ReadASN1Element((*cryptobyte.String)(&c.Serial), cbasn1.INTEGER) || // serialNumber,
		!minimalInteger(c.Serial) ||
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // signature AlgorithmIdentifier,
		!tbs.ReadASN1Element((*cryptobyte.String)(&c.Issuer), cbasn1.SEQUENCE) || // issuer Name,
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // validity Validity,
		!tbs.ReadASN1Element((*cryptobyte.String)(&c.Subject), cbasn1.SEQUENCE) || // subject Name,
		!tbs.ReadASN1Element((*cryptobyte.String)(&c.publicKeyInfo), cbasn1.SEQUENCE) || // subjectPublicKeyInfo,
		!tbs.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific()) || // issuerUniqueID [1] IMPLICIT OPTIONAL,
		!tbs.SkipOptionalASN1(cbasn1.Tag(2).ContextSpecific()) || // subjectUniqueID [2] IMPLICIT OPTIONAL,
		!tbs.ReadOptionalASN1(&extensions, &hasExtensions, explicit(3)) || !tbs.Empty() { // extensions [3] }
		return false
	}
	return !hasExtensions || c.readExtensions(extensions)
}

func (c *Certificate) readExtensions(explicit cryptobyte.String) bool {
	var list cryptobyte.String
	if !explicit.ReadASN1(&list, cbasn1.SEQUENCE) || !explicit.Empty() {
		return false
	}
	for !list.Empty() { // Extension ::= SEQUENCE {
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1(&extension, cbasn1.SEQUENCE) ||
			!extension.ReadASN1ObjectIdentifier(&oid) || // extnID OBJECT IDENTIFIER,
			!extension.SkipOptionalASN1(cbasn1.BOOLEAN) || // critical BOOLEAN DEFAULT FALSE,
			!extension.ReadASN1(&value, cbasn1.OCTET_STRING) || !extension.Empty() { // extnValue OCTET STRING }
			return false
		}
		c.readPurpose(oid, value)
		if oid.Equal(oidSubjectKeyID) && c.SubjectKeyID == nil {
			if !value.ReadASN1((*cryptobyte.String)(&c.SubjectKeyID), cbasn1.OCTET_STRING) || !value.Empty() {
				return false
			}
		}
	}
	return true
}

// readPurpose reads basicConstraints and keyUsage, as far as they can be read.
func (c *Certificate) readPurpose(oid asn1.ObjectIdentifier, value cryptobyte.String) {
	var constraints, usage cryptobyte.String
	var ca bool
	switch {
	case oid.Equal(asn1.ObjectIdentifier{2, 5, 29, 19}):
		c.isCA = value.ReadASN1(&constraints, cbasn1.SEQUENCE) && constraints.PeekASN1Tag(cbasn1.BOOLEAN) && constraints.ReadASN1Boolean(&ca) && ca
	case oid.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}):
		if value.ReadASN1(&usage, cbasn1.BIT_STRING) && len(usage) >= 2 {
			c.keyUsage = usage[1]
		}
	}
}

// minimalInteger refuses the padded INTEGERs that OpenSSL refuses too; a copy
// of one would make a signature that nothing reads.
func minimalInteger(element []byte) bool {
	var body cryptobyte.String
	input := cryptobyte.String(element)
	if !input.ReadASN1(&body, cbasn1.INTEGER) || len(body) == 0 {
		return false
	}
	return len(body) == 1 || !(body[0] == 0 && body[1] < 0x80 || body[0] == 0xff && body[1] >= 0x80)
}

// PublicKey returns the subject's key: *rsa.PublicKey, *ecdsa.PublicKey,
// *mldsa.PublicKey, or another type of crypto/x509 that no signature here is made
// with.
func (c *Certificate) PublicKey() (crypto.PublicKey, error) {
	if c.publicKey == nil && c.publicKeyErr == nil {
		return nil, errors.New("no certificate: it was not parsed")
	}
	if c.publicKeyErr != nil {
		if name := curveOf(c.publicKeyInfo); name != "" {
			return nil, fmt.Errorf("the certificate's key is on the curve %s, which is not supported", name)
		}
		return nil, fmt.Errorf("public key of the certificate: %w", c.publicKeyErr)
	}
	return c.publicKey, nil
}

// Authority reports what the kernel asks of a certificate that vouches for others
// (KEY_EFLAG_CA with KEY_EFLAG_KEYCERTSIGN), and whether its key may sign data too
// (KEY_EFLAG_DIGITALSIG).
func (c *Certificate) Authority() (ca, signs bool) {
	return c.isCA && c.keyUsage&keyCertSign != 0, c.keyUsage&digitalSignature != 0
}

// The bits of keyUsage's first octet (RFC 5280, section 4.2.1.3).
const (
	digitalSignature = 1 << 7
	keyCertSign      = 1 << 2
)

// curveOf names the curve of an EC key's SubjectPublicKeyInfo (RFC 5480, section 2).
func curveOf(publicKeyInfo []byte) string {
	input := cryptobyte.String(publicKeyInfo)
	var info, algorithm cryptobyte.String
	var key, curve asn1.ObjectIdentifier
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&key) || !key.Equal(scheme.OIDECPublicKey()) {
		return ""
	}
	if algorithm.PeekASN1Tag(cbasn1.SEQUENCE) {
		return "that is spelled out instead of named"
	}
	if !algorithm.ReadASN1ObjectIdentifier(&curve) {
		return ""
	}
	return cmp.Or(scheme.CurveName(curve), curve.String())
}
