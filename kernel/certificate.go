package kernel

import (
	"bytes"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/certificate"
)

// ReadCertificate reads a certificate that a kernel may trust. Kernels take what package
// certificate does not: BER, serial numbers that are empty or have leading zeros. Of such a
// one the result has names, serial number and key identifier, and no public key. The error
// says that no kernel reads it.
func ReadCertificate(der []byte) (*certificate.Certificate, error) {
	c, err := certificate.Parse(der)
	if err == nil {
		return c, nil
	}
	for _, k := range slices.Backward(kernels()) {
		if read, refused := k.readCertificate(der); refused == nil {
			return read.plain(), nil
		}
	}
	return nil, err
}

// plain is what package certificate would make of it.
func (c *x509) plain() *certificate.Certificate {
	read, err := certificate.Parse(bytes.Clone(c.raw))
	if err == nil {
		return read
	}
	return &certificate.Certificate{
		Raw: bytes.Clone(c.raw), Issuer: element(cbasn1.SEQUENCE, c.issuer), Subject: element(cbasn1.SEQUENCE, c.subject),
		Serial: element(cbasn1.INTEGER, c.serial), SubjectKeyID: bytes.Clone(c.keyID),
	}
}

// element gives content its header.
func element(tag cbasn1.Tag, content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return b.BytesOrPanic() // the kernel's parser reads no longer ones
}
