package kernel

import (
	"strings"
	"syscall"

	"sign-file/kernel/internal/ber"
)

// message is a PKCS#7 message as pkcs7_parse_message reads it
// (crypto/asymmetric_keys/pkcs7_parser.c, with the grammar of pkcs7.asn1).
type message struct {
	contentType string // an OID: id-data, or Authenticode's
	attached    bool   // carries its content
	attributes  bool   // has signed attributes
	chain       []*link
	signers     []*signerInfo
}

// keyKind is what the signature algorithm asks of the key: the kernel's pkey_algo.
type keyKind string

const (
	kindRSA    keyKind = "rsa"
	kindECDSA  keyKind = "ecdsa"
	kindSM2    keyKind = "sm2"
	kindECRDSA keyKind = "ecrdsa"
)

// mldsaKind is "mldsa44" and so on, or empty for what isn't an OID of ML-DSA.
func mldsaKind(oid string) keyKind {
	switch oid {
	case oidMLDSA44:
		return "mldsa44"
	case oidMLDSA65:
		return "mldsa65"
	case oidMLDSA87:
		return "mldsa87"
	}
	return ""
}

func (k keyKind) isMLDSA() bool { return strings.HasPrefix(string(k), "mldsa") }

// signerInfo is struct pkcs7_signed_info.
type signerInfo struct {
	signature
	id []byte // serial and issuer, or subject key identifier: auth_ids[0]

	issuer, serial, keyID []byte // the same for people; nil where not given

	// attributes is the content of the signed attributes behind its length
	// octets; nil for none.
	attributes    []byte
	messageDigest []byte
	signingTime   *int64
	seen          map[string]bool

	signer      *link // the embedded certificate
	by          *x509 // the trusted one
	unsupported bool
	blacklisted bool
}

// messageParser is struct pkcs7_parse_context.
type messageParser struct {
	*ber.Decoder
	judge   *Judge
	message *message
	version byte
	signer  *signerInfo
	lastOID string
	// What names a signer is kept from one signer to the next, as the kernel does.
	serial, issuer, keyID []byte
	byKeyID               bool
	embedded              []*link
}

func (j *Judge) parseMessage(der []byte) (*message, error) {
	p := &messageParser{judge: j, message: &message{}, signer: newSignerInfo()}
	err := ber.Decode(der, func(d *ber.Decoder) {
		p.Decoder = d
		p.contentInfo()
	})
	if err != nil {
		return nil, err
	}
	return p.message, p.message.checkAttributes()
}

func newSignerInfo() *signerInfo { return &signerInfo{seen: map[string]bool{}} }

// checkAttributes is pkcs7_check_authattrs.
func (m *message) checkAttributes() error {
	const where, log = "pkcs7_check_authattrs", "PKCS7: Inconsistently supplied authAttrs"
	if len(m.signers) == 0 {
		return logged(syscall.EINVAL, where, log, "the message has no signer")
	}
	m.attributes = m.signers[0].attributes != nil
	for _, s := range m.signers {
		if (s.attributes != nil) != m.attributes {
			return logged(syscall.EINVAL, where, log, "some signers have signed attributes and others have none")
		}
	}
	return nil
}

func (p *messageParser) oid(act ber.Action) ber.Pattern {
	return ber.Leaf(ber.TagOID, func(e ber.Element) error {
		p.lastOID = string(e.Content)
		if act == nil {
			return nil
		}
		return act(e)
	})
}

func (p *messageParser) contentInfo() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(p.oid(p.checkContentType))
		p.Maybe(ber.Compound(ber.Contextual(0), p.signedData, nil))
	}, nil))
}

func (p *messageParser) checkContentType(ber.Element) error {
	if p.lastOID != oidSignedData {
		return logged(syscall.EINVAL, "pkcs7_check_content_type", "PKCS7: Only support pkcs7_signedData type", "content type is not signedData")
	}
	return nil
}

func (p *messageParser) signedData() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(ber.Leaf(ber.TagInteger, p.noteVersion))
		p.Choose(ber.ListOf(ber.TagSet, p.digestAlgorithm, nil), ber.ListOf(ber.TagSequence, p.digestAlgorithm, nil))
		p.Need(ber.Compound(ber.TagSequence, func() {
			p.Need(p.oid(nil))
			p.Maybe(ber.Compound(ber.Contextual(0), func() { p.Need(ber.Anything(p.noteContent)) }, nil))
		}, p.noteContentType))
		p.MaybeChoose(ber.ListOf(ber.Contextual(0), p.certificateInSet, nil), ber.ListOf(ber.Contextual(2), p.certificate, nil))
		p.message.chain, p.embedded = p.embedded, nil
		p.MaybeChoose(ber.ListOf(ber.Contextual(1), p.revocationList, nil), ber.ListOf(ber.Contextual(3), p.revocationList, nil))
		p.Choose(ber.ListOf(ber.TagSet, p.signerInfo, nil), ber.ListOf(ber.TagSequence, p.signerInfo, nil))
	}, nil))
}

func (p *messageParser) noteVersion(e ber.Element) error {
	if len(e.Content) != 1 || e.Content[0] != 1 && e.Content[0] != 3 {
		return logged(syscall.EINVAL, "pkcs7_note_signeddata_version", "PKCS7: Unsupported SignedData version", "SignedData version is neither 1 nor 3")
	}
	p.version = e.Content[0]
	return nil
}

// digestAlgorithm is an AlgorithmIdentifier, whose parameters are not looked at.
func (p *messageParser) digestAlgorithm() { p.algorithm(nil) }

func (p *messageParser) algorithm(act ber.Action) {
	p.Need(ber.Compound(ber.TagSequence, p.algorithmIdentifier, act))
}

func (p *messageParser) algorithmIdentifier() {
	p.Need(p.oid(nil))
	p.Maybe(ber.Anything(nil))
}

func (p *messageParser) noteContentType(ber.Element) error {
	if p.lastOID != oidData && p.lastOID != oidIndirectData {
		return logged(syscall.EINVAL, "pkcs7_note_content", "PKCS7: Unsupported data type", "content type is neither id-data nor Authenticode's")
	}
	p.message.contentType = p.lastOID
	return nil
}

func (p *messageParser) noteContent(ber.Element) error {
	p.message.attached = true
	return nil
}

// certificateInSet may be missing: the set may be empty.
func (p *messageParser) certificateInSet() { p.Maybe(ber.Anything(p.extractCertificate)) }

func (p *messageParser) certificate() { p.Need(ber.Anything(p.extractCertificate)) }

// revocationList is read as a list of certificates, which a real one fails to be.
func (p *messageParser) revocationList() { p.Need(ber.ListOf(ber.TagSequence, p.certificate, nil)) }

func (p *messageParser) extractCertificate(e ber.Element) error {
	if e.Tag != ber.TagSequence {
		return refuse(syscall.EBADMSG, "pkcs7_extract_cert", "an embedded certificate is no SEQUENCE")
	}
	stop := e.Start + len(e.Content)
	if p.Data[e.Start-e.Header+1] == 0x80 {
		stop = min(stop+2, len(p.Data)) // what the kernel adds for the end-of-contents octets
	}
	parsed, err := p.judge.kernel.parseCertificate(p.Data[e.Start-e.Header:stop], p.judge.ring.blacklist)
	if err != nil {
		return about("embedded certificate", err)
	}
	p.embedded = append(p.embedded, &link{x509: parsed})
	return nil
}

func (p *messageParser) signerInfo() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(ber.Leaf(ber.TagInteger, p.noteSignerVersion))
		p.Choose(ber.Compound(ber.TagSequence, p.issuerAndSerial, nil), ber.Leaf(ber.Context(0), p.noteKeyID))
		p.algorithm(p.noteDigestAlgorithm)
		p.MaybeChoose(
			ber.ListOf(ber.Contextual(0), p.attribute, p.noteAttributes),
			ber.Compound(ber.Contextual(2), func() { p.Need(ber.ListOf(ber.TagSequence, p.attribute, nil)) }, nil))
		p.algorithm(p.noteKeyAlgorithm)
		p.Need(ber.Leaf(ber.TagOctetString, p.noteSignature))
		p.MaybeChoose(ber.ListOf(ber.Contextual(1), p.unsignedAttribute, nil), ber.ListOf(ber.Contextual(3), p.unsignedAttribute, nil))
	}, p.noteSigner))
}

func (p *messageParser) noteSignerVersion(e ber.Element) error {
	const where = "pkcs7_note_signerinfo_version"
	if len(e.Content) != 1 || e.Content[0] != 1 && e.Content[0] != 3 {
		return logged(syscall.EINVAL, where, "PKCS7: Unsupported SignerInfo version", "SignerInfo version is neither 1 nor 3")
	}
	if e.Content[0] != p.version {
		return logged(syscall.EBADMSG, where, "PKCS7: SignedData-SignerInfo version mismatch", "SignedData version %d with SignerInfo version %d", p.version, e.Content[0])
	}
	p.byKeyID = e.Content[0] == 3
	return nil
}

func (p *messageParser) issuerAndSerial() {
	p.Need(ber.ListOf(ber.TagSequence, p.relativeName, func(e ber.Element) error {
		p.issuer = e.Content
		return nil
	}))
	p.Need(ber.Leaf(ber.TagInteger, func(e ber.Element) error {
		p.serial = e.Content
		return nil
	}))
}

func (p *messageParser) relativeName() {
	p.Need(ber.ListOf(ber.TagSet, func() {
		p.Need(ber.Compound(ber.TagSequence, func() {
			p.Need(p.oid(nil))
			p.Need(ber.Anything(nil))
		}, nil))
	}, nil))
}

func (p *messageParser) noteKeyID(e ber.Element) error {
	p.keyID = e.Content
	return nil
}

// noteDigestAlgorithm is pkcs7_sig_note_digest_algo.
func (p *messageParser) noteDigestAlgorithm(ber.Element) error {
	if p.signer.hash = p.judge.kernel.hash(p.lastOID); p.signer.hash == nil {
		return logged(syscall.ENOPKG, "pkcs7_sig_note_digest_algo", "Unsupported digest algo:", "kernel %s does not verify %s", p.judge.kernel.title(), hashName(p.lastOID))
	}
	return nil
}

// noteKeyAlgorithm is pkcs7_sig_note_pkey_algo. The hash in an ecdsa-with-* OID is
// ignored, and sha256WithRSAEncryption and its like are not known here.
func (p *messageParser) noteKeyAlgorithm(ber.Element) error {
	kind, ok := p.judge.kernel.signatureKind(p.lastOID)
	if !ok {
		return logged(syscall.ENOPKG, "pkcs7_sig_note_pkey_algo", "Unsupported pkey algo:", "kernel %s does not verify signature algorithm %s in a message", p.judge.kernel.title(), formatOID(p.lastOID))
	}
	p.signer.kind = kind
	return nil
}

func (p *messageParser) noteSignature(e ber.Element) error {
	p.signer.value = e.Content
	return nil
}

func (p *messageParser) unsignedAttribute() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(ber.Leaf(ber.TagOID, nil))
		p.Need(ber.ListOf(ber.TagSet, func() { p.Need(ber.Anything(nil)) }, nil))
	}, nil))
}

// noteSigner is pkcs7_note_signed_info.
func (p *messageParser) noteSigner(ber.Element) error {
	s := p.signer
	if p.message.contentType == oidIndirectData && s.attributes == nil {
		return logged(syscall.EBADMSG, "pkcs7_note_signed_info", "PKCS7: Authenticode requires AuthAttrs", "Authenticode without signed attributes")
	}
	if p.byKeyID {
		s.id, s.keyID = p.keyID, p.keyID
	} else {
		s.id = join(p.serial, p.issuer)
		s.serial, s.issuer = p.serial, p.issuer
	}
	p.message.signers = append(p.message.signers, s)
	p.signer = newSignerInfo()
	return nil
}

// signatureKind maps the signature algorithms that a message may name.
func (k *Kernel) signatureKind(oid string) (keyKind, bool) {
	switch oid {
	case oidRSA:
		return kindRSA, true
	case oidECDSAWithSHA1, oidECDSAWithSHA224, oidECDSAWithSHA256, oidECDSAWithSHA384, oidECDSAWithSHA512:
		return kindECDSA, true
	case oidECDSAWithSHA3_256, oidECDSAWithSHA3_384, oidECDSAWithSHA3_512:
		return kindECDSA, k.sha3
	case oidGOST256, oidGOST512:
		return kindECRDSA, true
	case oidSM2WithSM3:
		return kindSM2, k.sm2
	case oidMLDSA44, oidMLDSA65, oidMLDSA87:
		return mldsaKind(oid), k.mldsa
	}
	return "", false
}
