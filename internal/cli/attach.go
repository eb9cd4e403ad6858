package cli

import (
	"cmp"
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"sign-file/certificate"
	"sign-file/signfile"
)

func (p *program) attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "sign a module with a signature value that was made elsewhere",
		ArgsUsage: "<module> [<dest>]",
		Flags:     attachFlags(),
		Action:    p.attach,
	}
}

func (p *program) attach(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, mistake, err := p.presigned(c)
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
