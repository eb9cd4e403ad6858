package cli

import (
	"github.com/urfave/cli/v2"

	"sign-file/keys"
	modsig "sign-file/module_signature"
)

func (p *program) sizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "size",
		Usage:     "say how long a signature will be, before it is made",
		ArgsUsage: "<hash algo> <x509>",
		Description: "Prints what signing adds to a module: the PKCS#7 message and the trailer, in bytes.\n" +
			"With ECDSA it is the most: the values differ by a few bytes.",
		Flags:  append([]cli.Flag{jsonFlag()}, messageFlags()...),
		Action: p.size,
	}
}

// sizeReport is what size --json prints.
type sizeReport struct {
	Appended int  `json:"appended"` // all that a signature adds, in bytes
	Message  int  `json:"message"`  // of it the PKCS#7 message
	Exact    bool `json:"exact"`    // or the most
}

func (p *program) size(c *cli.Context) error {
	args, err := operands(c, 2, 2)
	if err != nil {
		return err
	}
	other, err := p.otherSigner(c, args[1])
	if err != nil {
		return err
	}
	signer, err := newSigner(keys.Presigned(other.public, nil), args[0], other.file, other.cert, wantedMessage(c))
	if err != nil {
		return err
	}
	message, exact, err := signer.MessageSize()
	if err != nil {
		return about(args[1], err)
	}
	r := sizeReport{Appended: message + modsig.TrailerSize, Message: message, Exact: exact}
	if c.Bool("json") {
		return p.writeJSON(r)
	}
	return p.printf("%d\n", r.Appended)
}
