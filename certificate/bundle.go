package certificate

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// bundleTypes are the PEM labels of files with several certificates.
var bundleTypes = []string{"CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CMS"}

// signedDataOID is id-signedData (RFC 5652, section 5.1), with its header.
var signedDataOID = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")

// isBundle reports whether the file is a ContentInfo with a SignedData in it, in DER
// or BER.
func isBundle(file []byte) bool {
	if len(file) < 2 || file[0] != 0x30 {
		return false
	}
	header := 2
	if file[1] > 0x80 {
		header += int(file[1] & 0x7f)
	}
	return len(file) > header && bytes.HasPrefix(file[header:], signedDataOID)
}

// Signed reports whether a file is, or has in PEM, a PKCS#7 message with a signer, and not
// a bundle of certificates alone. Those in a signature came with what it signs.
func Signed(file []byte) bool {
	if isBundle(file) {
		return hasSigner(file)
	}
	for block, rest := nextPEM(file, "PKCS7", "CMS"); block != nil; block, rest = nextPEM(rest, "PKCS7", "CMS") {
		if hasSigner(block) {
			return true
		}
	}
	return false
}

// hasSigner looks for a SignerInfo. A message that can't be read has one, for all that is
// known.
func hasSigner(file []byte) (signed bool) {
	if _, signers, ok := derBundle(file); ok {
		return signers
	}
	if checkBER(file) != nil {
		return true
	}
	defer func() {
		if recover() != nil {
			signed = true
		}
	}()
	message, err := pkcs7.Parse(file)
	return err != nil || len(message.Signers) > 0
}

// Split finds the certificates of a file as All does, and returns the DER or BER of each
// without reading it: a kernel takes more of them than Parse. ignored is what follows the
// last one in a file of DER and is none, such as a line end.
func Split(file []byte) (certificates [][]byte, ignored []byte, err error) {
	if isBundle(file) {
		certificates, err = splitBundle(file)
		return certificates, nil, err
	}
	if isDER(file) || bytes.HasPrefix(file, []byte{0x30, 0x80}) {
		certificates, ignored = splitList(file)
		return certificates, ignored, nil
	}
	for block, rest := nextPEM(file, bundleTypes...); block != nil; block, rest = nextPEM(rest, bundleTypes...) {
		if !isBundle(block) {
			certificates = append(certificates, block)
			continue
		}
		more, err := splitBundle(block)
		if err != nil {
			return nil, nil, err
		}
		certificates = append(certificates, more...)
	}
	if len(certificates) == 0 {
		return nil, nil, errNone
	}
	return certificates, nil, nil
}

// errNone: a file has nothing that begins as a certificate does.
var errNone = errors.New("no certificate in it (want PEM \"CERTIFICATE\" or DER)")

// splitList cuts apart certificates that follow one another. An element that is not whole
// comes last, and is reported as malformed.
func splitList(der []byte) (certificates [][]byte, ignored []byte) {
	for len(certificates) == 0 || isDER(der) {
		rest, input := cryptobyte.String(der), cryptobyte.String(nil)
		if !rest.ReadASN1Element(&input, cbasn1.SEQUENCE) {
			return append(certificates, der), nil
		}
		certificates, der = append(certificates, input), rest
	}
	return certificates, der
}

func splitBundle(file []byte) ([][]byte, error) {
	list, err := bundleList(file)
	if err != nil {
		return nil, err
	}
	certificates, _ := splitList(list)
	return certificates, nil
}

// parseOnly reads a PKCS#7 bundle that has only one certificate.
func parseOnly(bundle []byte) (*Certificate, error) {
	all, err := splitBundle(bundle)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, fmt.Errorf("a PKCS#7 bundle of %d certificates, not one certificate (openssl pkcs7 -print_certs separates them)", len(all))
	}
	return Parse(all[0])
}

// bundleList is the certificates of a bundle, one after another. DER is parsed here: package
// pkcs7 refuses a bundle because of one certificate that crypto/x509 does not take. It
// gets the BER that OpenSSL writes as a stream (openssl cms -stream).
func bundleList(file []byte) (list []byte, err error) {
	list, _, ok := derBundle(file)
	if !ok {
		if list, err = berBundle(file); err != nil {
			return nil, fmt.Errorf("PKCS#7 bundle: %w", err)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate in this PKCS#7 bundle")
	}
	return list, nil
}

// derBundle returns the certificates of a SignedData (RFC 5652, section 5.1), such as
// openssl crl2pkcs7 makes: without signers.
func derBundle(der []byte) (certificates []byte, signed, ok bool) {
	input := cryptobyte.String(der)
	var info, explicit, body, list, signers cryptobyte.String
	var contentType asn1.ObjectIdentifier
	tag0 := cbasn1.Tag(0).ContextSpecific().Constructed()
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&contentType) ||
		!info.ReadASN1(&explicit, tag0) || !explicit.ReadASN1(&body, cbasn1.SEQUENCE) {
		return nil, false, false
	}
	if !body.SkipASN1(cbasn1.INTEGER) || // version CMSVersion,
		!body.SkipASN1(cbasn1.SET) || // digestAlgorithms DigestAlgorithmIdentifiers,
		!body.SkipASN1(cbasn1.SEQUENCE) || // encapContentInfo EncapsulatedContentInfo,
		!body.ReadOptionalASN1(&list, new(bool), tag0) { // certificates [0] OPTIONAL
		return nil, false, false
	}
	// crls [1] IMPLICIT RevocationInfoChoices OPTIONAL, signerInfos SignerInfos }
	signed = !body.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific().Constructed()) || !body.ReadASN1(&signers, cbasn1.SET) || !signers.Empty()
	return list, signed, true
}

// berBundle returns the certificates of a SignedData in BER, one after another in DER.
func berBundle(ber []byte) (certificates []byte, err error) {
	if err := checkBER(ber); err != nil {
		return nil, err
	}
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("package pkcs7: %v", fault)
		}
	}()
	message, err := pkcs7.Parse(ber)
	if err != nil {
		return nil, err
	}
	for _, c := range message.Certificates {
		certificates = append(certificates, c.Raw...)
	}
	return certificates, nil
}

// Limits of what package pkcs7 is given.
const (
	maxBER     = 1 << 20 // bytes; it makes some 100 bytes of each element
	maxNesting = 32      // it recurses, and copies what is inside at each level
	maxOpen    = 1000    // elements of indefinite-length values; after each it searches the rest for the end
)

var errMalformed = errors.New("malformed")

// checkBER refuses what package pkcs7 needs more than linear time or memory for. The
// worst is an element that ends after the one around it: pkcs7 reads what follows
// twice, at every level again.
func checkBER(ber []byte) error {
	if len(ber) > maxBER {
		return fmt.Errorf("longer than %d bytes", maxBER)
	}
	open := 0
	_, err := skipBER(ber, maxNesting, &open)
	return err
}

// skipBER returns what follows the first element. open counts the elements of
// indefinite-length values.
func skipBER(ber []byte, nesting int, open *int) (rest []byte, err error) {
	switch {
	case nesting == 0:
		return nil, fmt.Errorf("nested deeper than %d levels", maxNesting)
	case len(ber) < 2 || ber[0]&0x1f == 0x1f: // a tag of several bytes: PKCS#7 has none
		return nil, errMalformed
	}
	constructed, length, rest := ber[0]&0x20 != 0, int(ber[1]), ber[2:]
	if length == 0x80 {
		if !constructed {
			return nil, errMalformed
		}
		return skipOpen(rest, nesting, open)
	}
	if length > 0x80 {
		size := length & 0x7f
		if size > 4 || size > len(rest) {
			return nil, errMalformed
		}
		length = 0
		for _, b := range rest[:size] {
			length = length<<8 | int(b)
		}
		rest = rest[size:]
	}
	if length < 0 || length > len(rest) { // below 0 where an int has 32 bits
		return nil, errMalformed
	}
	content, rest := rest[:length], rest[length:]
	for constructed && len(content) > 0 {
		if content, err = skipBER(content, nesting-1, open); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// skipOpen returns what follows a value of indefinite length: at least one element,
// as package pkcs7 wants it, and two zero bytes.
func skipOpen(content []byte, nesting int, open *int) (rest []byte, err error) {
	for {
		if *open++; *open > maxOpen {
			return nil, fmt.Errorf("more than %d elements of indefinite-length values", maxOpen)
		}
		if content, err = skipBER(content, nesting-1, open); err != nil {
			return nil, err
		}
		if rest, ok := bytes.CutPrefix(content, []byte{0, 0}); ok {
			return rest, nil
		}
	}
}
