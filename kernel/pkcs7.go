package kernel

import (
	"strings"
	"syscall"

	"sign-file/verdict"
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
	*decoder
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
	err := decode(der, func(d *decoder) {
		p.decoder = d
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
		return verdict.Logged(syscall.EINVAL, where, log, "the message has no signer")
	}
	m.attributes = m.signers[0].attributes != nil
	for _, s := range m.signers {
		if (s.attributes != nil) != m.attributes {
			return verdict.Logged(syscall.EINVAL, where, log, "some signers have signed attributes and others have none")
		}
	}
	return nil
}

func (p *messageParser) oid(act action) pattern {
	return leaf(tagOID, func(e element) error {
		p.lastOID = string(e.content)
		if act == nil {
			return nil
		}
		return act(e)
	})
}

func (p *messageParser) contentInfo() {
	p.need(compound(tagSequence, func() {
		p.need(p.oid(p.checkContentType))
		p.maybe(compound(contextual(0), p.signedData, nil))
	}, nil))
}

func (p *messageParser) checkContentType(element) error {
	if p.lastOID != oidSignedData {
		return verdict.Logged(syscall.EINVAL, "pkcs7_check_content_type", "PKCS7: Only support pkcs7_signedData type", "content type is not signedData")
	}
	return nil
}

func (p *messageParser) signedData() {
	p.need(compound(tagSequence, func() {
		p.need(leaf(tagInteger, p.noteVersion))
		p.choose(listOf(tagSet, p.digestAlgorithm, nil), listOf(tagSequence, p.digestAlgorithm, nil))
		p.need(compound(tagSequence, func() {
			p.need(p.oid(nil))
			p.maybe(compound(contextual(0), func() { p.need(anything(p.noteContent)) }, nil))
		}, p.noteContentType))
		p.maybeChoose(listOf(contextual(0), p.certificateInSet, nil), listOf(contextual(2), p.certificate, nil))
		p.message.chain, p.embedded = p.embedded, nil
		p.maybeChoose(listOf(contextual(1), p.revocationList, nil), listOf(contextual(3), p.revocationList, nil))
		p.choose(listOf(tagSet, p.signerInfo, nil), listOf(tagSequence, p.signerInfo, nil))
	}, nil))
}

func (p *messageParser) noteVersion(e element) error {
	if len(e.content) != 1 || e.content[0] != 1 && e.content[0] != 3 {
		return verdict.Logged(syscall.EINVAL, "pkcs7_note_signeddata_version", "PKCS7: Unsupported SignedData version", "SignedData version is neither 1 nor 3")
	}
	p.version = e.content[0]
	return nil
}

// digestAlgorithm is an AlgorithmIdentifier, whose parameters are not looked at.
func (p *messageParser) digestAlgorithm() { p.algorithm(nil) }

func (p *messageParser) algorithm(act action) {
	p.need(compound(tagSequence, p.algorithmIdentifier, act))
}

func (p *messageParser) algorithmIdentifier() {
	p.need(p.oid(nil))
	p.maybe(anything(nil))
}

func (p *messageParser) noteContentType(element) error {
	if p.lastOID != oidData && p.lastOID != oidIndirectData {
		return verdict.Logged(syscall.EINVAL, "pkcs7_note_content", "PKCS7: Unsupported data type", "content type is neither id-data nor Authenticode's")
	}
	p.message.contentType = p.lastOID
	return nil
}

func (p *messageParser) noteContent(element) error {
	p.message.attached = true
	return nil
}

// certificateInSet may be missing: the set may be empty.
func (p *messageParser) certificateInSet() { p.maybe(anything(p.extractCertificate)) }

func (p *messageParser) certificate() { p.need(anything(p.extractCertificate)) }

// revocationList is read as a list of certificates, which a real one fails to be.
func (p *messageParser) revocationList() { p.need(listOf(tagSequence, p.certificate, nil)) }

func (p *messageParser) extractCertificate(e element) error {
	if e.tag != tagSequence {
		return verdict.Refuse(syscall.EBADMSG, "pkcs7_extract_cert", "an embedded certificate is no SEQUENCE")
	}
	stop := e.start + len(e.content)
	if p.data[e.start-e.header+1] == 0x80 {
		stop = min(stop+2, len(p.data)) // what the kernel adds for the end-of-contents octets
	}
	parsed, err := p.judge.kernel.parseCertificate(p.data[e.start-e.header:stop], p.judge.ring.blacklist)
	if err != nil {
		return about("embedded certificate", err)
	}
	p.embedded = append(p.embedded, &link{x509: parsed})
	return nil
}

func (p *messageParser) signerInfo() {
	p.need(compound(tagSequence, func() {
		p.need(leaf(tagInteger, p.noteSignerVersion))
		p.choose(compound(tagSequence, p.issuerAndSerial, nil), leaf(context(0), p.noteKeyID))
		p.algorithm(p.noteDigestAlgorithm)
		p.maybeChoose(
			listOf(contextual(0), p.attribute, p.noteAttributes),
			compound(contextual(2), func() { p.need(listOf(tagSequence, p.attribute, nil)) }, nil))
		p.algorithm(p.noteKeyAlgorithm)
		p.need(leaf(tagOctetString, p.noteSignature))
		p.maybeChoose(listOf(contextual(1), p.unsignedAttribute, nil), listOf(contextual(3), p.unsignedAttribute, nil))
	}, p.noteSigner))
}

func (p *messageParser) noteSignerVersion(e element) error {
	const where = "pkcs7_note_signerinfo_version"
	if len(e.content) != 1 || e.content[0] != 1 && e.content[0] != 3 {
		return verdict.Logged(syscall.EINVAL, where, "PKCS7: Unsupported SignerInfo version", "SignerInfo version is neither 1 nor 3")
	}
	if e.content[0] != p.version {
		return verdict.Logged(syscall.EBADMSG, where, "PKCS7: SignedData-SignerInfo version mismatch", "SignedData version %d with SignerInfo version %d", p.version, e.content[0])
	}
	p.byKeyID = e.content[0] == 3
	return nil
}

func (p *messageParser) issuerAndSerial() {
	p.need(listOf(tagSequence, p.relativeName, func(e element) error {
		p.issuer = e.content
		return nil
	}))
	p.need(leaf(tagInteger, func(e element) error {
		p.serial = e.content
		return nil
	}))
}

func (p *messageParser) relativeName() {
	p.need(listOf(tagSet, func() {
		p.need(compound(tagSequence, func() {
			p.need(p.oid(nil))
			p.need(anything(nil))
		}, nil))
	}, nil))
}

func (p *messageParser) noteKeyID(e element) error {
	p.keyID = e.content
	return nil
}

// noteDigestAlgorithm is pkcs7_sig_note_digest_algo.
func (p *messageParser) noteDigestAlgorithm(element) error {
	if p.signer.hash = p.judge.kernel.hash(p.lastOID); p.signer.hash == nil {
		return verdict.Logged(syscall.ENOPKG, "pkcs7_sig_note_digest_algo", "Unsupported digest algo:", "kernel %s does not verify %s", p.judge.kernel.Name, hashName(p.lastOID))
	}
	return nil
}

// noteKeyAlgorithm is pkcs7_sig_note_pkey_algo. The hash in an ecdsa-with-* OID is
// ignored, and sha256WithRSAEncryption and its like are not known here.
func (p *messageParser) noteKeyAlgorithm(element) error {
	kind, ok := p.judge.kernel.signatureKind(p.lastOID)
	if !ok {
		return verdict.Logged(syscall.ENOPKG, "pkcs7_sig_note_pkey_algo", "Unsupported pkey algo:", "kernel %s does not verify signature algorithm %s in a message", p.judge.kernel.Name, formatOID(p.lastOID))
	}
	p.signer.kind = kind
	return nil
}

func (p *messageParser) noteSignature(e element) error {
	p.signer.value = e.content
	return nil
}

func (p *messageParser) unsignedAttribute() {
	p.need(compound(tagSequence, func() {
		p.need(leaf(tagOID, nil))
		p.need(listOf(tagSet, func() { p.need(anything(nil)) }, nil))
	}, nil))
}

// noteSigner is pkcs7_note_signed_info.
func (p *messageParser) noteSigner(element) error {
	s := p.signer
	if p.message.contentType == oidIndirectData && s.attributes == nil {
		return verdict.Logged(syscall.EBADMSG, "pkcs7_note_signed_info", "PKCS7: Authenticode requires AuthAttrs", "Authenticode without signed attributes")
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
