package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/fips204"
)

// maxFileSize bounds what is read as a key file, in bytes. Bags of keys and
// certificates with their text are some kilobytes long.
const maxFileSize = 16 << 20

// fileKey is a private key in memory. It needs no closing.
type fileKey struct{ crypto.Signer }

func (fileKey) Close() error { return nil }

func openFile(path string, pin PINFunc) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("larger than %d bytes, not a key", maxFileSize)
	}
	defer clear(data)
	signer, err := Parse(data, pin.describe("passphrase of "+path))
	if err != nil {
		return nil, err
	}
	return fileKey{signer}, nil
}

// reason drops the path from an error of package os: the caller names it.
func reason(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Parse reads the first private key of a PEM file, whatever text, certificates
// and parameters stand before it, or the key of a DER file. An encrypted key's
// passphrase comes from pin, which is not called for any other.
func Parse(data []byte, pin PINFunc) (crypto.Signer, error) {
	rest := bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var other []string
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") || block.Type == "PKCS12" {
			return parseBlock(block, pin)
		}
		other = append(other, block.Type)
	}
	if len(other) > 0 {
		return nil, fmt.Errorf("no private key in it, only %s", strings.Join(other, ", "))
	}
	if len(data) > 0 && data[0] == 0x30 {
		return parseDER(data, pin)
	}
	return nil, errors.New("no private key in it (want PEM or DER: PKCS#8, PKCS#1, SEC1 or PKCS#12)")
}

func parseBlock(block *pem.Block, pin PINFunc) (crypto.Signer, error) {
	defer clear(block.Bytes)
	switch {
	case isTraditional(block):
		return parseTraditional(block, pin)
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return parseEncryptedPKCS8(block.Bytes, pin)
	case block.Type == "PKCS12":
		return parsePKCS12(block.Bytes, pin)
	}
	return parsePlain(block.Type, block.Bytes)
}

// parsePlain reads the DER of a PEM block of the given type.
func parsePlain(kind string, der []byte) (crypto.Signer, error) {
	switch kind {
	case "PRIVATE KEY":
		return parsePKCS8(der)
	case "RSA PRIVATE KEY":
		return usable(x509.ParsePKCS1PrivateKey(der))
	case "EC PRIVATE KEY":
		return usable(x509.ParseECPrivateKey(der))
	case "DSA PRIVATE KEY":
		return nil, errDSA
	case "OPENSSH PRIVATE KEY":
		return nil, errors.New("an OpenSSH key; convert it with ssh-keygen -p -m PKCS8")
	}
	return nil, fmt.Errorf("unknown kind of key %q", kind)
}

func parseDER(data []byte, pin PINFunc) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(data); err == nil {
		return usable(key, nil)
	}
	if key, err := x509.ParseECPrivateKey(data); err == nil {
		return usable(key, nil)
	}
	if isPKCS12(data) {
		return parsePKCS12(data, pin)
	}
	if isEncryptedPKCS8(data) {
		return parseEncryptedPKCS8(data, pin)
	}
	return parsePKCS8(data)
}

const verifiable = "the kernel verifies RSA, ECDSA and ML-DSA"

var (
	errDSA = errors.New("a DSA key; " + verifiable)
	errPSS = errors.New("an RSA-PSS key; module signatures are PKCS#1 v1.5, which such a key must not make (use a plain RSA key)")
)

// Algorithms of PKCS#8 keys that are refused with their reason. An RSA-PSS key
// is one of them: sign-file's output with it doesn't verify.
var refused = map[string]error{
	"1.2.840.113549.1.1.10": errPSS,
	"1.2.840.10040.4.1":     errDSA,
	"1.3.101.112":           errors.New("an Ed25519 key; " + verifiable),
	"1.3.101.113":           errors.New("an Ed448 key; " + verifiable),
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	oid, ok := pkcs8Algorithm(der)
	if !ok {
		return nil, errors.New("not a private key (want PKCS#8, PKCS#1 or SEC1), or truncated")
	}
	if err := refused[oid.String()]; err != nil {
		return nil, err
	}
	if parameters, ok := fips204.ByOID(oid); ok {
		return parseMLDSA(der, parameters)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	return usable(key, err)
}

// pkcs8Algorithm reads privateKeyAlgorithm of a PrivateKeyInfo (RFC 5958).
func pkcs8Algorithm(der []byte) (asn1.ObjectIdentifier, bool) {
	input := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	var oid asn1.ObjectIdentifier
	ok := input.ReadASN1(&info, cbasn1.SEQUENCE) &&
		info.SkipASN1(cbasn1.INTEGER) && // version INTEGER,
		info.ReadASN1(&algorithm, cbasn1.SEQUENCE) && // privateKeyAlgorithm AlgorithmIdentifier,
		algorithm.ReadASN1ObjectIdentifier(&oid)
	return oid, ok
}

// usable turns what crypto/x509 parsed into a signer of the kinds that sign
// modules, and its errors into this package's style.
func usable[K any](key K, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, trimX509(err)
	}
	switch key := any(key).(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("a key of type %T; %s", key, verifiable)
}

// trimX509 puts an error of crypto/x509 into this package's style.
func trimX509(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "x509: "))
}
