package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/internal/bounded"
	"sign-file/keys"
	modsig "sign-file/module_signature"
	"sign-file/signfile"
)

// usageLines are fixed text in scripts/sign-file.c too, whatever argv[0] is.
const usageLines = `Usage: scripts/sign-file [-dp] <hash algo> <key> <x509> <module> [<dest>]
       scripts/sign-file -s <raw sig> <hash algo> <x509> <module> [<dest>]
`

const kmodsignUsage = "Usage: kmodsign [-dpkD] <hash algo> <key> <x509> <module> [<dest>]\n"

// classic is the kernel's scripts/sign-file: same grammar, same order of checks
// (module, key, certificate, hash), same files, nothing on standard output.
func (p *program) classic(ctx context.Context, args []string) int {
	_, posix := os.LookupEnv("POSIXLY_CORRECT")
	letters, usage := "sdpk", usageLines
	if p.name() == "kmodsign" { // Ubuntu's fork of sign-file, which DKMS calls there
		letters, usage = "dpkD", kmodsignUsage
	}
	options, operands, bad := getopt(args, letters, posix)
	if bad != 0 {
		fmt.Fprintf(p.err, "%s: invalid option -- '%s'\n", p.argv0, []byte{bad}) // a byte, not a character
	}
	if bad != 0 || len(operands) < 4 || len(operands) > 5 {
		io.WriteString(p.err, usage)
		return exitUsage
	}
	c := classic{program: p, module: operands[3], dest: operands[len(operands)-1]}
	var err error
	if options['s'] {
		err = c.attach(ctx, operands[0])
	} else {
		c.hash, c.key, c.certificate = operands[0], operands[1], operands[2]
		err = c.sign(ctx, options)
	}
	if err != nil {
		return p.fail(err)
	}
	return exitOK
}

// errNoDest: a script's variable that is not set does not mean "in place".
var errNoDest = errors.New("<dest> is empty")

// classic holds the operands by their names in the usage lines. dest is the module
// itself where there is none.
type classic struct {
	*program
	hash, key, certificate, module, dest string
}

func (c *classic) sign(ctx context.Context, options map[byte]bool) error {
	module, err := signfile.OpenRaw(c.module)
	if err != nil {
		return err
	}
	defer module.Close()
	signer, closeKey, err := openSigner(ctx, keys.PINFromEnv(pinVariable), c.hash, c.key, c.certificate, messageForm{useKeyID: options['k']})
	if err != nil {
		return err
	}
	defer closeKey()
	c.warnIfSigned(module)

	switch {
	case options['D'] && c.dest == c.module:
		// kmodsign would put the bare signature in the module's place.
		return errors.New("-D writes the signature alone: name a <dest> for it")
	case options['D']:
		return signer.DetachBlock(ctx, module, c.dest)
	case options['d']:
		return signer.DetachModule(ctx, module)
	case c.dest == "":
		return errNoDest
	}
	return signer.SignModule(ctx, module, signfile.Output{Dest: c.dest, Message: options['p']})
}

// messageForm is what can be chosen of a PKCS#7 message beside its hash.
type messageForm struct{ useKeyID, signedAttributes bool }

// openSigner opens key and certificate and looks up the hash, in the order in
// which sign-file reports what is wrong with them.
func openSigner(ctx context.Context, pin keys.PINFunc, hash, key, certificateFile string, form messageForm) (*signfile.Signer, func() error, error) {
	private, err := keys.Open(ctx, key, pin)
	if err != nil {
		return nil, nil, keyAdvice(err)
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
	return signer, private.Close, nil
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
	data, err := bounded.ReadFile(path, certificate.MaxFileSize)
	if err != nil {
		return nil, err
	}
	cert, err := certificate.First(data)
	return cert, about(path, err)
}

func certificateOnToken(ctx context.Context, pin keys.PINFunc, reference string) (*certificate.Certificate, error) {
	der, err := keys.OpenCertificate(ctx, reference, pin)
	if err != nil {
		return nil, about(keys.Name(reference), err)
	}
	cert, err := certificate.Parse(der)
	return cert, about(keys.Name(reference), err)
}

// attach is -s: hash and certificate operands are not looked at.
func (c *classic) attach(ctx context.Context, messageFile string) error {
	module, err := signfile.OpenRaw(c.module)
	if err != nil {
		return err
	}
	defer module.Close()
	message, err := os.Open(messageFile)
	if err != nil {
		return err
	}
	defer message.Close()
	if c.dest == "" {
		return errNoDest
	}
	c.warnIfSigned(module)
	c.warnIfNoMessage(message)
	return signfile.AttachModule(ctx, module, c.dest, message)
}

// warnIfSigned: sign-file signs a signed module again without a word, and the
// kernel then looks at the last signature alone.
func (c *classic) warnIfSigned(module *signfile.Module) {
	if !module.Regular() {
		return
	}
	if signed, err := modsig.HasMarker(module, module.Size()); err == nil && signed {
		c.warn("%s: is signed already and gets a second signature (remove the first with sign-file strip)", c.module)
	}
}

// warnIfNoMessage: -s takes any bytes, and a bare signature value in place of the
// message is what people try first.
func (c *classic) warnIfNoMessage(message *os.File) {
	info, err := message.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	var first [1]byte
	if _, err := message.ReadAt(first[:], 0); err == io.EOF || err == nil && first[0] != 0x30 {
		c.warn("%s: is no PKCS#7 message, so no kernel will accept the module (sign-file attach takes a bare signature value)", message.Name())
	}
}
