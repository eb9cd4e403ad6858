package kernel

import (
	"cmp"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"syscall"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/digest"
	"sign-file/internal/scheme"
	"sign-file/kernel/internal/ber"
)

func isErrno(err error, errno syscall.Errno) bool {
	refusal := RefusalOf(err)
	return refusal != nil && refusal.Errno == errno
}

// about says what an error is about; a refusal stays one.
func about(what string, err error) error {
	if refusal := RefusalOf(err); refusal != nil {
		more := *refusal
		more.Reason = what + ": " + more.Reason
		return &more
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// objectIdentifier reads the content of an OID's DER; nil where it's none.
func objectIdentifier(oid string) asn1.ObjectIdentifier {
	input := cryptobyte.String(withHeader(ber.TagOID, []byte(oid)))
	var id asn1.ObjectIdentifier
	if !input.ReadASN1ObjectIdentifier(&id) {
		return nil
	}
	return id
}

func formatOID(oid string) string {
	if id := objectIdentifier(oid); id != nil {
		if name := cmp.Or(scheme.CurveName(id), oidNames()[id.String()]); name != "" {
			return name + " (" + id.String() + ")"
		}
		return id.String()
	}
	return "a malformed object identifier (" + hex.EncodeToString([]byte(oid)) + ")"
}

// oidNames are those of algorithms, and of the usual curves, that certificates are made with and kernels
// do not take, or not all of them.
func oidNames() map[string]string {
	return map[string]string{
		"1.2.840.113549.1.1.1": "rsaEncryption", "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
		"1.2.840.113549.1.1.2": "md2WithRSAEncryption", "1.2.840.113549.1.1.3": "md4WithRSAEncryption",
		"1.2.840.113549.1.1.5": "sha1WithRSAEncryption", "1.2.840.113549.1.1.7": "RSAES-OAEP",
		"1.2.840.113549.1.1.10": "RSASSA-PSS", "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
		"1.2.840.113549.1.1.12": "sha384WithRSAEncryption", "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
		"1.2.840.113549.1.1.14": "sha224WithRSAEncryption", "1.2.840.113549.1.1.15": "sha512-224WithRSAEncryption",
		"1.2.840.113549.1.1.16": "sha512-256WithRSAEncryption", "1.2.840.10040.4.1": "DSA", "1.2.840.10040.4.3": "dsaWithSHA1",
		"1.3.101.110": "X25519", "1.3.101.112": "Ed25519", "1.3.101.113": "Ed448",
		"1.2.156.10197.1.501": "SM2-with-SM3",
		"1.3.132.0.33":        "P-224", "1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521",
		"2.16.840.1.101.3.4.3.17": "ML-DSA-44", "2.16.840.1.101.3.4.3.18": "ML-DSA-65", "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
	}
}

// hashName names a hash algorithm, one that the kernel doesn't know perhaps.
func hashName(oid string) string {
	if a := digest.ByOID(objectIdentifier(oid)); a != nil {
		return a.Name()
	}
	return "hash algorithm " + formatOID(oid)
}

// withHeader puts a DER header before content.
func withHeader(tag byte, content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return b.BytesOrPanic()
}
