// Package signfile holds the verbs: sign, detach, attach, strip, from reader to
// writer or on files that are replaced whole or not at all.
package signfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
)

// Options say how to sign.
type Options struct {
	// Key signs what package keys describes: a DigestInfo with crypto.Hash(0)
	// for RSA, a digest for ECDSA. Its Public may be nil where the key itself
	// can't tell: then it is taken to be the certificate's.
	Key         crypto.Signer
	Certificate *certificate.Certificate
	Digest      *digest.Algorithm
	// UseKeyID names the signer by the certificate's subject key identifier
	// instead of issuer and serial number (sign-file -k).
	UseKeyID bool
}

// Signer signs any number of files with one key. It may be used by several
// goroutines at once if its key may.
type Signer struct {
	options   Options
	id        cms.SignerID
	digest    cms.AlgorithmIdentifier
	algorithm cms.AlgorithmIdentifier
	rsa       bool
}

// NewSigner checks that key, certificate and hash go together.
func NewSigner(o Options) (*Signer, error) {
	public, err := o.Certificate.PublicKey()
	if err != nil {
		return nil, err
	}
	if own := o.Key.Public(); own != nil && !samePublicKey(own, public) {
		return nil, fmt.Errorf("the private key (%s) does not belong to the certificate (%s)",
			certificate.KeyName(own), certificate.KeyName(public))
	}
	s := &Signer{options: o, digest: digestIdentifier(o.Digest)}
	switch public.(type) {
	case *rsa.PublicKey:
		s.rsa = true
		// RFC 3370, section 3.2, whatever the hash: sha256WithRSAEncryption
		// and its like are refused by the kernel.
		s.algorithm = cms.WithNull(cms.OIDRSA)
	case *ecdsa.PublicKey:
		if o.Digest.ECDSA() == nil {
			return nil, fmt.Errorf("%v can't be used with an ECDSA key (use sha256, sha384 or sha512)", o.Digest)
		}
		s.algorithm = cms.AlgorithmIdentifier{OID: o.Digest.ECDSA()}
	default:
		return nil, fmt.Errorf("%s keys do not sign modules", certificate.KeyName(public))
	}
	s.id = cms.SignerID{Issuer: o.Certificate.Issuer, Serial: o.Certificate.Serial}
	if o.UseKeyID {
		if o.Certificate.SubjectKeyID == nil {
			return nil, errors.New("the certificate has no subject key identifier, which -k names the signer by")
		}
		s.id = cms.SignerID{SubjectKeyID: o.Certificate.SubjectKeyID}
	}
	return s, nil
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

func digestIdentifier(a *digest.Algorithm) cms.AlgorithmIdentifier {
	if a.NullParameters() {
		return cms.WithNull(a.OID())
	}
	return cms.AlgorithmIdentifier{OID: a.OID()}
}

// Message signs a digest of the content and returns the PKCS#7 message, DER:
// what sign-file -d writes. The signature is checked against the certificate
// first, so that a key that errs silently ends in an error.
func (s *Signer) Message(sum []byte) ([]byte, error) {
	toSign, hash := sum, s.options.Digest.Hash()
	if s.rsa {
		toSign, hash = s.options.Digest.DigestInfo(sum), 0
	}
	signature, err := s.options.Key.Sign(rand.Reader, toSign, hash)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if err := s.options.Certificate.CheckSignature(s.options.Digest, sum, signature); err != nil {
		return nil, fmt.Errorf("the certificate does not verify the signature, so nothing was written: %w", err)
	}
	return cms.New(s.id, s.digest, s.algorithm, signature).Marshal()
}
