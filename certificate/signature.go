package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/rsa"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strings"

	"filippo.io/mldsa"

	"sign-file/digest"
	"sign-file/internal/ecdsaonce"
	"sign-file/internal/fips204"
	"sign-file/internal/rsalanes"
)

// ErrSignature says that a signature is not the certificate's over this digest.
var ErrSignature = errors.New("the signature does not match the data")

// NewHash returns the hash for the content that a signature covers: that of the
// algorithm, except for ML-DSA keys, which hash in their own way, whatever algorithm the message
// names. Its sum is mu then.
func (c *Certificate) NewHash(algorithm *digest.Algorithm) hash.Hash {
	return newHash(c.publicKey, algorithm)
}

func newHash(key crypto.PublicKey, algorithm *digest.Algorithm) hash.Hash {
	if key, ok := key.(*mldsa.PublicKey); ok {
		return fips204.NewMu(key)
	}
	return algorithm.New()
}

// CheckSignature verifies a signature value, RSA PKCS#1 v1.5, ECDSA in DER or
// ML-DSA, over a sum that NewHash's hash made. The error is ErrSignature where
// the key is one that signs, and says so where it is not.
func (c *Certificate) CheckSignature(algorithm *digest.Algorithm, sum, signature []byte) error {
	key, err := c.PublicKey()
	if err != nil {
		return err
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return c.checkRSA(key, algorithm.DigestInfo(sum), signature)
	case *ecdsa.PublicKey:
		return c.checkECDSA(key, sum, signature)
	case *mldsa.PublicKey:
		if !fips204.VerifyMu(key, sum, signature) {
			return ErrSignature
		}
		return nil
	}
	return fmt.Errorf("%s keys do not verify module signatures", KeyName(key))
}

// few is how many signatures package ecdsaonce checks faster than crypto/ecdsa, which has to
// get ready first.
const few = 3

func (c *Certificate) checkECDSA(key *ecdsa.PublicKey, sum, signature []byte) error {
	verify := ecdsa.VerifyASN1
	if ecdsaonce.Takes(key.Curve) && c.checks.Add(1) <= few && !fips140.Enabled() {
		verify = ecdsaonce.Verify
	}
	if !verify(key, sum, signature) {
		return ErrSignature
	}
	return nil
}

// checkRSA is RSASSA-PKCS1-v1_5 verification by building the expected block
// (RFC 8017, section 8.2.2), for every hash. The signature must be as long as the
// modulus, which the kernel's pkcs1pad demands too.
func (c *Certificate) checkRSA(key *rsa.PublicKey, digestInfo, signature []byte) error {
	public := c.rsa.Load()
	if public == nil {
		public = rsalanes.NewPublicKey(key.N, big.NewInt(int64(key.E)))
		c.rsa.Store(public)
	}
	size := public.Size()
	if len(signature) != size || size < len(digestInfo)+11 {
		return ErrSignature
	}
	want := bytes.Repeat([]byte{0xff}, size)
	want[0], want[1] = 0, 1
	copy(want[size-len(digestInfo):], digestInfo)
	want[size-len(digestInfo)-1] = 0

	if !public.Verifies(signature, want) {
		return ErrSignature
	}
	return nil
}

// KeyName names a public key for people: RSA-4096, ECDSA P-384, ML-DSA-65.
func KeyName(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *mldsa.PublicKey:
		return key.Parameters().String()
	}
	name, _ := strings.CutSuffix(strings.TrimPrefix(fmt.Sprintf("%T", key), "*"), ".PublicKey")
	return name // ed25519, dsa
}
