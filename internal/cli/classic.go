package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/atomicfile"
	"sign-file/internal/compressed"
	"sign-file/kernel"
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
		if !options['s'] { // whose first operand may be called anything
			p.nameCommand(args)
		}
		io.WriteString(p.err, usage)
		if isTerminal(p.err) {
			fmt.Fprintln(p.err, "sign-file --help lists the other commands: sign (whole trees), verify, explain, keygen and more")
		}
		return exitUsage
	}
	c := classic{program: p, module: operands[3], dest: operands[len(operands)-1]}
	var err error
	if options['s'] {
		c.certificate = operands[2]
		err = c.attach(ctx, operands[0])
	} else {
		c.hash, c.key, c.certificate = operands[0], operands[1], operands[2]
		err = c.sign(ctx, options)
	}
	if err != nil {
		if _, unknown := digest.Lookup(c.hash); unknown != nil && !options['s'] {
			p.nameCommand(args) // "signn" opens what the others are first
		}
		return p.fail(err)
	}
	return exitOK
}

// nameCommand tells a mistyped command, or one that does not exist, from a usage of the
// kernel's sign-file that lacks an operand.
func (p *program) nameCommand(args []string) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return
	}
	if _, err := digest.Lookup(args[0]); err == nil {
		return
	}
	if _, err := os.Stat(args[0]); err == nil {
		p.say("%s is a file, and the hash algorithm comes first: sha256, for instance", args[0])
		return
	}
	p.say("%v", noCommand(args[0], p.app().Commands))
}

// warnOfLost tells what a file does not have any more.
func (p *program) warnOfLost(path string, lost []string) {
	if len(lost) > 0 {
		p.warn("%s: the new file could not be given the old one's %s", path, strings.Join(lost, ", "))
	}
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
	signer, closeKey, err := c.openSigner(ctx, keys.PINFromEnv(pinVariable), c.hash, c.key, c.certificate, messageForm{useKeyID: options['k']})
	if err != nil {
		return err
	}
	defer closeKey()
	c.warnIfSigned(module)
	if err := c.sparesKey(options); err != nil {
		return err
	}

	switch {
	case options['D'] && c.dest == c.module:
		// kmodsign would put the bare signature in the module's place.
		return errors.New("-D writes only the signature: name a <dest> for it")
	case options['D']:
		return signer.DetachBlock(ctx, module, c.dest)
	case options['d']:
		return signer.DetachModule(ctx, module)
	case c.dest == "":
		return errNoDest
	}
	err = signer.SignModule(ctx, module, signfile.Output{Dest: c.dest, Message: options['p'], Existing: signfile.SignAgain})
	c.warnOfLost(c.module, module.Lost())
	return err
}

// sparesKey checks every file that is to be written.
func (c *classic) sparesKey(options map[byte]bool) error {
	if !options['d'] || options['D'] {
		if err := notTheKey(c.dest, c.key, c.certificate); err != nil {
			return err
		}
	}
	if options['d'] || options['p'] {
		return notTheKey(c.module+".p7s", c.key, c.certificate)
	}
	return nil
}

// attach is -s: hash and certificate operands are not looked at.
func (c *classic) attach(ctx context.Context, messageFile string) error {
	module, err := signfile.OpenRaw(c.module)
	if err != nil {
		return err
	}
	defer module.Close()
	message, err := atomicfile.OpenInput(messageFile)
	if err != nil {
		return err
	}
	defer message.Close()
	if message.Secret {
		module.KeepPrivate()
	}
	if c.dest == "" {
		return errNoDest
	}
	if err := notTheKey(c.dest, messageFile, c.certificate); err != nil {
		return err
	}
	c.warnIfSigned(module)
	c.warnOfMessage(module, message.File)
	err = signfile.AttachModule(ctx, module, c.dest, message)
	c.warnOfLost(c.module, module.Lost())
	return err
}

// maxKeyFile is more than keys and certificates have, in bytes: to look at a module for
// what it is not takes longer than to sign it.
const maxKeyFile = 64 << 10

// warnOfContent tells of a key, a certificate or compressed data in the module's place.
func (c *classic) warnOfContent(module *signfile.Module) error {
	head := make([]byte, min(module.Size(), 16))
	if _, err := module.ReadAt(head, 0); err != nil && err != io.EOF || isELF(head) {
		return err
	}
	if compressed.Suffix(head) != "" {
		c.warn("%s: is compressed, and the signature is put behind the compressed data, where no kernel looks for it (sign-file sign signs what is inside)", c.module)
	}
	if module.Size() > maxKeyFile {
		return nil
	}
	whole := make([]byte, module.Size())
	if _, err := module.ReadAt(whole, 0); err != nil && err != io.EOF {
		return err
	}
	if is := whatIs(whole); is.asKey == swapPlaces+"<x509>" || is.asCertificate == swapPlaces+"<key>" {
		c.warn("%s: is no module: it is %s", c.module, is.name)
	}
	clear(whole)
	return nil
}

// warnIfSigned: sign-file signs a signed module again without a word, and the
// kernel then looks only at the last signature.
func (c *classic) warnIfSigned(module *signfile.Module) {
	if !module.Regular() {
		return
	}
	if err := c.warnOfContent(module); err != nil {
		return
	}
	signed, err := modsig.HasMarker(module, module.Size())
	var damaged *modsig.DamagedError
	switch {
	case err == nil && !signed && errors.As(modsig.Damaged(module, module.Size()), &damaged):
		c.warn("%s: %v; it is signed all the same, as it is", c.module, damaged)
	case err == nil && signed:
		c.warn("%s: is signed already and gets one more signature, the only one that the kernel looks at (sign-file sign --replace signs anew)", c.module)
	}
}

// warnOfMessage: -s takes any bytes. A bare signature value in place of the message is what
// people try first; then a message in PEM, of another file, or by another key than that of
// <x509>, which the original does not read, and many calls name something else there.
func (c *classic) warnOfMessage(module *signfile.Module, file *os.File) {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	message := make([]byte, min(info.Size(), cms.MaxSize))
	if _, err := file.ReadAt(message, 0); err != nil && err != io.EOF {
		return
	}
	if len(message) == 0 || message[0] != derSequence {
		hint := "sign-file attach takes a bare signature value"
		if is := whatIs(message); is.name != "" {
			hint = "it is " + is.named()
		}
		c.warn("%s: is no PKCS#7 message, so no kernel will accept the module (%s)", file.Name(), hint)
		return
	}
	if refusal := c.wouldRefuse(module, message); refusal != "" {
		c.warn("%s: %s", file.Name(), refusal)
	}
}

// wouldRefuse asks the newest kernel about a message, trusting <x509> if it is a
// certificate.
func (c *classic) wouldRefuse(module *signfile.Module, message []byte) string {
	series := kernel.Series()
	rules, err := kernel.Of(series[len(series)-1])
	if err != nil || !module.Regular() {
		return ""
	}
	ring, known := &kernel.Ring{}, false
	if cert, err := certificate.FromFile(c.certificate); err == nil {
		ring.Add(cert)
		known = true
	}
	verdict, err := kernel.NewJudge(rules, ring, kernel.Module).Message(message, io.NewSectionReader(module, 0, module.Size()))
	switch {
	case err != nil || verdict.Accepted || verdict.Errno == syscall.ENOPKG:
		return ""
	case verdict.Errno == syscall.ENOKEY && known:
		return fmt.Sprintf("the message is not one by the key of %s", c.certificate)
	case verdict.Errno == syscall.ENOKEY:
		return ""
	}
	return "no kernel will accept it as a module with this message: " + verdict.Reason
}
