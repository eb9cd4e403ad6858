package signfile

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"

	"filippo.io/mldsa"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
)

// Covers is how much of a module's content a new signature is about, in bytes, by what
// becomes of the signatures that it has. skipped says that it gets none.
func (m Many) Covers(module *Module) (limit int64, skipped bool, err error) {
	_, err = module.Find()
	unsigned := isUnsigned(err)
	switch {
	case module.Size() > maxLoaded:
		return 0, false, module.named(errTooLarge)
	case err != nil && !unsigned:
		return 0, false, err // neither signed nor unsigned: its trailer is broken
	case m.Existing == ReplaceSigned:
		limit, err = module.contentSize()
		return limit, false, err
	case unsigned:
		return module.all(), false, module.Damaged() // signed again, it would have two signatures
	case m.Existing == SkipSigned:
		return 0, true, nil
	}
	return 0, false, module.named(ErrSigned)
}

// ErrOtherSigner says that a finished message is none by the certificate's key.
var ErrOtherSigner = errors.New("the message names another signer than the certificate")

// finished is a Signer whose message there is already, as sign-file -d writes it.
func (s *Signer) finished(message []byte) (*Signer, error) {
	parsed, err := cms.Parse(message)
	if err != nil {
		return nil, fmt.Errorf("the message: %w", err)
	}
	if len(parsed.Signers) != 1 || parsed.Content != nil || len(message) > cms.MaxSize {
		return nil, errors.New("the message is not one of sign-file's: one signer, without the content")
	}
	info := parsed.Signers[0]
	algorithm := digest.ByOID(info.Digest.OID)
	if algorithm == nil {
		return nil, errors.New("the message names a hash algorithm that is not known")
	}
	c := s.options.Certificate
	named := info.ID.ByKeyID() && bytes.Equal(info.ID.SubjectKeyID, c.SubjectKeyID) || bytes.Equal(info.ID.Issuer, c.Issuer) && bytes.Equal(info.ID.Serial, c.Serial)
	if !named {
		return nil, ErrOtherSigner
	}
	if _, isMLDSA := s.public.(*mldsa.PublicKey); info.SignedAttributes != nil && !isMLDSA {
		return nil, errors.New("the message has signed attributes, with which no kernel takes a module (openssl cms -sign has -noattr)")
	}
	copied := *s
	copied.options.Digest, copied.options.SignedAttributes = algorithm, info.SignedAttributes != nil
	copied.ready = &ready{message, info, parsed.ContentType}
	return &copied, nil
}

// ready is a finished message and its one signer.
type ready struct {
	message     []byte
	info        cms.SignerInfo
	contentType asn1.ObjectIdentifier
}

// check verifies the message over the sum of the content.
func (r *ready) check(c *certificate.Certificate, algorithm *digest.Algorithm, sum []byte) error {
	if r.info.SignedAttributes != nil {
		if signed, err := r.info.MessageDigest(r.contentType); err != nil || !bytes.Equal(signed, sum) {
			return fmt.Errorf("the message is about another file: %w", certificate.ErrSignature)
		}
		h := c.NewHash(algorithm)
		h.Write(r.info.SignedBytes())
		sum = h.Sum(nil)
	}
	if err := c.CheckSignature(algorithm, sum, r.info.Signature); err != nil {
		return fmt.Errorf("the message is about another file, or was changed: %w", err)
	}
	return nil
}

// MessageSize is the length of the PKCS#7 messages that the Signer makes, in bytes: exact
// says whether all have it, as with RSA and ML-DSA, or it is the most, as with ECDSA. What
// is appended to a module is longer by modsig.TrailerSize.
func (s *Signer) MessageSize() (size int, exact bool, err error) {
	message, exact, err := s.Draft()
	return len(message), exact, err
}

// Draft is a PKCS#7 message of the Signer's, DER, with a value in the signature's place that
// signs nothing: as long as any, or exactly as long (see MessageSize). It shows what a
// kernel makes of the Signer's key and hash, before the key is asked for anything.
func (s *Signer) Draft() (message []byte, exact bool, err error) {
	if err := s.check(); err != nil {
		return nil, false, err
	}
	info, _ := s.cover(make([]byte, s.newHash().Size()))
	info.Signature, exact = longestSignature(s.public)
	message, err = s.assemble(info)
	return message, exact, err
}
