package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sign-file/digest"
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

// nameCommand tells a mistyped command, or one that does not exist, from a usage of the
// kernel's sign-file that lacks an operand.
func (p *program) nameCommand(args []string) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return
	}
	if _, err := digest.Lookup(args[0]); err == nil {
		return
	}
	p.say("%v", noCommand(args[0], p.app().Commands))
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
	return signer.SignModule(ctx, module, signfile.Output{Dest: c.dest, Message: options['p']})
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
// kernel then looks only at the last signature.
func (c *classic) warnIfSigned(module *signfile.Module) {
	if !module.Regular() {
		return
	}
	if signed, err := modsig.HasMarker(module, module.Size()); err == nil && signed {
		c.warn("%s: is signed already and gets one more signature, the only one that the kernel looks at (sign-file sign --replace signs anew)", c.module)
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
