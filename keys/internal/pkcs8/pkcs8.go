// Package pkcs8 reads private keys from files, in every form that sign-file's users
// keep them in: PKCS#8 (RFC 5958), PKCS#1, SEC1 and PKCS#12, plain or encrypted, in PEM
// or DER. It exists because no library reads all of them: those that there are refuse
// scrypt, SHA-512 as a PRF, PBES1, ML-DSA as OpenSSL writes it, or a certificate in
// front of the key. What a file asks for is bounded before a passphrase is asked for.
package pkcs8

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/internal/fips204"
	"sign-file/internal/scheme"
)

// Parse reads the first private key of a PEM file, whatever text, certificates and
// parameters are in front of it, or the key of a DER file. It returns an
// *RSA or *rsa.PrivateKey, *ecdsa.PrivateKey, *ecdsaonce.PrivateKey or *mldsa.PrivateKey. An encrypted
// key's passphrase comes from pin, which is called for no other, and is wiped after use.
func Parse(data []byte, pin PINFunc) (crypto.Signer, error) {
	if isUTF16(data) {
		return nil, &NoKeyError{Found: []string{"text in UTF-16"}, UTF16: true}
	}
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
	if len(other) == 0 && len(data) > 0 && data[0] == 0x30 {
		return parseDER(data, pin)
	}
	return nil, &NoKeyError{Found: other}
}

// isUTF16 looks for a byte order mark, which Windows editors write.
func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
}

func parseBlock(block *pem.Block, pin PINFunc) (crypto.Signer, error) {
	defer clear(block.Bytes)
	switch {
	case isTraditional(block):
		return parseTraditional(block, pin)
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return parseEncrypted(block.Bytes, pin)
	case block.Type == "PKCS12":
		return parsePKCS12(block.Bytes, pin)
	}
	return parsePlain(block.Type, block.Bytes)
}

// parsePlain reads the DER of a PEM block of the given type.
func parsePlain(kind string, der []byte) (crypto.Signer, error) {
	switch kind {
	case "PRIVATE KEY":
		return parsePrivateKeyInfo(der)
	case "RSA PRIVATE KEY":
		return parsePKCS1(der)
	case "EC PRIVATE KEY":
		return parseSEC1(der)
	case "DSA PRIVATE KEY":
		return nil, &KeyTypeError{Type: "DSA"}
	case "OPENSSH PRIVATE KEY":
		return nil, &KeyTypeError{Type: "OpenSSH"}
	}
	return nil, &KeyTypeError{Type: kind}
}

func parseDER(data []byte, pin PINFunc) (crypto.Signer, error) {
	if key, err := parsePKCS1(data); err == nil {
		return key, nil
	}
	switch {
	case isSEC1(data):
		return parseSEC1(data)
	case isPKCS12(data):
		return parsePKCS12(data, pin)
	case isEncrypted(data):
		return parseEncrypted(data, pin)
	case isCertificate(data):
		return nil, &NoKeyError{Found: []string{"CERTIFICATE"}}
	}
	return parsePrivateKeyInfo(data)
}

// isCertificate tells a certificate from a key: it begins with a SEQUENCE that begins
// with a version or a serial number, and no key does.
func isCertificate(der []byte) bool {
	input := cryptobyte.String(der)
	var outer, tbs cryptobyte.String
	return input.ReadASN1(&outer, cbasn1.SEQUENCE) && outer.ReadASN1(&tbs, cbasn1.SEQUENCE) &&
		(tbs.PeekASN1Tag(tagExplicit0) || tbs.PeekASN1Tag(cbasn1.INTEGER)) && outer.PeekASN1Tag(cbasn1.SEQUENCE)
}

// refused names an algorithm of PKCS#8 keys that sign no module, "" for all others. An
// RSA-PSS key is one of them: what sign-file writes with it doesn't verify.
func refused(oid string) string {
	switch oid {
	case "1.2.840.113549.1.1.10":
		return "RSA-PSS"
	case "1.2.840.10040.4.1":
		return "DSA"
	case "1.3.101.110":
		return "X25519"
	case "1.3.101.112":
		return "Ed25519"
	case "1.3.101.113":
		return "Ed448"
	}
	return ""
}

// parsePrivateKeyInfo reads a PrivateKeyInfo (RFC 5958).
func parsePrivateKeyInfo(der []byte) (crypto.Signer, error) {
	oid, parameters, ok := privateKeyAlgorithm(der)
	if !ok {
		return nil, errMalformed
	}
	if name := refused(oid.String()); name != "" {
		return nil, &KeyTypeError{Type: name}
	}
	if set, ok := fips204.ByOID(oid); ok {
		return parseMLDSA(der, set)
	}
	if oid.Equal(scheme.OIDRSA()) {
		if key, ok := parsePKCS8RSA(der); ok {
			return key, nil
		}
	}
	if oid.Equal(scheme.OIDECPublicKey()) {
		if key, ok := parsePKCS8EC(der, parameters); ok {
			return key, nil
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if curve := checkCurve(parameters); oid.Equal(scheme.OIDECPublicKey()) && curve != nil {
			return nil, curve
		}
		return nil, malformed(err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	}
	return nil, &KeyTypeError{Type: fmt.Sprintf("%T", key)}
}

// privateKeyAlgorithm reads the AlgorithmIdentifier of a PrivateKeyInfo.
func privateKeyAlgorithm(der []byte) (oid asn1.ObjectIdentifier, parameters cryptobyte.String, ok bool) {
	input := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	ok = input.ReadASN1(&info, cbasn1.SEQUENCE) &&
		info.SkipASN1(cbasn1.INTEGER) && // version INTEGER,
		info.ReadASN1(&algorithm, cbasn1.SEQUENCE) && // privateKeyAlgorithm AlgorithmIdentifier,
		algorithm.ReadASN1ObjectIdentifier(&oid)
	return oid, algorithm, ok
}
