package cli

import (
	"io"

	"github.com/urfave/cli/v2"

	"sign-file/signfile"
)

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
	if err := notTheKey(output(args, 1), args[0]); err != nil {
		return err
	}
	module, err := signfile.OpenModule(readOnly(c.Context), args[0])
	if err != nil {
		return err
	}
	defer module.Close()
	if module.Secret() {
		p.secret.Store(true)
	}
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

// atMostOne refuses two of the flags that choose a part.
func atMostOne(c *cli.Context, parts ...string) error {
	first := ""
	for _, part := range parts {
		switch {
		case !c.Bool(part):
		case first != "":
			return usagef("--%s and --%s exclude each other", first, part)
		default:
			first = part
		}
	}
	return nil
}

// output is an optional operand that names where the answer goes.
func output(args []string, i int) string {
	if len(args) > i {
		return args[i]
	}
	return "-"
}
