package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/kernel/internal/ber"
)

// validateTrust is pkcs7_validate_trust: every signer whose key is found must
// verify, the others are passed over, and one must be left.
func (m *message) validateTrust(j *Judge) error {
	for _, c := range m.chain {
		c.seen = false
	}
	var missing, unsupported error
	trusted := false
	for _, s := range m.signers {
		err := s.validateTrust(j)
		switch {
		case err == nil:
			trusted = true
		case isErrno(err, syscall.ENOKEY):
			missing = err
		case isErrno(err, syscall.ENOPKG):
			unsupported = err
		default:
			return err
		}
	}
	switch {
	case trusted:
		return nil
	case unsupported != nil:
		return unsupported
	}
	return missing
}

// validateTrust is pkcs7_validate_trust_one.
func (s *signerInfo) validateTrust(j *Judge) error {
	if s.unsupported {
		return refuse(syscall.ENOPKG, trustFunction, "the signer's algorithms are not supported")
	}
	signed, last := &s.signature, (*link)(nil)
	for c := s.signer; c != nil; c = c.signer {
		if c.seen {
			return s.seenBefore(j, c)
		}
		c.seen = true
		found, err := j.keys.find(c.id, c.keyID)
		if err == nil {
			return s.matched(j, found, signed, c)
		}
		if RefusalOf(err) == nil {
			return err
		}
		if c.signer == c {
			return s.unknown(j) // a root of its own
		}
		last, signed = c, &c.signature
	}
	if last != nil && (last.authorityID != nil || last.authorityKeyID != nil) {
		found, err := j.keys.find(last.authorityID, last.authorityKeyID)
		if err == nil {
			return s.matched(j, found, signed, last)
		}
		if !isErrno(err, syscall.ENOKEY) {
			return err
		}
	}
	found, err := j.keys.find(s.id, nil)
	switch {
	case err == nil:
		return s.matched(j, found, &s.signature, nil)
	case isErrno(err, syscall.ENOKEY):
		return s.unknown(j)
	}
	return err
}

const trustFunction = "pkcs7_validate_trust"

// unknown refuses a signer that no key of the ring is. A certificate that was meant to be
// trusted, and one that has the signer's name, are what the person must know of.
func (s *signerInfo) unknown(j *Judge) error {
	for _, u := range j.unusable {
		switch {
		case !u.isOf(s):
		case RefusalOf(u.err) == nil:
			return fmt.Errorf("not decided: the signer's certificate, %s, can't be judged: %w", certificate.FormatName(u.certificate.Subject), u.err)
		default:
			return advised(refuse(syscall.ENOKEY, trustFunction, "the signer's certificate, %s, is one that kernel %s does not take into a keyring: %s", certificate.FormatName(u.certificate.Subject), j.kernel.title(), u.reason()),
				causeUnavailable, "sign with a key whose certificate this kernel takes (sign-file keygen makes one)")
		}
	}
	for _, reason := range []func(*Judge) error{s.elsewhere, s.displacement} {
		if err := reason(j); err != nil {
			return err
		}
	}
	none := refuse(syscall.ENOKEY, trustFunction, "no trusted certificate is that of the signer (%s)", s.describe())
	for _, t := range j.ring.trusted {
		c := t.certificate
		if s.keyID != nil || !bytes.Equal(c.Subject, s.cmsID().Issuer) {
			continue
		}
		if parsed, err := j.addKey(c.Raw); err == nil && j.kernel.verifySignature(&parsed.key, &s.signature) == nil {
			return refuse(syscall.ENOKEY, trustFunction, "the signature is one by the key of the trusted certificate %s, but it names another (%s), and the kernel goes by the name and the number as they are written", certificate.FormatName(c.Subject), s.describe())
		}
		if ca, _ := c.Authority(); !ca {
			return refuse(syscall.ENOKEY, trustFunction, "no trusted certificate is that of the signer (%s); a trusted certificate has the same name, and is another one with another key: a kernel that was built anew makes a new key", s.describe())
		}
		if s.signer != nil && s.signer.authorityID == nil && s.signer.authorityKeyID == nil {
			return advised(refuse(syscall.ENOKEY, trustFunction, "the signer's certificate came with the message, and does not say by which key it was issued (no authority key identifier), so the kernel does not get from it to the trusted %s", certificate.FormatName(c.Subject)),
				causeUnavailable, "issue the certificate anew with an authorityKeyIdentifier, or enrol the certificate itself")
		}
		return advised(refuse(syscall.ENOKEY, trustFunction, "the trusted certificate %s has issued that of the signer (%s), and is not the signer's own, which the kernel wants", certificate.FormatName(c.Subject), s.describe()),
			causeUnavailable, "enrol the signer's own certificate, or have it come with the message: sign-file sign --include-cert")
	}
	if j.ring.incomplete != "" {
		return fmt.Errorf("not decided: no certificate that is known here is that of the signer (%s), and not all are: %s (--trusted names more)", s.describe(), j.ring.incomplete)
	}
	return none
}

// elsewhere is the refusal of a signer whose certificate is in another keyring, nil for others.
func (s *signerInfo) elsewhere(j *Judge) error {
	for _, e := range j.elsewhere {
		if !same(e.id, s.id) && (s.keyID == nil || !same(e.keyID, s.keyID)) {
			continue
		}
		if e.verifies == unknown {
			return fmt.Errorf("not decided: the signer's certificate is in %s, and whether this kernel verifies modules with that keyring no option tells (Debian's kernels do, by a patch; others do not)", e.keyring)
		}
		return advised(refuse(syscall.ENOKEY, trustFunction, "the signer's certificate is in %s, a keyring that kernel %s does not verify this with (%s)", e.keyring, j.kernel.title(), s.describe()),
			causeUnavailable, "%s", adviceKeyring)
	}
	return nil
}

// adviceKeyring is for those who have enrolled their key, and still get "unavailable key".
const adviceKeyring = "have the key in a keyring that is asked: one built into the kernel (CONFIG_SYSTEM_TRUSTED_KEYS), or .machine, where enrolled keys go if the kernel has CONFIG_INTEGRITY_MACHINE_KEYRING, shim has said that it is trusted (mokutil --trust-mok) and, with CONFIG_INTEGRITY_CA_MACHINE_KEYRING, the certificate is an authority's (sign-file keygen --ca)"

// seenBefore is for a chain that joins that of an earlier signer.
func (s *signerInfo) seenBefore(j *Judge, c *link) error {
	if c.by == nil {
		return s.unknown(j)
	}
	s.vouch(c.by, c)
	return nil
}

// errAmbiguous: the kernel takes the first key that its keyring's tree leads to, which
// depends on the keys' descriptions and on what else is in the tree (assoc_array_iterate).
var errAmbiguous = errors.New("not decided: several trusted certificates have the signer's issuer and serial number, or its key identifier, and not all of them verify the signature; which one the kernel finds can't be told (trust only one of them)")

// matched verifies what a key of the ring has to vouch for. With a key at hand
// every refusal becomes EKEYREJECTED. Of several keys all have to say the same.
func (s *signerInfo) matched(j *Judge, found []*x509, signed *signature, at *link) error {
	first := vouches(j, found[0], signed)
	for _, other := range found[1:] {
		if err := vouches(j, other, signed); (err == nil) != (first == nil) {
			return errAmbiguous
		}
	}
	if first == nil {
		s.vouch(found[0], at)
	}
	return first
}

func vouches(j *Judge, key *x509, signed *signature) error {
	err := j.kernel.verifySignature(&key.key, signed)
	refusal := RefusalOf(err)
	if refusal == nil {
		return err
	}
	if refusal.Errno == syscall.ENOMEM {
		return err
	}
	more := *refusal
	if more.Errno == syscall.ENOENT || more.Errno == syscall.ENOPKG {
		more.cause = causeUnsupported
	}
	more.Errno, more.Log = syscall.EKEYREJECTED, ""
	return &more
}

// vouch marks the chain up to where a trusted key verified it.
func (s *signerInfo) vouch(key *x509, at *link) {
	s.by = key
	if at == nil {
		return
	}
	at.by = key
	for c := s.signer; c != at; c = c.signer {
		c.by = key
	}
}

// keys finds certificates as find_asymmetric_key does: by raw bytes, so that a
// name in another string type is another name.
type keys map[string][]*x509

func (k keys) add(c *x509) {
	if slices.ContainsFunc(k[string(c.id)], func(other *x509) bool { return bytes.Equal(c.raw, other.raw) }) {
		return // one file may be named twice
	}
	k[string(c.id)] = append(k[string(c.id)], c)
	if c.keyID != nil {
		k[string(c.keyID)] = append(k[string(c.keyID)], c)
	}
}

const findFunction = "find_asymmetric_key"

// find looks for the certificates that have the first identifier, as either of their
// own. The kernel takes one of them, and then wants the second as its key identifier;
// nil is any. Where some have that and some don't, there is no telling.
func (k keys) find(id, keyID []byte) ([]*x509, error) {
	either := id
	if either == nil {
		either, keyID = keyID, nil
	}
	if len(either) == 0 {
		return nil, refuse(syscall.EINVAL, findFunction, "the message does not say who signed it")
	}
	found := k[string(either)]
	if len(found) == 0 {
		return nil, refuse(syscall.ENOKEY, findFunction, "no such key")
	}
	if err := contested(found); err != nil {
		return nil, err
	}
	if keyID == nil {
		return found, nil
	}
	others := 0
	for _, c := range found {
		if !same(c.keyID, keyID) {
			others++
		}
	}
	switch others {
	case 0:
		return found, nil
	case len(found):
		return nil, refuse(syscall.EKEYREJECTED, findFunction, "the trusted certificate of that issuer and serial number has another key identifier")
	}
	return nil, errAmbiguous
}

// describe names a signer for people.
func (s *signerInfo) describe() string { return describeID(s.cmsID()) }

// cmsID is the signer in the words of package cms.
func (s *signerInfo) cmsID() cms.SignerID {
	if s.keyID != nil {
		return cms.SignerID{SubjectKeyID: s.keyID}
	}
	return cms.SignerID{Issuer: withHeader(ber.TagSequence, s.issuer), Serial: withHeader(ber.TagInteger, s.serial)}
}

// describeID names a signer for people.
func describeID(id cms.SignerID) string {
	if id.ByKeyID() {
		return "key identifier " + certificate.FormatKeyID(id.SubjectKeyID)
	}
	return "issuer " + certificate.FormatName(id.Issuer) + ", serial " + certificate.FormatSerial(id.Serial)
}
