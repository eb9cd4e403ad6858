// Package signfile signs kernel modules as the kernel's scripts/sign-file does, byte for
// byte: Sign from a reader to a writer, SignFile on a file that is replaced whole or not
// at all. A Signer does so many times, on whole trees too (Tree, SignMany), and has the
// other verbs: detach, attach, strip.
package signfile

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

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
	// with its hash, PKCS#1 v1.5 for RSA; an ECDSA signature is ASN.1 DER, or r followed by s. An RSA key
	// whose answer does not verify, or that has no SHA-3 and the like, is asked once
	// more, for a complete DigestInfo with crypto.Hash(0). ML-DSA keys sign mu, with
	// mldsacrypto.MLDSAMu. Public may be nil where the key itself can't tell: then it
	// is taken to be the certificate's. The key is used by as many goroutines as the
	// Signer. One that takes long may have keys.ContextSigner's method SignContext,
	// which is called in place of Sign then, and can be cancelled.
	Key         crypto.Signer
	Certificate *certificate.Certificate
	// Digest is the hash algorithm; nil means SHA-512, the kernel's default.
	Digest *digest.Algorithm
	// UseKeyID names the signer by the certificate's subject key identifier
	// instead of issuer and serial number (sign-file -k).
	UseKeyID bool
	// IncludeCertificate embeds the certificate, and those of Chain, in the message: what
	// is verified by way of an intermediate authority needs them.
	IncludeCertificate bool
	Chain              []*certificate.Certificate
	// SignedAttributes has an ML-DSA key sign the content's digest, among other
	// attributes, instead of the content: what sign-file makes with OpenSSL 3.5.
	SignedAttributes bool
}

// Sign copies a module from src to dst and appends its signature, whether or not it is
// signed already. When it fails, dst has a part of the module, or all of it, and no
// signature.
func Sign(ctx context.Context, dst io.Writer, src io.Reader, o Options) error {
	s, err := NewSigner(o)
	if err != nil {
		return err
	}
	return s.Sign(ctx, dst, src)
}

// SignFile signs a module in place. A module whose name ends with .ko.xz, .ko.zst or
// .ko.gz is signed inside. It keeps its mode, owner and attributes, and on an error it is
// as it was. One that is signed already is ErrSigned: see Signer.SignFile for others.
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
	ready   *ready         // a message that is made already, and is only checked
}

// ErrMessageTooLong says that the PKCS#7 message, for which a certificate's names are to
// blame, is longer than the kernel reads (asn1_ber_decoder: EMSGSIZE).
var ErrMessageTooLong = fmt.Errorf("the PKCS#7 message is longer than the %d bytes that the kernel reads", cms.MaxSize)

// MismatchError says that a private key, of which Key is the public one, is not that of
// the certificate.
type MismatchError struct{ Key, Certificate crypto.PublicKey }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the private key (%s) does not belong to the certificate (%s)", certificate.KeyName(e.Key), certificate.KeyName(e.Certificate))
}

// ErrHash says that a hash does not go with a key.
var ErrHash = errors.New("can't be used")

// NewSigner checks that key, certificate and hash are there and go together.
func NewSigner(o Options) (*Signer, error) {
	switch {
	case o.Key == nil:
		return nil, errors.New("a signer needs a key")
	case o.Certificate == nil:
		return nil, errors.New("a signer needs a certificate")
	case o.Digest == nil:
		o.Digest = digest.SHA512
	}
	// Read once more, it is what its bytes say, whatever its fields are changed to.
	var err error
	if o.Certificate, err = certificate.Parse(bytes.Clone(o.Certificate.Raw)); err != nil {
		return nil, err
	}
	public, err := o.Certificate.PublicKey()
	if err != nil {
		return nil, err
	}
	if own := o.Key.Public(); own != nil && !samePublicKey(own, public) {
		return nil, &MismatchError{own, public}
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

// errNoSigner: a zero Signer.
var errNoSigner = errors.New("no signer: NewSigner has not made it")

func (s *Signer) check() error {
	if s == nil || s.public == nil {
		return errNoSigner
	}
	return nil
}

func signerID(c *certificate.Certificate, useKeyID bool) (cms.SignerID, error) {
	switch {
	case !useKeyID:
		return cms.SignerID{Issuer: c.Issuer, Serial: c.Serial}, nil
	case c.SubjectKeyID == nil:
		return cms.SignerID{}, errors.New("the certificate has no subject key identifier to name the signer by")
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
		return fmt.Errorf("%v %w with signed attributes: with ML-DSA, the kernel takes only sha512", algorithm, ErrHash)
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
		return cms.AlgorithmIdentifier{}, fmt.Errorf("%v %w with an ECDSA key (use sha256, sha384 or sha512)", algorithm, ErrHash)
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
// first, so that a key that errs silently ends in an error. That some keys check their own
// results, to repair them, does not spare it: what is written is what was checked here.
func (s *Signer) Message(ctx context.Context, sum []byte) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if size := s.newHash().Size(); len(sum) != size {
		return nil, fmt.Errorf("a sum of %d bytes, and not of %d", len(sum), size)
	}
	if s.ready != nil {
		return s.ready.message, s.ready.check(s.options.Certificate, s.options.Digest, sum)
	}
	info, sum := s.cover(sum)
	var err error
	if info.Signature, err = s.checkedSignature(ctx, sum); err != nil {
		return nil, err
	}
	return s.assemble(info)
}

// assemble makes the message of one signer.
func (s *Signer) assemble(info cms.SignerInfo) ([]byte, error) {
	signed := cms.New(info)
	if s.options.IncludeCertificate {
		embedded := [][]byte{s.options.Certificate.Raw}
		for _, c := range s.options.Chain {
			embedded = append(embedded, c.Raw)
		}
		signed.Embed(embedded...)
	}
	message, err := signed.Marshal()
	if err == nil && len(message) > cms.MaxSize {
		return nil, ErrMessageTooLong
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

// longestSignature is a value as long as any of a key, and whether all are that long.
func longestSignature(public crypto.PublicKey) (value []byte, exact bool) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return make([]byte, key.Size()), true
	case *mldsa.PublicKey:
		return make([]byte, key.Parameters().SignatureSize()), true
	case *ecdsa.PublicKey:
		// r and s with all bits set, which as INTEGERs have a zero byte before them.
		size := (key.Curve.Params().N.BitLen() + 7) / 8
		most := bytes.Repeat([]byte{0xff}, 2*size)
		if key.Curve.Params().N.BitLen()%8 != 0 {
			most[0], most[size] = 1, 1
		}
		value, _ = scheme.EncodeECDSA(most)
	}
	return value, false
}

// knowsHashes is implemented by keys of package keys, which know every hash and are not
// asked twice.
type knowsHashes interface{ KnowsHashes() bool }

// checkedSignature has the key sign a sum, and verifies what it returns.
func (s *Signer) checkedSignature(ctx context.Context, sum []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
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
	if isRSA && err != nil && s.mayAskAgain(err) {
		if again, other := digestInfo(); other == nil {
			return again, nil
		}
	}
	return signature, err
}

// mayAskAgain: some signers sign the bare digest, others refuse SHA-3, and Go has another
// identifier for RIPEMD-160 than OpenSSL. One that refuses a hash that all of them know has
// its reasons.
func (s *Signer) mayAskAgain(err error) bool {
	if key, ok := s.options.Key.(knowsHashes); ok && key.KnowsHashes() {
		return false
	}
	common := []*digest.Algorithm{digest.SHA1, digest.SHA224, digest.SHA256, digest.SHA384, digest.SHA512}
	return errors.Is(err, certificate.ErrSignature) || !slices.Contains(common, s.options.Digest)
}

// verified is one signature, of data with opts, over a sum.
func (s *Signer) verified(ctx context.Context, sum, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	// Neither may the key change what is checked, nor what has been checked.
	signature, err := s.sign(ctx, bytes.Clone(data), opts)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	signature = bytes.Clone(signature)
	if key, ok := s.public.(*ecdsa.PublicKey); ok {
		signature = scheme.ECDSAInDER(key, signature)
	}
	if err := s.options.Certificate.CheckSignature(s.options.Digest, sum, signature); err != nil {
		return nil, fmt.Errorf("the certificate does not verify the signature, so it is not used: %w", err)
	}
	return signature, nil
}

func (s *Signer) sign(ctx context.Context, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	return signWith(ctx, s.options.Key, rand.Reader, data, opts)
}

func signWith(ctx context.Context, key crypto.Signer, random io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	if key, ok := key.(contextSigner); ok {
		return key.SignContext(ctx, random, data, opts)
	}
	return key.Sign(random, data, opts)
}
