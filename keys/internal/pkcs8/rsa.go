package pkcs8

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/x509"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/rsalanes"
)

// RSA is an RSA private key that is read, and not checked: that takes crypto/x509 as long
// as a signature takes package rsalanes, and each signature is verified anyway.
type RSA struct {
	Numbers rsalanes.Numbers
	der     []byte
}

// Standard is the key as crypto/rsa has it, with all its checks.
func (k *RSA) Standard() (*rsa.PrivateKey, error) {
	key, err := x509.ParsePKCS1PrivateKey(k.der)
	if err != nil {
		return nil, malformed(err)
	}
	return key, nil
}

// Public returns the *rsa.PublicKey.
func (k *RSA) Public() crypto.PublicKey { return &k.Numbers.Public }

// Sign signs as crypto/rsa does.
func (k *RSA) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	key, err := k.Standard()
	if err != nil {
		return nil, err
	}
	return key.Sign(random, digest, opts)
}

// parsePKCS1 reads an RSAPrivateKey (RFC 8017, appendix A.1.2): an *RSA where package
// rsalanes takes it, an *rsa.PrivateKey otherwise.
func parsePKCS1(der []byte) (crypto.Signer, error) {
	if key, ok := readRSA(der); ok && !fips140.Enabled() && key.Numbers.Takes() {
		return key, nil
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, malformed(err)
	}
	return key, nil
}

func readRSA(der []byte) (*RSA, bool) {
	k := &RSA{Numbers: rsalanes.Numbers{Public: rsa.PublicKey{N: new(big.Int)}}, der: bytes.Clone(der)}
	n := &k.Numbers
	input, body := cryptobyte.String(k.der), cryptobyte.String(nil)
	var version int
	ok := input.ReadASN1(&body, cbasn1.SEQUENCE) && input.Empty() && // RSAPrivateKey ::= SEQUENCE {
		body.ReadASN1Integer(&version) && version == 0 && // version Version,
		body.ReadASN1Integer(n.Public.N) && // modulus INTEGER,
		body.ReadASN1Integer(&n.Public.E) && // publicExponent INTEGER,
		body.SkipASN1(cbasn1.INTEGER) && // privateExponent INTEGER,
		readNumber(&body, &n.P) && readNumber(&body, &n.Q) && // prime1 INTEGER, prime2 INTEGER,
		readNumber(&body, &n.Dp) && readNumber(&body, &n.Dq) && // exponent1 INTEGER, exponent2 INTEGER,
		readNumber(&body, &n.QInv) && body.Empty() // coefficient INTEGER }
	return k, ok && n.Public.N.Sign() > 0
}

// readNumber reads a positive INTEGER without its leading zero.
func readNumber(from *cryptobyte.String, number *[]byte) bool {
	var content cryptobyte.String
	if !from.ReadASN1(&content, cbasn1.INTEGER) || len(content) == 0 || content[0] >= 0x80 {
		return false
	}
	*number = bytes.TrimLeft(content, "\x00")
	return true
}

// parsePKCS8RSA is parsePKCS1 for a PrivateKeyInfo (RFC 5958) of rsaEncryption.
func parsePKCS8RSA(der []byte) (*RSA, bool) {
	input := cryptobyte.String(der)
	var info, inner cryptobyte.String
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || // PrivateKeyInfo ::= SEQUENCE {
		!info.SkipASN1(cbasn1.INTEGER) || // version INTEGER,
		!info.SkipASN1(cbasn1.SEQUENCE) || // privateKeyAlgorithm AlgorithmIdentifier,
		!info.ReadASN1(&inner, cbasn1.OCTET_STRING) { // privateKey OCTET STRING, ... }
		return nil, false
	}
	key, ok := readRSA(inner)
	return key, ok && !fips140.Enabled() && key.Numbers.Takes()
}
