package pkcs8

import (
	"bytes"
	"crypto"
	"crypto/sha3"
	"errors"
	"fmt"

	"filippo.io/mldsa"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// errExpanded: the seed can't be computed back from what was expanded from it.
var errExpanded = errors.New("an ML-DSA key without its seed, which can't be computed from the expanded key: " +
	"take the key from where it was made, with its seed (openssl writes both), or let openssl sign with it as an exec: key")

// tagSeed is the seed's in RFC 9881, section 6: [0] IMPLICIT.
var tagSeed = cbasn1.Tag(0).ContextSpecific()

// parseMLDSA reads a PrivateKeyInfo in every form that OpenSSL writes with the
// seed in it (ml-dsa.output_formats).
func parseMLDSA(der []byte, p mldsa.Parameters) (crypto.Signer, error) {
	private, ok := readMLDSA(der)
	if !ok {
		return nil, fmt.Errorf("malformed %v private key, or truncated", p)
	}
	seed, expanded, err := readSeed(private, p)
	if err != nil {
		return nil, err
	}
	key, err := mldsa.NewPrivateKey(p, seed)
	if err != nil {
		return nil, errors.New("malformed " + p.String() + " seed")
	}
	if expanded != nil && !expandsTo(key, expanded) {
		return nil, fmt.Errorf("seed and expanded key of this %v key belong to different keys", p)
	}
	return key, nil
}

// readMLDSA returns the octets of privateKey in a PrivateKeyInfo (RFC 5958).
func readMLDSA(der []byte) (private cryptobyte.String, ok bool) {
	input := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	ok = input.ReadASN1(&info, cbasn1.SEQUENCE) && // PrivateKeyInfo ::= SEQUENCE {
		info.SkipASN1(cbasn1.INTEGER) && // version INTEGER,
		info.ReadASN1(&algorithm, cbasn1.SEQUENCE) && // privateKeyAlgorithm AlgorithmIdentifier,
		algorithm.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && algorithm.Empty() && // without parameters
		info.ReadASN1(&private, cbasn1.OCTET_STRING) // privateKey OCTET STRING, ... }
	return private, ok
}

// readSeed finds the seed, and the expanded key where the file has both.
func readSeed(private cryptobyte.String, p mldsa.Parameters) (seed, expanded cryptobyte.String, err error) {
	size := expandedSize(p)
	switch len(private) {
	case mldsa.PrivateKeySize: // bare-seed
		return private, nil, nil
	case size, size + p.PublicKeySize(): // bare-priv, and what liboqs wrote
		return nil, nil, errExpanded
	}
	var both cryptobyte.String
	ok := false
	switch { // ML-DSA-PrivateKey ::= CHOICE {
	case private.PeekASN1Tag(tagSeed): // seed-only: seed [0] OCTET STRING,
		ok = private.ReadASN1(&seed, tagSeed)
	case private.PeekASN1Tag(cbasn1.OCTET_STRING): // priv-only: expandedKey OCTET STRING,
		return nil, nil, errExpanded
	default: // seed-priv: both SEQUENCE {
		ok = private.ReadASN1(&both, cbasn1.SEQUENCE) &&
			both.ReadASN1(&seed, cbasn1.OCTET_STRING) && // seed OCTET STRING,
			both.ReadASN1(&expanded, cbasn1.OCTET_STRING) && // expandedKey OCTET STRING } }
			both.Empty() && len(expanded) == size
	}
	if !ok || !private.Empty() || len(seed) != mldsa.PrivateKeySize {
		return nil, nil, fmt.Errorf("malformed %v private key: neither a seed nor a seed with its expanded key", p)
	}
	return seed, expanded, nil
}

// expandedSize is the length of an expanded private key (FIPS 204, table 2).
func expandedSize(p mldsa.Parameters) int {
	switch p {
	case mldsa.MLDSA44():
		return 2560
	case mldsa.MLDSA65():
		return 4032
	}
	return 4896
}

// expandsTo compares tr, the hash of the public key in an expanded one (FIPS 204,
// algorithm 24). That tells two keys apart, which RFC 9881 wants refused; damage
// elsewhere in the expanded key goes unseen, but also unused.
func expandsTo(key *mldsa.PrivateKey, expanded []byte) bool {
	const tr = 64 // behind rho and K, 32 bytes each
	return bytes.Equal(expanded[64:64+tr], sha3.SumSHAKE256(key.PublicKey().Bytes(), tr))
}
