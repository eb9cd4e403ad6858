package kernel

import (
	"bytes"
	"errors"
	"syscall"

	"sign-file/kernel/internal/ber"
)

// link is an embedded certificate as one message's verification sees it.
type link struct {
	*x509
	signer  *link // the next of the chain; itself for a root
	by      *x509 // the trusted certificate that vouches for it
	seen    bool
	tainted bool // it hangs on a blacklisted one
}

// check runs verify_pkcs7_message_sig on a parsed message.
func (m *message) check(j *Judge, content *contents) error {
	if m.attached && j.usage == IMA {
		return errors.New("not decided: the message carries its own content, and IMA verifies that in place of the file (ima_modsig_verify)")
	}
	if m.attached {
		return logged(syscall.EBADMSG, "verify_pkcs7_message_sig", "PKCS#7 signature with non-detached data", "the message carries its own content, and must be detached")
	}
	if err := m.checkUsage(j); err != nil {
		return err
	}
	if err := m.verify(j.kernel, content); err != nil {
		return err
	}
	return m.validateUnrevoked(j)
}

// checkUsage is the first half of pkcs7_verify.
func (m *message) checkUsage(j *Judge) error {
	name := map[Usage]string{Module: "module", Kexec: "module", IMA: "module", MapValue: "unspecified", BPF: "unspecified", Firmware: "firmware"}[j.usage]
	refuse := func(what, reason string) error {
		return logged(syscall.EKEYREJECTED, "pkcs7_verify", "PKCS7: Invalid "+name+" sig ("+what+")", "%s", reason)
	}
	switch {
	case m.contentType != oidData:
		return refuse("not pkcs7-data", "the message is not about plain data (id-data)")
	case (j.usage == Module || j.usage == Kexec || j.usage == IMA) && m.attributes && !m.waived(j.kernel):
		return refuse("has authattrs", "a module's signature must not have signed attributes")
	case j.usage == Firmware && !m.attributes:
		return advised(refuse("missing authattrs", "a firmware's signature must have signed attributes"), "", "%s", adviceFirmware)
	}
	return nil
}

// adviceFirmware: the kernel's usage exists, and nothing in its firmware loader asks for it.
const adviceFirmware = "sign it with attributes (openssl cms -sign -binary -nocerts -nosmimecap -outform DER -signer <x509> -inkey <key> -in <file> -out <message>, then sign-file -s <message> sha256 <x509> <file>); " +
	"but no kernel's firmware loader verifies signatures, so it is only for what calls verify_pkcs7_signature with this usage"

// waived says whether signed attributes are let through: the first signer decides.
func (m *message) waived(k *Kernel) bool { return k.waivesAttributes && m.signers[0].kind.isMLDSA() }

// verify is the second half of pkcs7_verify: whether the message agrees with
// itself and with the certificates that it carries.
func (m *message) verify(k *Kernel, content *contents) error {
	verdictSoFar := refuse(syscall.ENOPKG, "pkcs7_verify", "no signer of the message uses algorithms that the kernel has")
	passed := false
	for _, s := range m.signers {
		err := s.verify(k, m, content)
		switch {
		case s.blacklisted:
			verdictSoFar = advised(logged(syscall.EKEYREJECTED, "pkcs7_verify", "is blacklisted", "a certificate that the signer depends on is blacklisted"), causeBlacklisted, "")
		case isErrno(err, syscall.ENOPKG):
			s.unsupported = true
			verdictSoFar = firstOf(verdictSoFar, err)
		case err != nil:
			return err
		default:
			passed = true
		}
	}
	if passed {
		return nil
	}
	return verdictSoFar
}

// firstOf keeps a blacklisting, and otherwise takes the more telling reason.
func firstOf(old, new error) error {
	if isErrno(old, syscall.EKEYREJECTED) {
		return old
	}
	return new
}

// verify is pkcs7_verify_one.
func (s *signerInfo) verify(k *Kernel, m *message, content *contents) error {
	if err := s.digest(k, content); err != nil {
		return err
	}
	for _, c := range m.chain {
		if same(c.id, s.id) {
			s.signer = c
			break
		}
	}
	if s.signer == nil {
		return nil
	}
	if t := s.signingTime; t != nil && (*t < s.signer.notBefore || *t > s.signer.notAfter) {
		return logged(syscall.EKEYREJECTED, "pkcs7_verify_one", "PKCS7: Message signed outside of X.509 validity window", "signed outside of the validity of the embedded certificate")
	}
	if err := k.verifySignature(&s.signer.key, &s.signature); err != nil {
		return about("embedded certificate", err)
	}
	return s.verifyChain(k, m)
}

// digest is pkcs7_digest. With signed attributes the digest of the content is
// compared before any key is looked for; without them it waits for a key.
func (s *signerInfo) digest(k *Kernel, content *contents) error {
	const where = "pkcs7_digest"
	if s.kind.isMLDSA() && s.attributes == nil {
		s.unhashed, s.write = true, content.write // pkcs7_check_authattrs
		return nil
	}
	if err := k.unsureSHA1(s.hash); err != nil {
		return err
	}
	if !k.has(s.hash) {
		return advised(refuse(syscall.ENOPKG, where, "kernel %s does not have %s loaded", k.title(), s.hash.name), "",
			"sign with a hash that this kernel has, or have it load this one (CONFIG_%s)", s.hash.option)
	}
	if s.attributes == nil {
		s.sum = func() ([]byte, error) { return content.sum(s.hash) }
		return nil
	}
	sum, err := content.sum(s.hash)
	if err != nil {
		return err
	}
	switch {
	case len(sum) != len(s.messageDigest):
		return logged(syscall.EBADMSG, where, "Invalid digest size", "the digest in the signed attributes is not as long as one of %s", s.hash.name)
	case !bytes.Equal(sum, s.messageDigest):
		return logged(syscall.EKEYREJECTED, where, "Message digest doesn't match", "the data is not what was signed: its %s digest differs", s.hash.name)
	}
	// RFC 5652, section 5.4: the signature covers SET's tag in place of [0].
	s.over(append([]byte{ber.TagSet}, s.attributes...))
	return nil
}

// verifyChain is pkcs7_verify_sig_chain: it follows the issuers among the embedded
// certificates as far as they go.
func (s *signerInfo) verifyChain(k *Kernel, m *message) error {
	for _, c := range m.chain {
		c.seen = false
	}
	for c := s.signer; ; {
		c.seen = true
		if c.blacklisted || c.tainted {
			s.blacklisted = true
			for p := s.signer; p != c; p = p.signer {
				p.tainted = true
			}
			return nil
		}
		if c.selfSigned {
			c.signer = c
			return nil
		}
		issuer, err := m.issuerOf(c)
		if issuer == nil || err != nil || issuer.seen {
			return err
		}
		if c.signer != issuer { // unless an earlier signer's chain has come this way
			if err := k.verifySignature(&issuer.key, &c.signature); err != nil {
				return about("chain of embedded certificates", err)
			}
			c.signer = issuer
		}
		c = issuer
	}
}

// issuerOf finds the certificate that the authority key identifier means.
func (m *message) issuerOf(c *link) (*link, error) {
	for _, p := range m.chain {
		switch {
		case c.authorityID == nil:
			if c.authorityKeyID != nil && same(p.keyID, c.authorityKeyID) {
				return p, nil
			}
		case same(p.id, c.authorityID):
			if c.authorityKeyID != nil && !same(p.keyID, c.authorityKeyID) {
				return nil, logged(syscall.EKEYREJECTED, "pkcs7_verify_sig_chain", "X.509 chain contains auth-skid nonmatch", "an embedded issuer has another key identifier than its subject says")
			}
			return p, nil
		}
	}
	return nil, nil
}
