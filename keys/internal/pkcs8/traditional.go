package pkcs8

import (
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
)

// isTraditional tells the encryption of PEM itself (RFC 1421) from that of PKCS#8.
func isTraditional(block *pem.Block) bool { return block.Headers["DEK-Info"] != "" }

// dekCiphers are those of DEK-Info that crypto/x509 knows. DES, which it knows
// too, needs OpenSSL's legacy provider.
var dekCiphers = []string{"AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-EDE3-CBC"}

// parseTraditional opens a key under Proc-Type: 4,ENCRYPTED. Its key derivation is
// one round of MD5, so it needs no bound.
func parseTraditional(block *pem.Block, pin PINFunc) (crypto.Signer, error) {
	cipher, _, _ := strings.Cut(block.Headers["DEK-Info"], ",")
	if !slices.Contains(dekCiphers, cipher) {
		return nil, unsupportedName(cipher)
	}
	if fips140.Enforced() { // crypto/md5 would panic
		return nil, errNotFIPS
	}
	plain, err := withPIN(pin, func(passphrase []byte) ([]byte, error) {
		//lint:ignore SA1019 old keys are encrypted like this, and sign-file reads them
		plain, err := x509.DecryptPEMBlock(block, passphrase)
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, ErrPassphrase
		}
		return plain, err
	})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if !isSequence(plain) {
		return nil, ErrPassphrase // the padding was right by chance
	}
	return parsePlain(block.Type, plain)
}
