package pkcs8

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// PINFunc supplies the passphrase of what the prompt describes.
type PINFunc = func(prompt string) ([]byte, error)

// withPIN asks for the passphrase of an encrypted key, uses it once and wipes it.
// Copies that Go makes on the way (an environment, a string) are out of reach.
func withPIN[T any](pin PINFunc, use func(passphrase []byte) (T, error)) (T, error) {
	var none T
	passphrase, err := pin("passphrase of the private key")
	defer clear(passphrase)
	if err != nil {
		return none, fmt.Errorf("the key is encrypted: %w", err)
	}
	return use(passphrase)
}

// parseEncrypted opens an EncryptedPrivateKeyInfo (RFC 5958, section 3).
func parseEncrypted(der []byte, pin PINFunc) (crypto.Signer, error) {
	encryption, data, err := readEncrypted(der)
	if err != nil {
		return nil, err
	}
	plain, err := withPIN(pin, func(passphrase []byte) ([]byte, error) {
		return encryption.decrypt(data, passphrase)
	})
	if err != nil {
		return nil, err
	}
	return parseDecrypted(plain)
}

// parseDecrypted reads a PrivateKeyInfo that came out of a decryption.
func parseDecrypted(plain []byte) (crypto.Signer, error) {
	defer clear(plain)
	if _, _, ok := privateKeyAlgorithm(plain); !ok {
		return nil, ErrPassphrase // the padding was right by chance: one in 256 is
	}
	return parsePrivateKeyInfo(plain)
}

// isEncrypted tells an EncryptedPrivateKeyInfo from a PrivateKeyInfo, which begins
// with an INTEGER, and from a certificate, whose first SEQUENCE begins with no object
// identifier.
func isEncrypted(der []byte) bool {
	input := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	return input.ReadASN1(&info, cbasn1.SEQUENCE) && info.ReadASN1(&algorithm, cbasn1.SEQUENCE) &&
		algorithm.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER)
}

func readEncrypted(der []byte) (*encryption, []byte, error) {
	input := cryptobyte.String(der)
	var info, algorithm, data cryptobyte.String
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || // EncryptedPrivateKeyInfo ::= SEQUENCE {
		!info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || // encryptionAlgorithm AlgorithmIdentifier,
		!info.ReadASN1(&data, cbasn1.OCTET_STRING) { // encryptedData OCTET STRING }
		return nil, nil, errMalformedEncrypted
	}
	encryption, err := readEncryption(algorithm)
	return encryption, data, err
}

// encryption is a password-based encryption scheme with its parameters. Only the
// passphrase is missing.
type encryption struct {
	derive   func(passphrase []byte) (key, iv []byte, err error)
	newBlock func(key []byte) (cipher.Block, error)
}

// decrypt undoes CBC and the padding of RFC 8018, section 6.1.1.
func (e *encryption) decrypt(data, passphrase []byte) ([]byte, error) {
	key, iv, err := e.derive(passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := e.newBlock(key)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(data) == 0 || len(data)%size != 0 || len(iv) != size {
		return nil, errors.New("malformed encrypted private key: its length is not that of whole blocks")
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	n := int(plain[len(plain)-1])
	if n == 0 || n > size || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)) {
		clear(plain)
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-n], nil
}

func isSequence(der []byte) bool {
	input := cryptobyte.String(der)
	return input.SkipASN1(cbasn1.SEQUENCE) && input.Empty()
}
