package kernel

import (
	"bytes"
	"slices"
	"sync"
	"syscall"

	"sign-file/certificate"
	"sign-file/kernel/internal/ber"
)

// x509 is a certificate as x509_cert_parse reads it
// (crypto/asymmetric_keys/x509_cert_parser.c, with the grammar of x509.asn1).
type x509 struct {
	keyring         Keyring // that it was found in
	list            int     // of Named ones: see Ring.AddTo
	raw             []byte
	tbs             []byte
	issuer, subject []byte // contents of the Names
	serial          []byte // content of the INTEGER
	subjectName     []byte // as descriptions of keys have it
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

	displacedBy *x509   // what took its place in its keyring
	rivals      []*x509 // what has taken its place, or the reverse, if both are in one keyring

	// read is plain, once.
	read func() *certificate.Certificate
}

// certificateParser is struct x509_parse_context.
type certificateParser struct {
	*ber.Decoder
	kernel       *Kernel
	x509         *x509
	lastOID      string
	lastTime     ber.Element
	params       []byte // AlgorithmIdentifier's, with their header
	signatureOID string
	authority    []byte // the extension
	issuerName   []byte // in the authority key identifier
	nameParts    nameParts
}

// parseCertificate refuses what the kernel's parser refuses, a self-signed
// certificate that doesn't verify among it.
func (k *Kernel) parseCertificate(der []byte, blacklist blacklist) (*x509, error) {
	c, err := k.readCertificate(der)
	if err != nil {
		return nil, err
	}
	c.blacklisted = blacklist.hasTBS(k, c)
	return c, k.checkSelfSigned(c)
}

// readCertificate is x509_cert_parse up to x509_check_for_self_signed.
func (k *Kernel) readCertificate(der []byte) (*x509, error) {
	p := &certificateParser{kernel: k, x509: &x509{}}
	err := ber.Decode(der, func(d *ber.Decoder) {
		p.Decoder = d
		p.certificate()
	})
	if err == nil && p.authority != nil {
		err = ber.Decode(p.authority, func(d *ber.Decoder) {
			p.Decoder = d
			p.authorityKeyIdentifier()
		})
	}
	if err != nil {
		return nil, err
	}
	c := p.x509
	c.read = sync.OnceValue(c.plain)
	c.signature.over(c.tbs)
	// MD4 is the kernel's misnomer for MD5, and pkcs1pad knows no MD4.
	h := c.signature.hash
	c.unverifiable = h != nil && (!k.has(h) || h.oid == oidMD4)
	if h != nil && !k.has(h) {
		c.signature.undigested = true
		c.signature.sum = func() ([]byte, error) { return []byte{}, nil }
	}
	c.id = join(c.serial, c.issuer)
	return c, nil
}

func (p *certificateParser) oid() ber.Pattern {
	return ber.Leaf(ber.TagOID, func(e ber.Element) error {
		p.lastOID = string(e.Content)
		return nil
	})
}

func (p *certificateParser) certificate() {
	c := p.x509
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(ber.Compound(ber.TagSequence, p.tbsCertificate, func(e ber.Element) error {
			c.tbs = p.Data[e.Start-e.Header : e.Start+len(e.Content)]
			return nil
		}))
		p.algorithm(nil)
		p.Need(ber.Leaf(ber.TagBitString, p.noteSignature))
	}, func(e ber.Element) error {
		c.raw = p.Data[e.Start-e.Header : p.Pos()]
		return nil
	}))
}

func (p *certificateParser) tbsCertificate() {
	c := p.x509
	keep := func(into *[]byte) ber.Action {
		return func(e ber.Element) error {
			*into = e.Content
			return nil
		}
	}
	p.Maybe(ber.Compound(ber.Contextual(0), func() { p.Need(ber.Leaf(ber.TagInteger, nil)) }, nil))
	p.Need(ber.Leaf(ber.TagInteger, keep(&c.serial)))
	p.algorithm(p.noteSignatureAlgorithm)
	p.name(keep(&c.issuer))
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.time(&c.notBefore)
		p.time(&c.notAfter)
	}, nil))
	p.nameParts = nameParts{}
	p.name(keep(&c.subject))
	p.Do(func() error {
		c.subjectName = p.nameParts.fabricated()
		return nil
	})
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.params = nil
		p.algorithm(nil)
		p.Need(ber.Leaf(ber.TagBitString, p.noteKey))
	}, nil))
	p.Maybe(ber.Leaf(ber.Context(1), nil))
	p.Maybe(ber.Leaf(ber.Context(2), nil))
	p.Maybe(ber.Compound(ber.Contextual(3), func() {
		p.Need(ber.ListOf(ber.TagSequence, p.extension, nil))
	}, nil))
}

func (p *certificateParser) algorithm(act ber.Action) {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(p.oid())
		p.Maybe(ber.Anything(func(e ber.Element) error {
			p.params = p.Data[e.Start-e.Header : e.Start+len(e.Content)]
			return nil
		}))
	}, act))
}

func (p *certificateParser) name(act ber.Action) {
	p.Need(ber.ListOf(ber.TagSequence, p.relativeName, act))
}

func (p *certificateParser) relativeName() {
	p.Need(ber.ListOf(ber.TagSet, func() {
		p.Need(ber.Compound(ber.TagSequence, func() {
			p.Need(p.oid())
			p.Need(ber.Anything(func(e ber.Element) error {
				p.nameParts.note(p.lastOID, e.Content)
				return nil
			}))
		}, nil))
	}, nil))
}

// time reads a Time. Where it's missing at the end of its Validity, the kernel
// reads the one before it once more.
func (p *certificateParser) time(into *int64) {
	note := func(e ber.Element) error {
		p.lastTime = e
		return nil
	}
	p.Choose(ber.Leaf(ber.TagUTCTime, note), ber.Leaf(ber.TagGeneralizedTime, note))
	p.Do(func() (err error) {
		*into, err = decodeTime(p.lastTime)
		return err
	})
}

// noteSignatureAlgorithm is x509_note_sig_algo. A kernel that knows no SHA-3 knows
// no signatures with it either.
func (p *certificateParser) noteSignatureAlgorithm(ber.Element) error {
	kind, h := kindOfSignature(p.lastOID), p.kernel.hash(hashOfSignature(p.lastOID))
	known := h != nil || kind.isMLDSA() && p.kernel.mldsa
	if !known || kind == kindSM2 && !p.kernel.sm2 {
		return refuse(syscall.ENOPKG, "x509_note_sig_algo", "kernel %s does not know certificates signed with %s", p.kernel.title(), formatOID(p.lastOID))
	}
	if err := p.kernel.unsureSHA1(h); err != nil {
		return err
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
func (p *certificateParser) noteSignature(e ber.Element) error {
	const where = "x509_note_signature"
	if p.lastOID != p.signatureOID {
		return logged(syscall.EINVAL, where, "differs from tbsCertificate.signature", "the certificate names two signature algorithms")
	}
	value, ok := bitString(e)
	if !ok {
		return refuse(syscall.EBADMSG, where, "the certificate's signature is no whole number of bytes")
	}
	p.x509.signature.value = value
	return nil
}

// bitString drops the octet that counts unused bits, and wants it to be zero.
func bitString(e ber.Element) ([]byte, bool) {
	if len(e.Content) < 1 || e.Content[0] != 0 {
		return nil, false
	}
	return e.Content[1:], true
}

// extension reads one extension; criticality means nothing to the kernel.
func (p *certificateParser) extension() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(p.oid())
		p.Maybe(ber.Leaf(ber.TagBoolean, nil))
		p.Need(ber.Leaf(ber.TagOctetString, p.noteExtension))
	}, nil))
}

// noteExtension is x509_process_extension.
func (p *certificateParser) noteExtension(e ber.Element) error {
	v, ok := e.Content, true
	switch p.lastOID {
	case oidSubjectKeyID:
		ok = p.x509.keyID == nil && len(v) >= 3 && v[0] == ber.TagOctetString && int(v[1]) == len(v)-2
		if ok {
			p.x509.keyID = v[2:]
		}
	case oidAuthorityKeyID:
		p.authority = v
	case oidKeyUsage:
		ok = !p.kernel.strictExtensions || len(v) >= 4 && v[0] == ber.TagBitString && v[2] < 8
	case oidBasicConstraints:
		ok = !p.kernel.strictExtensions || goodConstraints(v)
	}
	if !ok {
		return refuse(syscall.EBADMSG, "x509_process_extension", "malformed certificate extension %s", formatOID(p.lastOID))
	}
	return nil
}

// goodConstraints: empty, or a TRUE first (the kernel wants 0xff).
func goodConstraints(v []byte) bool {
	if len(v) < 2 || v[0] != ber.TagSequence || int(v[1]) != len(v)-2 {
		return false
	}
	return len(v) == 2 || bytes.HasPrefix(v[2:], []byte{ber.TagBoolean, 1, 0xff})
}

// authorityKeyIdentifier is x509_akid.asn1. Of the names in it a directoryName
// counts, and only the first serial number and key identifier.
func (p *certificateParser) authorityKeyIdentifier() {
	c := p.x509
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Maybe(ber.Leaf(ber.Context(0), func(e ber.Element) error {
			c.authorityKeyID = e.Content
			return nil
		}))
		p.Maybe(ber.ListOf(ber.Contextual(1), p.generalName, nil))
		p.Maybe(ber.Leaf(ber.Context(2), func(e ber.Element) error {
			if p.issuerName != nil {
				c.authorityID = join(e.Content, p.issuerName)
			}
			return nil
		}))
	}, nil))
}

// generalName reads a GeneralName. Kernels until 6.6 want another tag inside the
// context-specific one of every kind, which X.509 has only for directoryName.
func (p *certificateParser) generalName() {
	names := []ber.Pattern{
		ber.Compound(ber.Contextual(0), p.otherName, nil), ber.Leaf(ber.Context(1), nil), ber.Leaf(ber.Context(2), nil), p.explicit(3, ber.Anything(nil)),
		ber.Compound(ber.Contextual(4), p.directoryName, nil),
		ber.Compound(ber.Contextual(5), p.partyName, nil), ber.Leaf(ber.Context(6), nil), ber.Leaf(ber.Context(7), nil), ber.Leaf(ber.Context(8), nil),
	}
	if !p.kernel.implicitNames {
		for i, inner := range map[int]ber.Pattern{
			0: ber.Anything(nil), 1: ber.Leaf(ber.TagIA5String, nil), 2: ber.Leaf(ber.TagIA5String, nil),
			5: ber.Anything(nil), 6: ber.Leaf(ber.TagIA5String, nil), 7: ber.Leaf(ber.TagOctetString, nil), 8: ber.Leaf(ber.TagOID, nil),
		} {
			names[i] = p.explicit(byte(i), inner)
		}
	}
	p.Choose(names...)
}

func (p *certificateParser) explicit(number byte, content ber.Pattern) ber.Pattern {
	return ber.Compound(ber.Contextual(number), func() { p.Need(content) }, nil)
}

func (p *certificateParser) directoryName() {
	p.name(func(e ber.Element) error {
		p.issuerName = e.Content
		return nil
	})
}

func (p *certificateParser) otherName() {
	p.Need(ber.Leaf(ber.TagOID, nil))
	p.Need(p.explicit(0, ber.Anything(nil)))
}

func (p *certificateParser) partyName() {
	p.Maybe(p.explicit(0, ber.Anything(nil)))
	p.Need(p.explicit(1, ber.Anything(nil)))
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
			return refuse(syscall.EKEYREJECTED, where, "the certificate's authority key identifier is only half its own")
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
