package cli

import (
	"context"
	"crypto"
	"errors"

	"github.com/urfave/cli/v2"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/keys"
	"sign-file/signfile"
)

// messageFlags say how the PKCS#7 message is made.
func messageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "k", Usage: "name the signer by subject key identifier"},
		signedAttributesFlag(),
	}
}

func signedAttributesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "signed-attributes", Usage: "with an ML-DSA key, sign attributes as OpenSSL 3.5 must; few kernels take them in a module"}
}

func wantedMessage(c *cli.Context) messageForm {
	return messageForm{useKeyID: c.Bool("k"), signedAttributes: c.Bool("signed-attributes")}
}

// messageForm is what can be chosen of a PKCS#7 message beside its hash.
type messageForm struct{ useKeyID, signedAttributes bool }

// openSigner opens key and certificate and looks up the hash, in the order in
// which sign-file reports what is wrong with them.
func (p *program) openSigner(ctx context.Context, pin keys.PINFunc, hash, key, certificateFile string, form messageForm) (*signfile.Signer, func() error, error) {
	private, err := keys.Open(ctx, key, pin)
	if err != nil {
		return nil, nil, keyAdvice(err, certificateFile)
	}
	cert, err := readCertificate(ctx, pin, certificateFile)
	var signer *signfile.Signer
	if err == nil {
		signer, err = newSigner(private, hash, certificateFile, cert, form)
	}
	if err != nil {
		private.Close()
		return nil, nil, err
	}
	return signer, func() error { p.warnOfFaults(private); return private.Close() }, nil
}

// warnOfFaults: a processor that computes wrong results will do so elsewhere too.
func (p *program) warnOfFaults(key keys.Key) {
	if b, ok := key.(keys.Batcher); ok && b.Faults() > 0 {
		p.warn("%d signatures came out wrong and were made again: this machine computes wrong results (%s=std leaves the fast code out)", b.Faults(), keys.StandardRSA)
	}
}

func newSigner(key keys.Key, hash, certificateFile string, cert *certificate.Certificate, form messageForm) (*signfile.Signer, error) {
	algorithm, err := digest.Lookup(hash)
	if err != nil {
		return nil, err
	}
	signer, err := signfile.NewSigner(signfile.Options{
		Key: key, Certificate: cert, Digest: algorithm,
		UseKeyID: form.useKeyID, SignedAttributes: form.signedAttributes,
	})
	return signer, about(keys.Name(certificateFile), err)
}

// readCertificate reads a certificate from a file, as sign-file does, or from a
// token, as it does not.
func readCertificate(ctx context.Context, pin keys.PINFunc, path string) (*certificate.Certificate, error) {
	if keys.IsTokenURI(path) {
		return certificateOnToken(ctx, pin, path)
	}
	cert, err := certificate.FromFile(path)
	return cert, certificateAdvice(err, path)
}

func certificateOnToken(ctx context.Context, pin keys.PINFunc, reference string) (*certificate.Certificate, error) {
	der, err := keys.OpenCertificate(ctx, reference, pin)
	if err != nil {
		return nil, about(keys.Name(reference), err)
	}
	cert, err := certificate.Parse(der)
	return cert, about(keys.Name(reference), err)
}

// signerLater makes a signer of --cert and a signature value, which may be yet to
// come.
func (p *program) signerLater(c *cli.Context, value []byte, hash string) (*signfile.Signer, crypto.PublicKey, error) {
	file := c.String("cert")
	cert, err := readCertificate(c.Context, p.askPIN(), file)
	if err != nil {
		return nil, nil, err
	}
	public, err := cert.PublicKey()
	if err != nil {
		return nil, nil, about(keys.Name(file), err)
	}
	signer, err := newSigner(keys.Presigned(public, value), hash, file, cert, wantedMessage(c))
	return signer, public, err
}

// attachFlags name the parts of a signature that was made elsewhere.
func attachFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "signature", Required: true, Usage: "`FILE` with the bare signature value: RSA, ML-DSA, or ECDSA in DER or as r and s"},
		&cli.StringFlag{Name: "cert", Required: true, Usage: "`FILE` with the signer's certificate"},
		&cli.StringFlag{Name: "hash", Required: true, Usage: "hash `ALGORITHM` that was signed with"},
	}, messageFlags()...)
}

// maxSignature bounds a signature value, in bytes: more than RSA-16384 or ML-DSA-87.
const maxSignature = 16 << 10

// presigned makes a signer of --signature, --cert and --hash.
func (p *program) presigned(c *cli.Context) (*signfile.Signer, error) {
	file := c.String("signature")
	value, err := p.readAll(file, maxSignature)
	if err != nil {
		return nil, err
	}
	if len(value) == 0 {
		return nil, about(file, errors.New("not a bare signature value: it is empty"))
	}
	signer, _, err := p.signerLater(c, value, c.String("hash"))
	return signer, err
}
