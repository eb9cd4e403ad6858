package certificate

import (
	"crypto"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"filippo.io/mldsa/x509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/digest"
	"sign-file/internal/scheme"
)

// Purpose is what a certificate says that its key is for. The zero value signs, as the
// kernel's own does.
type Purpose struct {
	// CA: the key may sign certificates too. Kernels with CONFIG_INTEGRITY_CA_MACHINE_KEYRING
	// take no other from the firmware's list into .machine (restrict_link_by_ca).
	CA bool
	// Extended are the purposes of extKeyUsage (RFC 5280, section 4.2.1.12), none if empty.
	Extended []asn1.ObjectIdentifier
}

// SelfSigned makes a certificate of a key for itself: with the extensions of the
// kernel's certs/default_x509.genkey, in its order, which crypto/x509 can't keep.
// subject is a DER Name; the key signs as keys.Key says.
func SelfSigned(key crypto.Signer, subject []byte, purpose Purpose, algorithm *digest.Algorithm, notBefore, notAfter time.Time) (*Certificate, error) {
	signatureAlgorithm, err := signatureIdentifier(key.Public(), algorithm)
	if err != nil {
		return nil, err
	}
	publicKeyInfo, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	tbs, err := marshalTBS(signatureAlgorithm, subject, publicKeyInfo, purpose, notBefore, notAfter)
	if err != nil {
		return nil, err
	}
	h := newHash(key.Public(), algorithm)
	h.Write(tbs)
	sum := h.Sum(nil)
	signature, err := signSum(key, algorithm, sum)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // Certificate ::= SEQUENCE {
		b.AddBytes(tbs)                // tbsCertificate TBSCertificate,
		b.AddBytes(signatureAlgorithm) // signatureAlgorithm AlgorithmIdentifier,
		b.AddASN1BitString(signature)  // signatureValue BIT STRING }
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	c, err := Parse(der)
	if err != nil {
		return nil, err
	}
	return c, c.CheckSignature(algorithm, sum, signature)
}

func signSum(key crypto.Signer, algorithm *digest.Algorithm, sum []byte) ([]byte, error) {
	switch key.Public().(type) {
	case *rsa.PublicKey:
		return key.Sign(rand.Reader, algorithm.DigestInfo(sum), crypto.Hash(0))
	case *mldsa.PublicKey:
		return key.Sign(rand.Reader, sum, mldsacrypto.MLDSAMu)
	}
	return key.Sign(rand.Reader, sum, algorithm.Hash())
}

// signatureIdentifier is the AlgorithmIdentifier of a certificate's signature.
func signatureIdentifier(key crypto.PublicKey, algorithm *digest.Algorithm) ([]byte, error) {
	oid, null, ok := scheme.CertificateSignature(key, algorithm)
	if !ok {
		return nil, fmt.Errorf("no certificates are made with %v and a key of type %s (use sha256, sha384, sha512, or sha3-256 and longer)", algorithm, KeyName(key))
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // AlgorithmIdentifier ::= SEQUENCE {
		b.AddASN1ObjectIdentifier(oid) // algorithm OBJECT IDENTIFIER,
		if null {
			b.AddASN1NULL() // parameters NULL }
		}
	})
	return b.Bytes()
}

func marshalTBS(signatureAlgorithm, subject, publicKeyInfo []byte, purpose Purpose, notBefore, notAfter time.Time) ([]byte, error) {
	if notAfter.Year() > 9999 {
		return nil, errors.New("a certificate cannot be valid beyond the year 9999")
	}
	explicit := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // TBSCertificate ::= SEQUENCE {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // version [0] EXPLICIT, v3,
		b.AddASN1BigInt(newSerial())                                              // serialNumber,
		b.AddBytes(signatureAlgorithm)                                            // signature AlgorithmIdentifier,
		b.AddBytes(subject)                                                       // issuer Name,
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {                  // validity Validity,
			addTime(b, notBefore)
			addTime(b, notAfter)
		})
		b.AddBytes(subject)                                  // subject Name,
		b.AddBytes(publicKeyInfo)                            // subjectPublicKeyInfo,
		b.AddASN1(explicit(3), func(b *cryptobyte.Builder) { // extensions [3] EXPLICIT }
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { purpose.addExtensions(b, keyID(publicKeyInfo)) })
		})
	})
	return b.Bytes()
}

// newSerial is a random number of 159 bits, as openssl req's: positive in 20 bytes,
// the most that RFC 5280 allows (section 4.1.2.2).
func newSerial() *big.Int {
	random := make([]byte, 20)
	rand.Read(random)
	random[0] = random[0]&0x7f | 0x40
	return new(big.Int).SetBytes(random)
}

// addTime is UTCTime until 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t = t.UTC(); t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

// keyID is method 1 of RFC 5280, section 4.2.1.2: SHA-1 of the key's BIT STRING.
func keyID(publicKeyInfo []byte) []byte {
	input := cryptobyte.String(publicKeyInfo)
	var info cryptobyte.String
	var key asn1.BitString
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.SEQUENCE) || !info.ReadASN1BitString(&key) {
		return nil
	}
	var sum [sha1.Size]byte
	fips140.WithoutEnforcement(func() { sum = sha1.Sum(key.Bytes) }) // a name, which protects nothing
	return sum[:]
}

// addExtensions writes those of default_x509.genkey: basicConstraints=critical,
// CA:FALSE; keyUsage=digitalSignature; subjectKeyIdentifier=hash. Of
// authorityKeyIdentifier=keyid OpenSSL 3 makes nothing in a self-signed certificate.
func (p Purpose) addExtensions(b *cryptobyte.Builder, id []byte) {
	usage := []byte{byte(cbasn1.BIT_STRING), 2, 7, 1 << 7} // digitalSignature is bit 0 of 1
	if p.CA {
		usage = []byte{byte(cbasn1.BIT_STRING), 2, 2, 1<<7 | 1<<2} // and keyCertSign 5 of 6
	}
	add := func(number int, critical bool, value func(*cryptobyte.Builder)) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // Extension ::= SEQUENCE {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 29, number}) // extnID,
			if critical {
				b.AddASN1Boolean(true) // critical BOOLEAN DEFAULT FALSE,
			}
			b.AddASN1(cbasn1.OCTET_STRING, value) // extnValue OCTET STRING }
		})
	}
	add(19, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if p.CA {
				b.AddASN1Boolean(true) // cA BOOLEAN DEFAULT FALSE
			}
		})
	})
	add(15, false, func(b *cryptobyte.Builder) { b.AddBytes(usage) })
	if len(p.Extended) > 0 {
		add(37, false, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, purpose := range p.Extended {
					b.AddASN1ObjectIdentifier(purpose)
				}
			})
		})
	}
	add(14, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(id) })
}
