// Package digest knows the hash algorithms that sign-file can name: by every
// spelling that OpenSSL's EVP_get_digestbyname takes, and by object identifier.
package digest

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Algorithm is one hash algorithm and how CMS and PKCS#1 write it down.
// The values are made by this package only; compare them as pointers.
type Algorithm struct {
	name     string
	oid      asn1.ObjectIdentifier
	oidECDSA asn1.ObjectIdentifier

	// nullParameters: OpenSSL writes the AlgorithmIdentifier of the older
	// algorithms with NULL and that of the SHA families without parameters.
	nullParameters bool

	hash crypto.Hash
	new  func() hash.Hash
}

// Lookup finds an algorithm by a name that sign-file takes as <hash algo>, in
// any case. The error says whether the name is unknown or merely unusable.
func Lookup(name string) (*Algorithm, error) {
	key := strings.ToLower(name)
	for _, a := range algorithms {
		if key == a.name || key == a.oid.String() || slices.Contains(a.aliases(), key) {
			return a, nil
		}
	}
	if slices.Contains(unusable, key) {
		return nil, fmt.Errorf("%s: hash algorithm not supported for signing (use sha256, sha384 or sha512)", name)
	}
	return nil, fmt.Errorf("%q: unknown hash algorithm (try sha256, sha384 or sha512)", name)
}

// All returns every algorithm that Lookup knows.
func All() []*Algorithm { return slices.Clone(algorithms) }

// ByOID finds an algorithm by the identifier in an AlgorithmIdentifier, or nil.
func ByOID(oid asn1.ObjectIdentifier) *Algorithm {
	for _, a := range algorithms {
		if a.oid.Equal(oid) {
			return a
		}
	}
	return nil
}

// ByECDSAOID finds the algorithm of an ecdsa-with-* signature identifier, or nil.
func ByECDSAOID(oid asn1.ObjectIdentifier) *Algorithm {
	for _, a := range algorithms {
		if a.oidECDSA != nil && a.oidECDSA.Equal(oid) {
			return a
		}
	}
	return nil
}

// ByHash finds an algorithm by the standard library's number, or nil.
func ByHash(h crypto.Hash) *Algorithm {
	for _, a := range algorithms {
		if h != 0 && a.hash == h {
			return a
		}
	}
	return nil
}

// Name returns the lower-case name that OpenSSL, the kernel and modinfo use.
func (a *Algorithm) Name() string { return a.name }

// String returns Name.
func (a *Algorithm) String() string { return a.name }

// New returns a fresh hash.
func (a *Algorithm) New() hash.Hash { return a.new() }

// Hash returns the standard library's number, or 0 for SM3, which has none.
func (a *Algorithm) Hash() crypto.Hash { return a.hash }

// OID returns the algorithm's object identifier.
func (a *Algorithm) OID() asn1.ObjectIdentifier { return slices.Clone(a.oid) }

// ECDSA returns the ecdsa-with-<hash> identifier (RFC 5758, NIST CSOR), or nil
// where none is defined and OpenSSL refuses to sign.
func (a *Algorithm) ECDSA() asn1.ObjectIdentifier { return slices.Clone(a.oidECDSA) }

// NullParameters reports whether the CMS AlgorithmIdentifier carries NULL.
func (a *Algorithm) NullParameters() bool { return a.nullParameters }

// DigestInfo returns the DER DigestInfo (RFC 8017, section 9.2) of a digest:
// what an RSA PKCS#1 v1.5 signature covers. Its parameters are always NULL.
func (a *Algorithm) DigestInfo(sum []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // DigestInfo ::= SEQUENCE {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // digestAlgorithm AlgorithmIdentifier,
			b.AddASN1ObjectIdentifier(a.digestInfoOID())
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(sum) // digest OCTET STRING }
	})
	return b.BytesOrPanic()
}

// digestInfoOID is the algorithm's own identifier, except for SM3: OpenSSL 3.5 and 4.0
// write sm3WithRSAEncryption there, and bytes are to be the same. Neither the kernel
// nor OpenSSL 3.0 verifies RSA with SM3.
func (a *Algorithm) digestInfoOID() asn1.ObjectIdentifier {
	if a == SM3 {
		return oidSM3WithRSA
	}
	return a.oid
}

// ParseDigestInfo is the way back: the algorithm of a DigestInfo that this package
// knows, and the digest in it.
func ParseDigestInfo(der []byte) (*Algorithm, []byte, error) {
	for _, a := range algorithms {
		size := a.New().Size()
		if len(der) < size {
			continue
		}
		sum := der[len(der)-size:]
		if bytes.Equal(der, a.DigestInfo(sum)) {
			return a, sum, nil
		}
	}
	return nil, nil, errors.New("not a DigestInfo of a known hash algorithm")
}
