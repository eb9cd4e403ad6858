package keys_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
)

// algorithm is AlgorithmIdentifier.
type algorithm struct {
	OID        asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

func mustMarshal(v any) asn1.RawValue {
	der, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return asn1.RawValue{FullBytes: der}
}

func number(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return n
}

// hostile builds an EncryptedPrivateKeyInfo from a line of TestHostileEncryption,
// with encoding/asn1 and so apart from the code under test.
func hostile(line string) []byte {
	w := strings.Fields(line)
	scheme := algorithm{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: mustMarshal(make([]byte, 16))}
	var kdf algorithm
	switch w[0] {
	case "pbkdf2":
		prf := algorithm{OID: map[string]asn1.ObjectIdentifier{
			"sha256": {1, 2, 840, 113549, 2, 9}, "sha512": {1, 2, 840, 113549, 2, 11}, "md5": {1, 3, 6, 1, 5, 5, 8, 1, 1},
		}[w[3]], Parameters: asn1.NullRawValue}
		kdf = algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, Parameters: mustMarshal(struct {
			Salt       []byte
			Iterations *big.Int
			PRF        algorithm
		}{[]byte(w[1]), number(w[2]), prf})}
		if w[4] == "rc4" {
			scheme.OID = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 4}
		}
		scheme.Parameters = mustMarshal(make([]byte, number(w[5]).Int64()))
	case "scrypt":
		kdf = algorithm{OID: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}, Parameters: mustMarshal(struct {
			Salt    []byte
			N, R, P *big.Int
		}{[]byte(w[1]), number(w[2]), number(w[3]), number(w[4])})}
	case "pbes1":
		oid := append(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1}, int(number(w[1]).Int64()))
		return encryptedKey(algorithm{OID: oid, Parameters: mustMarshal(struct {
			Salt       []byte
			Iterations *big.Int
		}{[]byte(w[2]), number(w[3])})})
	}
	return encryptedKey(algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, Parameters: mustMarshal(struct{ KDF, Scheme algorithm }{kdf, scheme})})
}

func encryptedKey(a algorithm) []byte {
	return mustMarshal(struct {
		Algorithm algorithm
		Data      []byte
	}{a, make([]byte, 48)}).FullBytes
}

// expensive tells that a mutation asks for a derivation above what OpenSSL writes
// by itself: an INTEGER of three bytes or more, or a scrypt.
func expensive(file []byte) bool {
	if block, _ := pem.Decode(file); block != nil {
		file = block.Bytes
	}
	return bytes.Contains(file, []byte{0x02, 0x03}) || bytes.Contains(file, []byte{0x02, 0x04})
}
