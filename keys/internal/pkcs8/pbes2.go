package pkcs8

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/scrypt"

	"sign-file/digest"
)

// Bounds on what a key file may ask for before its passphrase is checked. OpenSSL
// writes 2048 iterations or scrypt with 16 MiB, others up to some hundred
// thousand; OpenSSL itself refuses to read scrypt above 32 MiB.
const (
	// maxIterations bounds PBKDF2 and the KDF of PKCS#12: some ten seconds.
	maxIterations = 10_000_000
	// maxScryptMemory bounds 128·N·r, in bytes.
	maxScryptMemory = 256 << 20
	// maxScryptWork bounds N·r·p: a hundred times OpenSSL's default.
	maxScryptWork = 1 << 24
	// maxSalt bounds a salt, in bytes: they are 8 to 64 long.
	maxSalt = 1024
)

// Object identifiers of RFC 8018, appendix A, and RFC 7914, section 7.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}

	oidHMACWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// prf finds the pseudo-random function of PBKDF2: RFC 8018, appendix B.1, and for
// SHA-3 the NIST CSOR.
func prf(oid asn1.ObjectIdentifier) *digest.Algorithm {
	switch oid.String() {
	case "1.2.840.113549.2.7":
		return digest.SHA1
	case "1.2.840.113549.2.8":
		return digest.SHA224
	case "1.2.840.113549.2.9":
		return digest.SHA256
	case "1.2.840.113549.2.10":
		return digest.SHA384
	case "1.2.840.113549.2.11":
		return digest.SHA512
	case "1.2.840.113549.2.12":
		return digest.SHA512_224
	case "1.2.840.113549.2.13":
		return digest.SHA512_256
	case "2.16.840.1.101.3.4.2.13":
		return digest.SHA3_224
	case "2.16.840.1.101.3.4.2.14":
		return digest.SHA3_256
	case "2.16.840.1.101.3.4.2.15":
		return digest.SHA3_384
	case "2.16.840.1.101.3.4.2.16":
		return digest.SHA3_512
	}
	return nil
}

// blockCipher finds a CBC encryption scheme: RFC 8018, appendix B.2.
func blockCipher(oid asn1.ObjectIdentifier) (newBlock func([]byte) (cipher.Block, error), keySize, blockSize int) {
	switch oid.String() {
	case "2.16.840.1.101.3.4.1.2":
		return aes.NewCipher, 16, aes.BlockSize
	case "2.16.840.1.101.3.4.1.22":
		return aes.NewCipher, 24, aes.BlockSize
	case "2.16.840.1.101.3.4.1.42":
		return aes.NewCipher, 32, aes.BlockSize
	case "1.2.840.113549.3.7":
		return des.NewTripleDESCipher, 24, des.BlockSize
	}
	return nil, 0, 0
}

// readEncryption reads the encryptionAlgorithm of an encrypted key. Whatever is
// wrong or too expensive in it is found here, before a passphrase is asked for.
func readEncryption(algorithm cryptobyte.String) (*encryption, error) {
	var oid asn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return nil, errMalformedEncryption
	}
	if !oid.Equal(oidPBES2) {
		return readPBES1(oid, algorithm)
	}
	return readPBES2(algorithm)
}

func readPBES2(parameters cryptobyte.String) (*encryption, error) {
	var body, kdf, scheme, iv cryptobyte.String
	var kdfOID, schemeOID asn1.ObjectIdentifier
	if !parameters.ReadASN1(&body, cbasn1.SEQUENCE) || !parameters.Empty() || // PBES2-params ::= SEQUENCE {
		!body.ReadASN1(&kdf, cbasn1.SEQUENCE) || // keyDerivationFunc AlgorithmIdentifier,
		!kdf.ReadASN1ObjectIdentifier(&kdfOID) ||
		!body.ReadASN1(&scheme, cbasn1.SEQUENCE) || !body.Empty() || // encryptionScheme AlgorithmIdentifier }
		!scheme.ReadASN1ObjectIdentifier(&schemeOID) {
		return nil, errMalformedEncryption
	}
	newBlock, keySize, blockSize := blockCipher(schemeOID)
	if newBlock == nil {
		return nil, unsupported(schemeOID)
	}
	if !scheme.ReadASN1(&iv, cbasn1.OCTET_STRING) || !scheme.Empty() || len(iv) != blockSize { // OCTET STRING (SIZE(8 or 16))
		return nil, errMalformedEncryption
	}
	derive, err := readKDF(kdfOID, kdf, keySize)
	if err != nil {
		return nil, err
	}
	return &encryption{newBlock: newBlock, derive: func(passphrase []byte) ([]byte, []byte, error) {
		key, err := derive(passphrase)
		return key, iv, err
	}}, nil
}

// deriver makes a key of a passphrase.
type deriver func(passphrase []byte) ([]byte, error)

func readKDF(oid asn1.ObjectIdentifier, parameters cryptobyte.String, keySize int) (deriver, error) {
	var body cryptobyte.String
	if !parameters.ReadASN1(&body, cbasn1.SEQUENCE) || !parameters.Empty() {
		return nil, errMalformedEncryption
	}
	switch {
	case oid.Equal(oidPBKDF2):
		return readPBKDF2(body, keySize)
	case oid.Equal(oidScrypt):
		return readScrypt(body, keySize)
	}
	return nil, unsupported(oid)
}

func readPBKDF2(body cryptobyte.String, keySize int) (deriver, error) { // PBKDF2-params ::= SEQUENCE {
	var salt cryptobyte.String
	var iterations int64
	if !body.ReadASN1(&salt, cbasn1.OCTET_STRING) || // salt CHOICE { specified OCTET STRING, ... },
		!body.ReadASN1Integer(&iterations) || // iterationCount INTEGER,
		!readKeyLength(&body, keySize) { // keyLength INTEGER OPTIONAL,
		return nil, errMalformedEncryption
	}
	function := digest.SHA1
	if !body.Empty() {
		var algorithm cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !body.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !body.Empty() || // prf AlgorithmIdentifier DEFAULT hmacWithSHA1 }
			!algorithm.ReadASN1ObjectIdentifier(&oid) {
			return nil, errMalformedEncryption
		}
		if function = prf(oid); function == nil {
			return nil, unsupported(oid)
		}
	}
	if err := checkCost(salt, iterations); err != nil {
		return nil, err
	}
	return func(passphrase []byte) ([]byte, error) {
		return pbkdf2.Key(function.New, string(passphrase), salt, int(iterations), keySize)
	}, nil
}

// readKeyLength reads the optional keyLength, which only repeats what the cipher
// needs.
func readKeyLength(body *cryptobyte.String, keySize int) bool {
	if !body.PeekASN1Tag(cbasn1.INTEGER) {
		return true
	}
	var length int64
	return body.ReadASN1Integer(&length) && length == int64(keySize)
}

func checkCost(salt []byte, iterations int64) error {
	if iterations < 1 || len(salt) > maxSalt {
		return errMalformedEncryption
	}
	if iterations > maxIterations {
		return fmt.Errorf("key derivation with %d iterations, more than %d, would take too long", iterations, maxIterations)
	}
	return nil
}

func readScrypt(body cryptobyte.String, keySize int) (deriver, error) { // scrypt-params ::= SEQUENCE {
	var salt cryptobyte.String
	var n, r, p int64
	if !body.ReadASN1(&salt, cbasn1.OCTET_STRING) || len(salt) > maxSalt || // salt OCTET STRING,
		!body.ReadASN1Integer(&n) || // costParameter INTEGER,
		!body.ReadASN1Integer(&r) || // blockSize INTEGER,
		!body.ReadASN1Integer(&p) || // parallelizationParameter INTEGER,
		!readKeyLength(&body, keySize) || !body.Empty() || // keyLength INTEGER OPTIONAL }
		n < 2 || n&(n-1) != 0 || r < 1 || p < 1 {
		return nil, errMalformedEncryption
	}
	if fips140.Enforced() { // golang.org/x/crypto/scrypt would panic
		return nil, errNotFIPS
	}
	// One factor at a time, so that no product overflows.
	const blocks = maxScryptMemory / 128
	if n > blocks || r > blocks/n || p > maxScryptWork/(n*r) || p > blocks/r {
		return nil, fmt.Errorf("key derivation with scrypt N=%d r=%d p=%d would take more than %d MiB, or too long", n, r, p, maxScryptMemory>>20)
	}
	return func(passphrase []byte) ([]byte, error) {
		return scrypt.Key(passphrase, salt, int(n), int(r), int(p), keySize)
	}, nil
}

// encryptIterations is the number of PBKDF2 iterations in what Encrypt
// writes: OWASP's figure for HMAC-SHA-256.
const encryptIterations = 600_000

// Encrypt encrypts a PrivateKeyInfo with a passphrase: PBES2, AES-256-CBC,
// PBKDF2 with HMAC-SHA-256, which every OpenSSL since 1.0 reads.
func Encrypt(privateKeyInfo, passphrase []byte) ([]byte, error) {
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	key, err := pbkdf2.Key(digest.SHA256.New, string(passphrase), salt, encryptIterations, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	padding := aes.BlockSize - len(privateKeyInfo)%aes.BlockSize
	data := make([]byte, len(privateKeyInfo)+padding)
	for i := copy(data, privateKeyInfo); i < len(data); i++ {
		data[i] = byte(padding)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return marshalEncrypted(salt, iv, data)
}

func marshalEncrypted(salt, iv, data []byte) ([]byte, error) {
	var b cryptobyte.Builder
	sequence := func(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, parameters func(*cryptobyte.Builder)) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // AlgorithmIdentifier ::= SEQUENCE {
			b.AddASN1ObjectIdentifier(oid) // algorithm OBJECT IDENTIFIER,
			parameters(b)                  // parameters }
		})
	}
	pbkdf2Parameters := func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // PBKDF2-params ::= SEQUENCE {
			b.AddASN1OctetString(salt)                                        // salt OCTET STRING,
			b.AddASN1Int64(encryptIterations)                                 // iterationCount INTEGER,
			sequence(b, oidHMACWithSHA256, (*cryptobyte.Builder).AddASN1NULL) // prf AlgorithmIdentifier }
		})
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // EncryptedPrivateKeyInfo ::= SEQUENCE {
		sequence(b, oidPBES2, func(b *cryptobyte.Builder) { // encryptionAlgorithm AlgorithmIdentifier,
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // PBES2-params ::= SEQUENCE {
				sequence(b, oidPBKDF2, pbkdf2Parameters)                                            // keyDerivationFunc,
				sequence(b, oidAES256CBC, func(b *cryptobyte.Builder) { b.AddASN1OctetString(iv) }) // encryptionScheme }
			})
		})
		b.AddASN1OctetString(data) // encryptedData OCTET STRING }
	})
	return b.Bytes()
}
