package kernel

import (
	"bytes"
	"slices"
	"syscall"

	"sign-file/verdict"
)

// x509 is a certificate as x509_cert_parse reads it
// (crypto/asymmetric_keys/x509_cert_parser.c, with the grammar of x509.asn1).
type x509 struct {
	raw             []byte
	tbs             []byte
	issuer, subject []byte // contents of the Names
	serial          []byte // content of the INTEGER
	keyID           []byte // subject key identifier; nil when absent
	id              []byte // serial and issuer: what it's found by, beside keyID

	// What the authority key identifier says of the issuer's certificate: serial
	// and issuer, and key identifier.
	authorityID, authorityKeyID []byte

	key       publicKey
	signature signature

	notBefore, notAfter int64

	unverifiable bool // signed in a way that this kernel can't verify
	selfSigned   bool
	blacklisted  bool
}

// certificateParser is struct x509_parse_context.
type certificateParser struct {
	*decoder
	kernel       *Kernel
	x509         *x509
	lastOID      string
	lastTime     element
	params       []byte // AlgorithmIdentifier's, with their header
	signatureOID string
	authority    []byte // the extension
	issuerName   []byte // in the authority key identifier
}

// parseCertificate refuses what the kernel's parser refuses, a self-signed
// certificate that doesn't verify among it.
func (k *Kernel) parseCertificate(der []byte, blacklist blacklist) (*x509, error) {
	p := &certificateParser{kernel: k, x509: &x509{}}
	err := decode(der, func(d *decoder) {
		p.decoder = d
		p.certificate()
	})
	if err == nil && p.authority != nil {
		err = decode(p.authority, func(d *decoder) {
			p.decoder = d
			p.authorityKeyIdentifier()
		})
	}
	if err != nil {
		return nil, err
	}
	c := p.x509
	c.signature.over(c.tbs)
	// MD4 is the kernel's misnomer for MD5, and pkcs1pad knows no MD4.
	h := c.signature.hash
	c.unverifiable = h != nil && (!k.has(h) || h.oid == oidMD4)
	c.blacklisted = blacklist.hasTBS(k, c)
	c.id = join(c.serial, c.issuer)
	return c, k.checkSelfSigned(c)
}

func (p *certificateParser) oid() pattern {
	return leaf(tagOID, func(e element) error {
		p.lastOID = string(e.content)
		return nil
	})
}

func (p *certificateParser) certificate() {
	c := p.x509
	p.need(compound(tagSequence, func() {
		p.need(compound(tagSequence, p.tbsCertificate, func(e element) error {
			c.tbs = p.data[e.start-e.header : e.start+len(e.content)]
			return nil
		}))
		p.algorithm(nil)
		p.need(leaf(tagBitString, p.noteSignature))
	}, func(e element) error {
		c.raw = p.data[e.start-e.header : p.pos]
		return nil
	}))
}

func (p *certificateParser) tbsCertificate() {
	c := p.x509
	keep := func(into *[]byte) action {
		return func(e element) error {
			*into = e.content
			return nil
		}
	}
	p.maybe(compound(contextual(0), func() { p.need(leaf(tagInteger, nil)) }, nil))
	p.need(leaf(tagInteger, keep(&c.serial)))
	p.algorithm(p.noteSignatureAlgorithm)
	p.name(keep(&c.issuer))
	p.need(compound(tagSequence, func() {
		p.time(&c.notBefore)
		p.time(&c.notAfter)
	}, nil))
	p.name(keep(&c.subject))
	p.need(compound(tagSequence, func() {
		p.params = nil
		p.algorithm(nil)
		p.need(leaf(tagBitString, p.noteKey))
	}, nil))
	p.maybe(leaf(context(1), nil))
	p.maybe(leaf(context(2), nil))
	p.maybe(compound(contextual(3), func() {
		p.need(listOf(tagSequence, p.extension, nil))
	}, nil))
}

func (p *certificateParser) algorithm(act action) {
	p.need(compound(tagSequence, func() {
		p.need(p.oid())
		p.maybe(anything(func(e element) error {
			p.params = p.data[e.start-e.header : e.start+len(e.content)]
			return nil
		}))
	}, act))
}

func (p *certificateParser) name(act action) {
	p.need(listOf(tagSequence, p.relativeName, act))
}

func (p *certificateParser) relativeName() {
	p.need(listOf(tagSet, func() {
		p.need(compound(tagSequence, func() {
			p.need(p.oid())
			p.need(anything(nil))
		}, nil))
	}, nil))
}

// time reads a Time. Where it's missing at the end of its Validity, the kernel
// reads the one before it once more.
func (p *certificateParser) time(into *int64) {
	note := func(e element) error {
		p.lastTime = e
		return nil
	}
	p.choose(leaf(tagUTCTime, note), leaf(tagGeneralizedTime, note))
	if p.err == nil {
		*into, p.err = decodeTime(p.lastTime)
	}
}

// noteSignatureAlgorithm is x509_note_sig_algo. A kernel that knows no SHA-3 knows
// no signatures with it either.
func (p *certificateParser) noteSignatureAlgorithm(element) error {
	kind, h := kindOfSignature(p.lastOID), p.kernel.hash(hashOfSignature(p.lastOID))
	known := h != nil || kind.isMLDSA() && p.kernel.mldsa
	if !known || kind == kindSM2 && !p.kernel.sm2 {
		return verdict.Refuse(syscall.ENOPKG, "x509_note_sig_algo", "kernel %s does not know certificates signed with %s", p.kernel.Name, formatOID(p.lastOID))
	}
	p.x509.signature.kind, p.x509.signature.hash = kind, h
	p.signatureOID = p.lastOID
	return nil
}

// kindOfSignature is the key in a signature algorithm of certificates. What isn't
// known has no hash.
func kindOfSignature(oid string) keyKind {
	switch oid {
	case oidMD5WithRSA, oidSHA1WithRSA, oidSHA224WithRSA, oidSHA256WithRSA, oidSHA384WithRSA, oidSHA512WithRSA,
		oidSHA3_256WithRSA, oidSHA3_384WithRSA, oidSHA3_512WithRSA:
		return kindRSA
	case oidGOSTSignature256, oidGOSTSignature512:
		return kindECRDSA
	case oidSM2WithSM3:
		return kindSM2
	case oidMLDSA44, oidMLDSA65, oidMLDSA87:
		return mldsaKind(oid)
	}
	return kindECDSA
}

// hashOfSignature is the hash in it, empty for none.
func hashOfSignature(oid string) string {
	switch oid {
	case oidMD5WithRSA:
		return oidMD4 // the kernel takes 1.2.840.113549.1.1.4 for MD4's
	case oidSHA1WithRSA, oidECDSAWithSHA1:
		return oidSHA1
	case oidSHA224WithRSA, oidECDSAWithSHA224:
		return oidSHA224
	case oidSHA256WithRSA, oidECDSAWithSHA256:
		return oidSHA256
	case oidSHA384WithRSA, oidECDSAWithSHA384:
		return oidSHA384
	case oidSHA512WithRSA, oidECDSAWithSHA512:
		return oidSHA512
	case oidSHA3_256WithRSA, oidECDSAWithSHA3_256:
		return oidSHA3_256
	case oidSHA3_384WithRSA, oidECDSAWithSHA3_384:
		return oidSHA3_384
	case oidSHA3_512WithRSA, oidECDSAWithSHA3_512:
		return oidSHA3_512
	case oidGOSTSignature256:
		return oidStreebog256
	case oidGOSTSignature512:
		return oidStreebog512
	case oidSM2WithSM3:
		return oidSM3
	}
	return ""
}

// noteSignature is x509_note_signature.
func (p *certificateParser) noteSignature(e element) error {
	const where = "x509_note_signature"
	if p.lastOID != p.signatureOID {
		return verdict.Logged(syscall.EINVAL, where, "differs from tbsCertificate.signature", "the certificate names two signature algorithms")
	}
	value, ok := bitString(e)
	if !ok {
		return verdict.Refuse(syscall.EBADMSG, where, "the certificate's signature is no whole number of bytes")
	}
	p.x509.signature.value = value
	return nil
}

// bitString drops the octet that counts unused bits, and wants it to be zero.
func bitString(e element) ([]byte, bool) {
	if len(e.content) < 1 || e.content[0] != 0 {
		return nil, false
	}
	return e.content[1:], true
}

// extension reads one extension; criticality means nothing to the kernel.
func (p *certificateParser) extension() {
	p.need(compound(tagSequence, func() {
		p.need(p.oid())
		p.maybe(leaf(tagBoolean, nil))
		p.need(leaf(tagOctetString, p.noteExtension))
	}, nil))
}

// noteExtension is x509_process_extension.
func (p *certificateParser) noteExtension(e element) error {
	v, ok := e.content, true
	switch p.lastOID {
	case oidSubjectKeyID:
		ok = p.x509.keyID == nil && len(v) >= 3 && v[0] == tagOctetString && int(v[1]) == len(v)-2
		if ok {
			p.x509.keyID = v[2:]
		}
	case oidAuthorityKeyID:
		p.authority = v
	case oidKeyUsage:
		ok = !p.kernel.strictExtensions || len(v) >= 4 && v[0] == tagBitString && v[2] < 8
	case oidBasicConstraints:
		ok = !p.kernel.strictExtensions || goodConstraints(v)
	}
	if !ok {
		return verdict.Refuse(syscall.EBADMSG, "x509_process_extension", "malformed certificate extension %s", formatOID(p.lastOID))
	}
	return nil
}

// goodConstraints: empty, or a TRUE first (the kernel wants 0xff).
func goodConstraints(v []byte) bool {
	if len(v) < 2 || v[0] != tagSequence || int(v[1]) != len(v)-2 {
		return false
	}
	return len(v) == 2 || bytes.HasPrefix(v[2:], []byte{tagBoolean, 1, 0xff})
}

// authorityKeyIdentifier is x509_akid.asn1. Of the names in it a directoryName
// counts, and only the first serial number and key identifier.
func (p *certificateParser) authorityKeyIdentifier() {
	c := p.x509
	p.need(compound(tagSequence, func() {
		p.maybe(leaf(context(0), func(e element) error {
			c.authorityKeyID = e.content
			return nil
		}))
		p.maybe(listOf(contextual(1), p.generalName, nil))
		p.maybe(leaf(context(2), func(e element) error {
			if p.issuerName != nil {
				c.authorityID = join(e.content, p.issuerName)
			}
			return nil
		}))
	}, nil))
}

// generalName reads a GeneralName. Kernels until 6.6 want another tag inside the
// context-specific one of every kind, which X.509 has for directoryName alone.
func (p *certificateParser) generalName() {
	names := []pattern{
		compound(contextual(0), p.otherName, nil), leaf(context(1), nil), leaf(context(2), nil), p.explicit(3, anything(nil)),
		compound(contextual(4), p.directoryName, nil),
		compound(contextual(5), p.partyName, nil), leaf(context(6), nil), leaf(context(7), nil), leaf(context(8), nil),
	}
	if !p.kernel.implicitNames {
		for i, inner := range map[int]pattern{
			0: anything(nil), 1: leaf(tagIA5String, nil), 2: leaf(tagIA5String, nil),
			5: anything(nil), 6: leaf(tagIA5String, nil), 7: leaf(tagOctetString, nil), 8: leaf(tagOID, nil),
		} {
			names[i] = p.explicit(byte(i), inner)
		}
	}
	p.choose(names...)
}

func (p *certificateParser) explicit(number byte, content pattern) pattern {
	return compound(contextual(number), func() { p.need(content) }, nil)
}

func (p *certificateParser) directoryName() {
	p.name(func(e element) error {
		p.issuerName = e.content
		return nil
	})
}

func (p *certificateParser) otherName() {
	p.need(leaf(tagOID, nil))
	p.need(p.explicit(0, anything(nil)))
}

func (p *certificateParser) partyName() {
	p.maybe(p.explicit(0, anything(nil)))
	p.need(p.explicit(1, anything(nil)))
}

// checkSelfSigned is x509_check_for_self_signed.
func (k *Kernel) checkSelfSigned(c *x509) error {
	const where = "x509_check_for_self_signed"
	if !bytes.Equal(c.subject, c.issuer) {
		return nil
	}
	if c.authorityID != nil || c.authorityKeyID != nil {
		byKeyID, byID := same(c.keyID, c.authorityKeyID), same(c.id, c.authorityID)
		if !byKeyID && !byID {
			return nil
		}
		if byKeyID != byID && c.authorityID != nil && c.authorityKeyID != nil {
			return verdict.Refuse(syscall.EKEYREJECTED, where, "the certificate's authority key identifier is only half its own")
		}
	}
	if c.unverifiable {
		return nil
	}
	err := k.verifySignature(&c.key, &c.signature)
	if isErrno(err, syscall.ENOPKG) {
		c.unverifiable = true
		return nil
	}
	c.selfSigned = err == nil
	return about("self-signed certificate", err)
}

// same is asymmetric_key_id_same: an identifier that is missing equals nothing.
func same(a, b []byte) bool { return a != nil && b != nil && bytes.Equal(a, b) }

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }
