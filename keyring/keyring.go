// Package keyring holds trusted certificates and says what the kernel would say
// to a PKCS#7 message: pkcs7_verify and pkcs7_validate_trust for the messages
// that sign-file and its like write.
package keyring

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"syscall"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/fips204"
	"sign-file/verdict"
)

// Usage is what a message is verified for (enum key_being_used_for): the same
// bytes can be a good map value and a bad module.
type Usage int

const (
	// Module is VERIFYING_MODULE_SIGNATURE.
	Module Usage = iota
	// MapValue is VERIFYING_UNSPECIFIED_SIGNATURE, as the 2022 series and
	// bpf_verify_pkcs7_signature use it.
	MapValue
)

// Ring is a set of trusted certificates. The zero value trusts nobody.
type Ring struct {
	certificates []*certificate.Certificate
}

// Add trusts more certificates.
func (r *Ring) Add(certificates ...*certificate.Certificate) {
	r.certificates = append(r.certificates, certificates...)
}

// Signer is a signer whose signature has been verified.
type Signer struct {
	Info        cms.Signer
	Certificate *certificate.Certificate
	Digest      *digest.Algorithm
}

// Content writes the signed content to a hash.
type Content func(io.Writer) error

// Verify reads a message and verifies it over the content, in the kernel's order:
// the message, what the usage allows, signed attributes, trust, signature. It
// returns the signers that verified, at least one. The error is a
// *verdict.Refusal, or one of reading the content.
func (r *Ring) Verify(message []byte, usage Usage, content Content) ([]Signer, error) {
	signed, err := cms.Parse(message)
	if err != nil {
		return nil, err
	}
	var signers []Signer
	for _, info := range signed.Signers {
		algorithm, err := digestOf(&info)
		if err != nil {
			return nil, err
		}
		signers = append(signers, Signer{Info: info, Digest: algorithm})
	}
	if err := checkUsage(signed, usage); err != nil {
		return nil, err
	}
	sums := cache{content: content}
	for i := range signers {
		if err := signers[i].checkAttributes(signed, &sums); err != nil {
			return nil, err
		}
	}
	return r.trusted(signers, &sums)
}

// kernelDigests are those that pkcs7_sig_note_digest_algo knows in 6.12; the
// Streebog family, which it knows too, is not implemented here.
var kernelDigests = []*digest.Algorithm{
	digest.SHA1, digest.SHA224, digest.SHA256, digest.SHA384, digest.SHA512,
	digest.SM3, digest.SHA3_256, digest.SHA3_384, digest.SHA3_512,
}

// digestOf checks the two algorithms of a signer as the parser does.
func digestOf(info *cms.Signer) (*digest.Algorithm, error) {
	algorithm := digest.ByOID(info.Digest.OID)
	if algorithm == nil || !slices.Contains(kernelDigests, algorithm) {
		name := info.Digest.OID.String()
		if algorithm != nil {
			name = algorithm.Name()
		}
		return nil, verdict.Refuse(syscall.ENOPKG, "pkcs7_sig_note_digest_algo", "the kernel does not verify %s", name)
	}
	if !info.Algorithm.OID.Equal(cms.OIDRSA) && digest.ByECDSAOID(info.Algorithm.OID) == nil && !isMLDSA(info) {
		return nil, verdict.Refuse(syscall.ENOPKG, "pkcs7_sig_note_pkey_algo", "the kernel does not verify signature algorithm %v", info.Algorithm.OID)
	}
	return algorithm, nil
}

func isMLDSA(info *cms.Signer) bool {
	_, ok := fips204.ByOID(info.Algorithm.OID)
	return ok
}

func checkUsage(signed *cms.SignedData, usage Usage) error {
	if signed.Content != nil {
		return verdict.Refuse(syscall.EBADMSG, "verify_pkcs7_message_sig", "the message carries its own content, and must be detached")
	}
	if !signed.ContentType.Equal(cms.OIDData) {
		return verdict.Refuse(syscall.EINVAL, "pkcs7_verify", "content type %v is not id-data", signed.ContentType)
	}
	if usage != Module {
		return nil
	}
	for _, info := range signed.Signers {
		switch {
		case info.SignedAttributes != nil && isMLDSA(&info):
			return verdict.Refuse(syscall.EKEYREJECTED, "pkcs7_verify", "a module signature must not have signed attributes, but for kernels with CONFIG_PKCS7_WAIVE_AUTHATTRS_REJECTION_FOR_MLDSA (sign with OpenSSL 4 or sign-file sign)")
		case info.SignedAttributes != nil:
			return verdict.Refuse(syscall.EKEYREJECTED, "pkcs7_verify", "a module signature must not have signed attributes (sign with -noattr)")
		}
	}
	return nil
}

// checkAttributes compares the digest in the signed attributes with the
// content's, before any key is looked for (pkcs7_digest).
func (s *Signer) checkAttributes(signed *cms.SignedData, sums *cache) error {
	if s.Info.SignedAttributes == nil {
		return nil
	}
	want, err := s.Info.MessageDigest(signed.ContentType)
	if err != nil {
		return err
	}
	got, err := sums.get(s.Digest)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return verdict.Refuse(syscall.EKEYREJECTED, "pkcs7_digest", "the data is not what was signed: its %v digest differs", s.Digest)
	}
	return nil
}

// trusted is pkcs7_validate_trust: every signer whose certificate is in the ring
// must verify, the others are passed over, and one must be left.
func (r *Ring) trusted(signers []Signer, sums *cache) ([]Signer, error) {
	var verified []Signer
	for _, s := range signers {
		s.Certificate = r.find(s.Info.ID)
		if s.Certificate == nil {
			continue
		}
		if err := s.check(sums); err != nil {
			return nil, err
		}
		verified = append(verified, s)
	}
	if verified == nil {
		return nil, verdict.Refuse(syscall.ENOKEY, "pkcs7_validate_trust", "no trusted certificate is that of the signer (%s)", DescribeID(signers[0].Info.ID))
	}
	return verified, nil
}

// check verifies one signature. Any failure with a key at hand is EKEYREJECTED.
func (s *Signer) check(sums *cache) error {
	sum, err := s.sum(sums)
	if err != nil {
		return err
	}
	err = s.Certificate.CheckSignature(s.Digest, sum, s.Info.Signature)
	if errors.Is(err, certificate.ErrSignature) {
		return verdict.Refuse(syscall.EKEYREJECTED, "public_key_verify_signature", "the data or its signature was changed after signing")
	}
	if err != nil {
		return verdict.Refuse(syscall.EKEYREJECTED, "public_key_verify_signature", "%v", err)
	}
	return nil
}

// sum is that of what the signature covers, by the hash that goes with the key.
func (s *Signer) sum(sums *cache) ([]byte, error) {
	h := s.Certificate.NewHash(s.Digest)
	switch {
	case s.Info.SignedAttributes == nil && !isMLDSA(&s.Info):
		return sums.get(s.Digest)
	case s.Info.SignedAttributes == nil:
		err := sums.content(h)
		return h.Sum(nil), err
	case isMLDSA(&s.Info) && s.Digest != digest.SHA512:
		return nil, verdict.Refuse(syscall.EKEYREJECTED, "software_key_determine_akcipher", "ML-DSA with signed attributes goes with sha512 alone, not with %v", s.Digest)
	}
	h.Write(s.Info.SignedBytes())
	return h.Sum(nil), nil
}

// find compares raw bytes, as asymmetric_key_id_same does: a name in another
// string type is another name.
func (r *Ring) find(id cms.SignerID) *certificate.Certificate {
	for _, c := range r.certificates {
		if id.ByKeyID() {
			if c.SubjectKeyID != nil && bytes.Equal(c.SubjectKeyID, id.SubjectKeyID) {
				return c
			}
		} else if bytes.Equal(c.Issuer, id.Issuer) && bytes.Equal(c.Serial, id.Serial) {
			return c
		}
	}
	return nil
}

// DescribeID names a signer for people.
func DescribeID(id cms.SignerID) string {
	if id.ByKeyID() {
		return "key identifier " + certificate.FormatKeyID(id.SubjectKeyID)
	}
	return "issuer " + certificate.FormatName(id.Issuer) + ", serial " + certificate.FormatSerial(id.Serial)
}

// cache computes each digest of the content once.
type cache struct {
	content Content
	sums    map[*digest.Algorithm][]byte
}

func (c *cache) get(a *digest.Algorithm) ([]byte, error) {
	if sum, ok := c.sums[a]; ok {
		return sum, nil
	}
	h := a.New()
	if err := c.content(h); err != nil {
		return nil, err
	}
	sum := h.Sum(nil)
	if c.sums == nil {
		c.sums = map[*digest.Algorithm][]byte{}
	}
	c.sums[a] = sum
	return sum, nil
}
