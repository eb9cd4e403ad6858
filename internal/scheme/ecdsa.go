package scheme

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// EncodeECDSA turns r and s of the same length one behind the other, as PKCS #11 and
// some services write a signature, into Ecdsa-Sig-Value (RFC 3279, section 2.2.3).
func EncodeECDSA(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("%d bytes are no pair of r and s", len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // Ecdsa-Sig-Value ::= SEQUENCE {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2])) // r INTEGER,
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:])) // s INTEGER }
	})
	return b.Bytes()
}

// ECDSAInDER encodes a signature by a key if it is the bare r and s, as tokens and some
// services give it, and returns any other as it is.
func ECDSAInDER(key *ecdsa.PublicKey, signature []byte) []byte {
	size := (key.Curve.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*size || isSequence(signature) {
		return signature
	}
	if der, err := EncodeECDSA(signature); err == nil {
		return der
	}
	return signature
}

func isSequence(der []byte) bool {
	input := cryptobyte.String(der)
	return input.SkipASN1(cbasn1.SEQUENCE) && input.Empty()
}

// DecodeECDSA reverses EncodeECDSA. ok is false for what is not strict DER. The numbers
// are not held against a curve.
func DecodeECDSA(der []byte) (r, s *big.Int, ok bool) {
	r, s = new(big.Int), new(big.Int)
	input, inner := cryptobyte.String(der), cryptobyte.String(nil)
	ok = input.ReadASN1(&inner, cbasn1.SEQUENCE) && input.Empty() &&
		inner.ReadASN1Integer(r) && inner.ReadASN1Integer(s) && inner.Empty()
	return r, s, ok
}
