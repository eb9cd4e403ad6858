package kernel

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"syscall"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/digest"
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
		return id.String()
	}
	return "a malformed object identifier (" + hex.EncodeToString([]byte(oid)) + ")"
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
