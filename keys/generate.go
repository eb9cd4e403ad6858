package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"filippo.io/mldsa/x509"

	"sign-file/keys/internal/pkcs8"
	"sign-file/keys/token"
)

// kinds are the keys that Generate makes: those that kernels verify with.
var kinds = []struct {
	name     string
	generate func() (crypto.Signer, error)
}{
	{"rsa:2048", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
	{"rsa:3072", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
	{"rsa:4096", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) }},
	{"ec:p256", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"ec:p384", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
	{"ec:p521", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) }},
	{"ml-dsa-44", func() (crypto.Signer, error) { return mldsa.GenerateKey(mldsa.MLDSA44()) }},
	{"ml-dsa-65", func() (crypto.Signer, error) { return mldsa.GenerateKey(mldsa.MLDSA65()) }},
	{"ml-dsa-87", func() (crypto.Signer, error) { return mldsa.GenerateKey(mldsa.MLDSA87()) }},
}

// Kinds returns the names that Generate takes.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Generate makes a new private key of the named kind, such as rsa:4096. It signs as Key
// describes it.
func Generate(kind string) (crypto.Signer, error) {
	for _, k := range kinds {
		if k.name == kind {
			key, err := k.generate()
			if err != nil {
				return nil, err
			}
			return usable(key), nil
		}
	}
	return nil, fmt.Errorf("%q: unknown kind of key (want %s)", kind, strings.Join(Kinds(), ", "))
}

// MarshalPEM writes a private key, of Generate or Parse, as openssl req does: PKCS#8,
// encrypted if a passphrase is there. An empty one is one too; nil is none. Of an ML-DSA
// key it writes only the seed, which RFC 9881 recommends.
func MarshalPEM(key crypto.Signer, passphrase []byte) ([]byte, error) {
	if len(passphrase) > token.MaxPINSize {
		return nil, errLongPassphrase
	}
	standard, err := standardKey(key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(standard)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if passphrase == nil {
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
	encrypted, err := pkcs8.Encrypt(der, passphrase)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}), nil
}

// standardKey is a key of this package as the standard library has it.
func standardKey(key crypto.Signer) (crypto.Signer, error) {
	switch k := key.(type) {
	case rsaKey:
		return k.standard()
	case ecdsaKey:
		return k.private, nil
	case *onceKey:
		return k.std()
	}
	return key, nil
}
