package pkcs8

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/fips140"
	"crypto/sha1"
	"encoding/asn1"
	"math/big"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// readPBES1 reads the parameters of the older schemes. Triple DES with the key
// derivation of PKCS#12 is the one that files still come with; the rest is DES,
// RC2 and RC4, which OpenSSL 3 reads only with its legacy provider.
func readPBES1(oid asn1.ObjectIdentifier, parameters cryptobyte.String) (*encryption, error) {
	keySize := 0
	switch oid.String() {
	case "1.2.840.113549.1.12.1.3": // pbeWithSHAAnd3-KeyTripleDES-CBC
		keySize = 24
	case "1.2.840.113549.1.12.1.4": // pbeWithSHAAnd2-KeyTripleDES-CBC
		keySize = 16
	default:
		return nil, unsupported(oid)
	}
	var body, salt cryptobyte.String
	var iterations int64
	if !parameters.ReadASN1(&body, cbasn1.SEQUENCE) || !parameters.Empty() || // pkcs-12PbeParams ::= SEQUENCE {
		!body.ReadASN1(&salt, cbasn1.OCTET_STRING) || // salt OCTET STRING,
		!body.ReadASN1Integer(&iterations) || !body.Empty() { // iterations INTEGER }
		return nil, errMalformedEncryption
	}
	if fips140.Enforced() { // crypto/sha1 would panic
		return nil, errNotFIPS
	}
	if err := checkCost(salt, iterations); err != nil {
		return nil, err
	}
	return &encryption{newBlock: newTripleDES, derive: func(passphrase []byte) (key, iv []byte, err error) {
		password := bmpString(passphrase)
		defer clear(password)
		key = pkcs12KDF(password, salt, int(iterations), 1, keySize)
		iv = pkcs12KDF(password, salt, int(iterations), 2, des.BlockSize)
		return key, iv, nil
	}}, nil
}

// newTripleDES takes two-key triple DES too, whose third key is the first.
func newTripleDES(key []byte) (cipher.Block, error) {
	if len(key) == 16 {
		key = append(key[:16:16], key[:8]...)
		defer clear(key)
	}
	return des.NewTripleDESCipher(key)
}

// bmpString is the password of RFC 7292, appendix B.1: UTF-16 big-endian with a
// NUL at the end. What isn't UTF-8 is taken for Latin-1, as OpenSSL does
// (OPENSSL_utf82uni, OPENSSL_asc2uni).
func bmpString(passphrase []byte) []byte {
	var units []uint16
	if utf8.Valid(passphrase) {
		units = utf16.Encode([]rune(string(passphrase)))
	} else {
		for _, b := range passphrase {
			units = append(units, uint16(b))
		}
	}
	defer clear(units)
	password := make([]byte, 0, 2*len(units)+2)
	for _, u := range append(units, 0) {
		password = append(password, byte(u>>8), byte(u))
	}
	return password
}

// pkcs12KDF is RFC 7292, appendix B.2, with SHA-1: u = 20, v = 64. The id tells
// what the bytes are for: 1 a key, 2 an IV.
func pkcs12KDF(password, salt []byte, iterations int, id byte, size int) []byte {
	const v = sha1.BlockSize
	diversifier := make([]byte, v)
	for i := range diversifier {
		diversifier[i] = id
	}
	input := append(fill(salt, v), fill(password, v)...) // I = S || P
	defer clear(input)
	var out []byte
	for {
		sum := sha1.Sum(append(diversifier[:v:v], input...))
		for range iterations - 1 {
			sum = sha1.Sum(sum[:])
		}
		out = append(out, sum[:]...)
		if len(out) >= size {
			return out[:size]
		}
		increment(input, fill(sum[:], v), v)
	}
}

// fill repeats b up to a multiple of v bytes.
func fill(b []byte, v int) []byte {
	if len(b) == 0 {
		return nil
	}
	out := make([]byte, (len(b)+v-1)/v*v)
	for i := range out {
		out[i] = b[i%len(b)]
	}
	return out
}

// increment adds B + 1 to every block of I, modulo 2^(8v).
func increment(input, b []byte, v int) {
	step := new(big.Int).SetBytes(b)
	step.Add(step, big.NewInt(1))
	for ; len(input) > 0; input = input[v:] {
		sum := new(big.Int).SetBytes(input[:v])
		wide := sum.Add(sum, step).FillBytes(make([]byte, v+1))
		copy(input[:v], wide[1:])
	}
}
