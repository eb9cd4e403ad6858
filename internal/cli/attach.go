package cli

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"sign-file/certificate"
	"sign-file/signfile"
)

func (p *program) attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "sign modules with signatures that were made elsewhere",
		ArgsUsage: "<module> [<dest>] | --signatures FILE [<path>...] | --from-p7s <path>...",
		Description: "One module takes --signature, --cert and --hash. --signatures takes the lines of\n" +
			"digest --format json, each with a signature in base64, and --from-p7s the messages\n" +
			"that sign -d has written beside the modules.",
		Flags: slices.Concat(attachFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "detached", Usage: "write only the message: to <dest>, by default <module>.p7s"},
			&cli.BoolFlag{Name: "from-p7s", Usage: "attach <module>.p7s to each module"},
			&cli.StringFlag{Name: "p7s-dir", Usage: "the messages are below `DIR`, as the modules are below the paths that lead to them, or below --root"},
			jsonFlag(),
		}, signaturesFlags(), manyFlags(), writeFlags()),
		Action: func(c *cli.Context) error { return p.attachHow(c)(c) },
	}
}

// signaturesFlags name signatures of many files that were made elsewhere.
func signaturesFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "signatures", Usage: "`FILE` with a line for each path (- is standard input)"},
		&cli.StringFlag{Name: "root", Usage: "the paths of the lines are below `DIR`"},
	}
}

// attachHow is the way that the flags ask for.
func (p *program) attachHow(c *cli.Context) cli.ActionFunc {
	switch {
	case c.IsSet("p7s-dir") && !c.Bool("from-p7s"):
		return func(*cli.Context) error { return usagef("--p7s-dir goes with --from-p7s") }
	case c.IsSet("signatures") && !c.IsSet("signature") && !c.Bool("from-p7s") && !c.Bool("detached"):
		return p.attachTree
	case c.Bool("from-p7s") && !c.IsSet("signature") && !c.IsSet("signatures") && !c.Bool("detached"):
		return p.attachMessages
	case c.IsSet("signatures") || c.Bool("from-p7s"):
		return func(*cli.Context) error {
			return usagef("--signature, --signatures, --from-p7s and --detached exclude each other")
		}
	case c.Bool("detached"):
		return p.detachedMessage
	}
	return p.attach
}

func (p *program) attach(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, mistake, err := p.presigned(c, wantedMessage(c))
	if err != nil {
		return err
	}
	out := signfile.Output{Existing: signfile.SignAgain}
	if len(args) == 2 {
		if args[1] == "" {
			return errNoDest
		}
		out.Dest = args[1]
	}
	if err := notTheKey(cmp.Or(out.Dest, args[0]), c.String("cert"), c.String("signature")); err != nil {
		return err
	}
	p.listen()
	err = signer.SignFile(c.Context, args[0], out)
	if errors.Is(err, certificate.ErrSignature) {
		_, again := p.readModule(readOnly(c.Context), args[0], func(r io.Reader) ([]byte, error) {
			err = mistake(err, r)
			return nil, nil
		})
		err = cmp.Or(again, err)
	}
	return about(args[0], err)
}

// detachedMessage writes the message of one file alone, made of a signature value.
func (p *program) detachedMessage(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, mistake, err := p.presigned(c, wantedMessage(c))
	if err != nil {
		return err
	}
	dest := args[0] + messageSuffix
	switch {
	case len(args) == 2:
		dest = args[1]
	case args[0] == "-":
		dest = "-"
	}
	if err := notTheKey(dest, args[0], c.String("cert"), c.String("signature")); err != nil {
		return err
	}
	var message []byte
	sign := func(r io.Reader) ([]byte, error) {
		message, err = signer.Detach(c.Context, r)
		return nil, err
	}
	if _, err := p.readModule(c.Context, args[0], sign); err != nil {
		_, again := p.readModule(readOnly(c.Context), args[0], func(r io.Reader) ([]byte, error) { err = mistake(err, r); return nil, nil })
		return about(args[0], errors.Join(err, again))
	}
	if len(args) == 1 && dest != "-" {
		return p.writeBeside(dest, message)
	}
	return p.copyOut(dest, bytes.NewReader(message))
}
