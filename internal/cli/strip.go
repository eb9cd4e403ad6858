package cli

import (
	"context"

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
	module, err := signfile.OpenModule(ctx, path)
	if err != nil {
		return err
	}
	defer module.Close()
	return about(path, signfile.StripModule(ctx, module))
}
