// Package signfile signs kernel modules as the kernel's scripts/sign-file does, byte for
// byte: Sign from a reader to a writer, SignFile on a file that is replaced whole or not
// at all. A Signer does so many times, on whole trees too (Tree, SignMany), and has the
// other verbs: detach, attach, strip.
package signfile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/scheme"
)

// Options say how to sign.
type Options struct {
	// Key is any crypto.Signer: one of package keys, a private key of crypto/rsa or
	// crypto/ecdsa, a token's or a signing service's. It is asked to sign a digest
	// with its hash, PKCS#1 v1.5 for RSA. What does not verify then is asked for once
	// more, where RSA allows it, as a complete DigestInfo with crypto.Hash(0). ML-DSA
	// keys sign mu, with mldsacrypto.MLDSAMu. Public may be nil where the key itself
	// can't tell: then it is taken to be the certificate's. The key is used by as many
	// goroutines as the Signer.
	Key         crypto.Signer
	Certificate *certificate.Certificate
	// Digest is the hash algorithm; nil means SHA-512, the kernel's default.
	Digest *digest.Algorithm
	// UseKeyID names the signer by the certificate's subject key identifier
	// instead of issuer and serial number (sign-file -k).
	UseKeyID bool
	// SignedAttributes has an ML-DSA key sign the content's digest, among other
	// attributes, instead of the content: what sign-file makes with OpenSSL 3.5.
	SignedAttributes bool
}

// Sign copies a module from src to dst and appends its signature. When it fails, dst has
// a part of the module, or all of it, and no signature.
func Sign(ctx context.Context, dst io.Writer, src io.Reader, o Options) error {
	s, err := NewSigner(o)
	if err != nil {
		return err
	}
	return s.Sign(ctx, dst, src)
}

// SignFile signs a module in place. A module whose name ends with .ko.xz, .ko.zst or
// .ko.gz is signed inside. It keeps its mode, owner and attributes, and on an error it is
// as it was.
func SignFile(ctx context.Context, path string, o Options) error {
	s, err := NewSigner(o)
	if err != nil {
		return err
	}
	return s.SignFile(ctx, path, Output{})
}

// Signer signs any number of files with one key. It may be used by several
// goroutines at once if its key may.
type Signer struct {
	options Options
	public  crypto.PublicKey
	info    cms.SignerInfo // without what differs from file to file
}

// ErrMessageTooLong says that the PKCS#7 message, for which a certificate's names are to
// blame, is longer than the kernel reads (asn1_ber_decoder: EMSGSIZE).
var ErrMessageTooLong = fmt.Errorf("the PKCS#7 message is longer than the %d bytes that the kernel reads", cms.MaxSize)

// NewSigner checks that key, certificate and hash are there and go together.
func NewSigner(o Options) (*Signer, error) {
	if o.Key == nil || o.Certificate == nil {
		return nil, errors.New("a signer needs a key and a certificate")
	}
	if o.Digest == nil {
		o.Digest = digest.SHA512
	}
	public, err := o.Certificate.PublicKey()
	if err != nil {
		return nil, err
	}
	if own := o.Key.Public(); own != nil && !samePublicKey(own, public) {
		return nil, fmt.Errorf("the private key (%s) does not belong to the certificate (%s)",
			certificate.KeyName(own), certificate.KeyName(public))
	}
	s := &Signer{options: o, public: public}
	s.info.Digest = digestIdentifier(o.Digest)
	if s.info.Algorithm, err = signatureIdentifier(public, o.Digest); err != nil {
		return nil, err
	}
	if s.info.ID, err = signerID(o.Certificate, o.UseKeyID); err != nil {
		return nil, err
	}
	if o.SignedAttributes {
		err = checkAttributes(public, o.Digest)
	}
	return s, err
}

func signerID(c *certificate.Certificate, useKeyID bool) (cms.SignerID, error) {
	switch {
	case !useKeyID:
		return cms.SignerID{Issuer: c.Issuer, Serial: c.Serial}, nil
	case c.SubjectKeyID == nil:
		return cms.SignerID{}, errors.New("the certificate has no subject key identifier, which -k names the signer by")
	}
	return cms.SignerID{SubjectKeyID: c.SubjectKeyID}, nil
}

// checkAttributes allows signed attributes where a kernel may take them in a module:
// for other keys never, for ML-DSA with no other hash (software_key_determine_akcipher).
func checkAttributes(public crypto.PublicKey, algorithm *digest.Algorithm) error {
	if _, ok := public.(*mldsa.PublicKey); !ok {
		return fmt.Errorf("signed attributes are for ML-DSA keys, not for %s: no kernel takes such a module", certificate.KeyName(public))
	}
	if algorithm != digest.SHA512 {
		return fmt.Errorf("%v can't be used with signed attributes: with ML-DSA, the kernel takes only sha512", algorithm)
	}
	return nil
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

// signatureIdentifier is the signatureAlgorithm of a SignerInfo.
func signatureIdentifier(public crypto.PublicKey, algorithm *digest.Algorithm) (cms.AlgorithmIdentifier, error) {
	oid, null, ok := scheme.Signature(public, algorithm)
	_, isECDSA := public.(*ecdsa.PublicKey)
	switch {
	case !ok && isECDSA:
		return cms.AlgorithmIdentifier{}, fmt.Errorf("%v can't be used with an ECDSA key (use sha256, sha384 or sha512)", algorithm)
	case !ok:
		return cms.AlgorithmIdentifier{}, fmt.Errorf("%s keys do not sign modules", certificate.KeyName(public))
	case null:
		return cms.WithNull(oid), nil
	}
	return cms.AlgorithmIdentifier{OID: oid}, nil
}

// newHash returns the hash that content goes through on its way to Message.
func (s *Signer) newHash() hash.Hash {
	if s.options.SignedAttributes {
		return s.options.Digest.New()
	}
	return s.options.Certificate.NewHash(s.options.Digest)
}

// Message signs the sum of the content and returns the PKCS#7 message, DER:
// what sign-file -d writes. The signature is checked against the certificate
// first, so that a key that errs silently ends in an error.
func (s *Signer) Message(ctx context.Context, sum []byte) ([]byte, error) {
	info, sum := s.cover(sum)
	var err error
	if info.Signature, err = s.checkedSignature(ctx, sum); err != nil {
		return nil, err
	}
	message, err := cms.New(info).Marshal()
	if err == nil && len(message) > cms.MaxSize {
		err = ErrMessageTooLong
	}
	return message, err
}

// cover returns a signer that lacks its signature, and the sum of what that covers:
// the content's, or that of the signed attributes.
func (s *Signer) cover(sum []byte) (cms.SignerInfo, []byte) {
	info := s.info
	if s.options.SignedAttributes {
		info.SignedAttributes = cms.SignedAttributes(sum)
		h := s.options.Certificate.NewHash(s.options.Digest)
		h.Write(info.SignedBytes())
		sum = h.Sum(nil)
	}
	return info, sum
}

// contextSigner is keys.ContextSigner.
type contextSigner interface {
	SignContext(ctx context.Context, rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// checkedSignature has the key sign a sum, and verifies what it returns.
func (s *Signer) checkedSignature(ctx context.Context, sum []byte) ([]byte, error) {
	hash := s.options.Digest.Hash()
	_, isRSA := s.public.(*rsa.PublicKey)
	if _, ok := s.public.(*mldsa.PublicKey); ok {
		hash = mldsacrypto.MLDSAMu
	}
	digestInfo := func() ([]byte, error) { return s.verified(ctx, sum, s.options.Digest.DigestInfo(sum), crypto.Hash(0)) }
	if isRSA && hash == 0 {
		return digestInfo() // Go has no name for the hash
	}
	signature, err := s.verified(ctx, sum, sum, hash)
	// Some signers refuse SHA-3, or sign the bare digest, and Go has another identifier
	// for RIPEMD-160 than OpenSSL. Tokens and commands of package keys know every hash,
	// and are not asked twice.
	if _, known := s.options.Key.(contextSigner); isRSA && err != nil && !known {
		if again, other := digestInfo(); other == nil {
			return again, nil
		}
	}
	return signature, err
}

// verified is one signature, of data with opts, over a sum.
func (s *Signer) verified(ctx context.Context, sum, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := s.sign(ctx, data, opts)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if err := s.options.Certificate.CheckSignature(s.options.Digest, sum, signature); err != nil {
		return nil, fmt.Errorf("the certificate does not verify the signature, so nothing was written: %w", err)
	}
	return signature, nil
}

func (s *Signer) sign(ctx context.Context, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	if key, ok := s.options.Key.(contextSigner); ok {
		return key.SignContext(ctx, rand.Reader, data, opts)
	}
	return s.options.Key.Sign(rand.Reader, data, opts)
}
