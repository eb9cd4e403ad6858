package keys

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// errPassphrase: all the ways in which a wrong passphrase shows. None of the
// formats can tell it from a damaged file.
var errPassphrase = errors.New("wrong passphrase (or a damaged file)")

// unsupported is the error for encryption that OpenSSL knows and this package
// doesn't, with the way out.
func unsupported(what string, name any) error {
	return fmt.Errorf("%s %v is not supported (re-encrypt the key with: openssl pkcs8 -topk8 -v2 aes-256-cbc)", what, name)
}

// withPIN asks for the passphrase of an encrypted key, uses it once and wipes it.
// Copies that Go makes on the way (an environment, a string) are out of reach.
func withPIN[T any](pin PINFunc, use func(passphrase []byte) (T, error)) (T, error) {
	var none T
	if pin == nil {
		return none, fmt.Errorf("the key is encrypted: %w", ErrNoPIN)
	}
	passphrase, err := pin("passphrase of the private key")
	defer clear(passphrase)
	if err != nil {
		return none, fmt.Errorf("the key is encrypted: %w", err)
	}
	if len(passphrase) > MaxPINSize {
		return none, fmt.Errorf("the key is encrypted: passphrase longer than %d bytes", MaxPINSize)
	}
	return use(passphrase)
}

// parseEncryptedPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5958, section 3).
func parseEncryptedPKCS8(der []byte, pin PINFunc) (crypto.Signer, error) {
	encryption, data, err := readEncryptedPKCS8(der)
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
	if _, ok := pkcs8Algorithm(plain); !ok {
		return nil, errPassphrase // the padding was right by chance: one in 256 is
	}
	return parsePKCS8(plain)
}

// isEncryptedPKCS8 tells an EncryptedPrivateKeyInfo from a PrivateKeyInfo, which
// begins with an INTEGER.
func isEncryptedPKCS8(der []byte) bool {
	input := cryptobyte.String(der)
	var info cryptobyte.String
	return input.ReadASN1(&info, cbasn1.SEQUENCE) && info.PeekASN1Tag(cbasn1.SEQUENCE)
}

func readEncryptedPKCS8(der []byte) (*encryption, []byte, error) {
	input := cryptobyte.String(der)
	var info, algorithm, data cryptobyte.String
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || // EncryptedPrivateKeyInfo ::= SEQUENCE {
		!info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || // encryptionAlgorithm AlgorithmIdentifier,
		!info.ReadASN1(&data, cbasn1.OCTET_STRING) { // encryptedData OCTET STRING }
		return nil, nil, errors.New("malformed encrypted private key, or truncated")
	}
	encryption, err := readEncryption(algorithm)
	return encryption, data, err
}

// encryption is a password-based encryption scheme with its parameters, complete
// but for the passphrase.
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
		return nil, errPassphrase
	}
	return plain[:len(plain)-n], nil
}
