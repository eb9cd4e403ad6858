package cli

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"sign-file/signfile"
)

func (p *program) stripCommand() *cli.Command {
	return &cli.Command{
		Name:      "strip",
		Usage:     "remove the outermost signature from modules, in place",
		ArgsUsage: "<module>...",
		Action:    p.strip,
	}
}

func (p *program) strip(c *cli.Context) error {
	if c.Args().Len() == 0 {
		return usagef("no module to strip")
	}
	exit := exitOK
	for _, path := range c.Args().Slice() {
		if err := stripModule(c.Context, path); err != nil {
			exit = p.fail(err)
		}
	}
	if exit != exitOK {
		return exitError(exit)
	}
	return nil
}

func stripModule(ctx context.Context, path string) error {
	module, err := signfile.OpenModule(path)
	if err != nil {
		return err
	}
	defer module.Close()
	return about(path, signfile.StripModule(ctx, module))
}

func (p *program) extractCommand() *cli.Command {
	return &cli.Command{
		Name:      "extract",
		Usage:     "write a part of a signed module: its PKCS#7 message (the default) or its content",
		ArgsUsage: "<module> [<file>]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "signature", Usage: "the PKCS#7 message, DER: what sign-file -d writes"},
			&cli.BoolFlag{Name: "data", Usage: "the content: the module as it was before its last signature"},
		},
		Action: p.extract,
	}
}

func (p *program) extract(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	if c.Bool("signature") && c.Bool("data") {
		return usagef("--signature and --data exclude each other")
	}
	module, err := signfile.OpenModule(args[0])
	if err != nil {
		return err
	}
	defer module.Close()
	layout, err := module.Find()
	if err != nil {
		return err
	}
	part := io.NewSectionReader(module, layout.ContentSize, layout.SignatureSize())
	if c.Bool("data") {
		part = io.NewSectionReader(module, 0, layout.ContentSize)
	}
	return about(args[0], p.copyOut(output(args, 1), part))
}

// output is an optional operand that names where the answer goes.
func output(args []string, i int) string {
	if len(args) > i {
		return args[i]
	}
	return "-"
}
