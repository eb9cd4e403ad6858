package digest_test

import (
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"sign-file/digest"
	"sign-file/test/testenv"
)

// The names that EVP_get_digestbyname finds, the same on OpenSSL 3.0, 3.5, 3.6 and 4.0.
var spellings = map[*digest.Algorithm]string{
	digest.MD5:        "md5 RSA-MD5 md5WithRSAEncryption ssl3-md5 1.2.840.113549.2.5",
	digest.RIPEMD160:  "ripemd160 ripemd rmd160 RIPEMD-160 RSA-RIPEMD160 ripemd160WithRSA 1.3.36.3.2.1",
	digest.SM3:        "sm3 RSA-SM3 sm3WithRSAEncryption 1.2.156.10197.1.401",
	digest.SHA1:       "sha1 SHA-1 RSA-SHA1 RSA-SHA1-2 sha1WithRSAEncryption ssl3-sha1 1.3.14.3.2.26",
	digest.SHA224:     "sha224 SHA-224 SHA2-224 RSA-SHA224 sha224WithRSAEncryption 2.16.840.1.101.3.4.2.4",
	digest.SHA256:     "sha256 SHA-256 SHA2-256 RSA-SHA256 sha256WithRSAEncryption 2.16.840.1.101.3.4.2.1",
	digest.SHA384:     "sha384 SHA-384 SHA2-384 RSA-SHA384 sha384WithRSAEncryption 2.16.840.1.101.3.4.2.2",
	digest.SHA512:     "sha512 SHA-512 SHA2-512 RSA-SHA512 sha512WithRSAEncryption 2.16.840.1.101.3.4.2.3",
	digest.SHA512_224: "sha512-224 SHA-512/224 SHA2-512/224 RSA-SHA512/224 sha512-224WithRSAEncryption 2.16.840.1.101.3.4.2.5",
	digest.SHA512_256: "sha512-256 SHA-512/256 SHA2-512/256 RSA-SHA512/256 sha512-256WithRSAEncryption 2.16.840.1.101.3.4.2.6",
	digest.SHA3_224:   "sha3-224 RSA-SHA3-224 id-rsassa-pkcs1-v1_5-with-sha3-224 2.16.840.1.101.3.4.2.7",
	digest.SHA3_256:   "sha3-256 RSA-SHA3-256 id-rsassa-pkcs1-v1_5-with-sha3-256 2.16.840.1.101.3.4.2.8",
	digest.SHA3_384:   "sha3-384 RSA-SHA3-384 id-rsassa-pkcs1-v1_5-with-sha3-384 2.16.840.1.101.3.4.2.9",
	digest.SHA3_512:   "sha3-512 RSA-SHA3-512 id-rsassa-pkcs1-v1_5-with-sha3-512 2.16.840.1.101.3.4.2.10",
}

func TestLookup(t *testing.T) {
	for want, names := range spellings {
		for name := range strings.FieldsSeq(names) {
			for _, name := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
				if got, err := digest.Lookup(name); err != nil || got != want {
					t.Errorf("%s: %v, %v", name, got, err)
				}
			}
		}
	}
}

// What OpenSSL does not find, and what it finds but cannot sign with.
func TestLookupFails(t *testing.T) {
	for _, name := range []string{
		"", " sha256", "sha256 ", "sha256\n", "sha", "sha0", "sha2", "sha3", "sha_256", "sha512/256", "sha512_256", "sha3_256", "SHA-3-256",
		"mdc2", "null", "ecdsa-with-SHA256", "dsaWithSHA1", "DSA-SHA1", "keccak-256", "gost", "2.16.840.1.101.3.4.2", "2.16.840.1.101.3.4.2.01",
		"md4", "RSA-MD4", "md4WithRSAEncryption", "md5-sha1", "whirlpool", "BLAKE2b512", "BLAKE2b-512", "BLAKE2s256", "SHAKE128", "SHAKE-256",
	} {
		if got, err := digest.Lookup(name); err == nil {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// OpenSSL computes the same digest of the same bytes.
func TestSums(t *testing.T) {
	openssl := testenv.Tool(t, "openssl")
	for algorithm, names := range spellings {
		name, _, _ := strings.Cut(names, " ")
		cmd := exec.Command(openssl, "dgst", "-r", "-"+name)
		cmd.Stdin = strings.NewReader("a module")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h := algorithm.New()
		h.Write([]byte("a module"))
		if want, _, _ := strings.Cut(string(out), " "); want != hex.EncodeToString(h.Sum(nil)) {
			t.Errorf("%s: %x, openssl says %s", name, h.Sum(nil), want)
		}
	}
}
