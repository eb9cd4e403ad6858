package cli

import (
	"github.com/urfave/cli/v2"

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
	signer, err := p.presigned(c)
	if err != nil {
		return err
	}
	var out signfile.Output
	if len(args) == 2 {
		if args[1] == "" {
			return errNoDest
		}
		out.Dest = args[1]
	}
	return about(args[0], signer.SignFile(c.Context, args[0], out))
}
