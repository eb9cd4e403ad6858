package digest

import (
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"hash"
	"strings"

	"github.com/emmansun/gmsm/sm3"
	//lint:ignore SA1019 sign-file signs with it, so a drop-in replacement must
	"golang.org/x/crypto/ripemd160"
)

var oidSM3WithRSA = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 504}

// The algorithms that the real sign-file has been seen to sign with. Identifiers are those
// of NIST CSOR (2.16.840.1.101.3.4) and, for ECDSA with the older hashes, of ANSI X9.62
// (1.2.840.10045.4). They are written out, so that the linker lays them out and no start
// has to.
var (
	MD5       = &Algorithm{name: "md5", oid: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}, nullParameters: true, hash: crypto.MD5, new: md5.New}
	RIPEMD160 = &Algorithm{name: "ripemd160", oid: asn1.ObjectIdentifier{1, 3, 36, 3, 2, 1}, nullParameters: true, hash: crypto.RIPEMD160, new: ripemd160.New}
	SM3       = &Algorithm{name: "sm3", oid: asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}, nullParameters: true, new: sm3.New}

	SHA1       = &Algorithm{name: "sha1", oid: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, oidECDSA: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, hash: crypto.SHA1, new: sha1.New}
	SHA224     = &Algorithm{name: "sha224", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}, oidECDSA: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 1}, hash: crypto.SHA224, new: sha256.New224}
	SHA256     = &Algorithm{name: "sha256", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, oidECDSA: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, hash: crypto.SHA256, new: sha256.New}
	SHA384     = &Algorithm{name: "sha384", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, oidECDSA: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, hash: crypto.SHA384, new: sha512.New384}
	SHA512     = &Algorithm{name: "sha512", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, oidECDSA: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, hash: crypto.SHA512, new: sha512.New}
	SHA512_224 = &Algorithm{name: "sha512-224", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 5}, hash: crypto.SHA512_224, new: sha512.New512_224}
	SHA512_256 = &Algorithm{name: "sha512-256", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 6}, hash: crypto.SHA512_256, new: sha512.New512_256}
	SHA3_224   = &Algorithm{name: "sha3-224", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 7}, oidECDSA: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 9}, hash: crypto.SHA3_224, new: func() hash.Hash { return sha3.New224() }}
	SHA3_256   = &Algorithm{name: "sha3-256", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}, oidECDSA: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 10}, hash: crypto.SHA3_256, new: func() hash.Hash { return sha3.New256() }}
	SHA3_384   = &Algorithm{name: "sha3-384", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}, oidECDSA: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 11}, hash: crypto.SHA3_384, new: func() hash.Hash { return sha3.New384() }}
	SHA3_512   = &Algorithm{name: "sha3-512", oid: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}, oidECDSA: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 12}, hash: crypto.SHA3_512, new: func() hash.Hash { return sha3.New512() }}
)

var algorithms = []*Algorithm{
	MD5, RIPEMD160, SM3, SHA1, SHA224, SHA256, SHA384, SHA512, SHA512_224, SHA512_256,
	SHA3_224, SHA3_256, SHA3_384, SHA3_512,
}

// unusable holds the names that EVP_get_digestbyname finds, though no signature
// comes of them: they deserve a better answer than "unknown".
var unusable = []string{
	"md4", "rsa-md4", "md4withrsaencryption", "1.2.840.113549.2.4",
	"md5-sha1", "whirlpool", "1.0.10118.3.0.55",
	"blake2b512", "blake2b-512", "blake2s256", "blake2s-256",
	"shake128", "shake-128", "shake256", "shake-256",
}

// aliases returns every spelling, in lower case, that EVP_get_digestbyname finds
// on OpenSSL 3.0 to 4.0 (the set is the same on all of them), except for the name
// itself and the dotted identifier.
func (a *Algorithm) aliases() []string {
	switch a {
	case MD5:
		return []string{"rsa-md5", "md5withrsaencryption", "ssl3-md5"}
	case RIPEMD160:
		return []string{"ripemd", "rmd160", "ripemd-160", "rsa-ripemd160", "ripemd160withrsa"}
	case SM3:
		return []string{"rsa-sm3", "sm3withrsaencryption"}
	case SHA1:
		return []string{"sha-1", "rsa-sha1", "rsa-sha1-2", "sha1withrsaencryption", "ssl3-sha1"}
	case SHA512_224, SHA512_256:
		bits := strings.TrimPrefix(a.name, "sha512-")
		return []string{"sha-512/" + bits, "sha2-512/" + bits, "rsa-sha512/" + bits, a.name + "withrsaencryption"}
	case SHA3_224, SHA3_256, SHA3_384, SHA3_512:
		return []string{"rsa-" + a.name, "id-rsassa-pkcs1-v1_5-with-" + a.name}
	}
	bits := strings.TrimPrefix(a.name, "sha")
	return []string{"sha-" + bits, "sha2-" + bits, "rsa-" + a.name, a.name + "withrsaencryption"}
}
