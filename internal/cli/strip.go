package cli

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"sign-file/signfile"
)

func (p *program) stripCommand() *cli.Command {
	return &cli.Command{
		Name:      "strip",
		Usage:     "remove the outermost signature from modules, in place",
		ArgsUsage: "<path>...",
		Action:    p.strip,
	}
}

func (p *program) strip(c *cli.Context) error {
	if c.Args().Len() == 0 {
		return usagef("no module to strip")
	}
	var tree signfile.Tree
	defer tree.Close()
	p.listen()
	return p.eachModule(&tree, c.Args().Slice(), func(item signfile.Item) error { return p.stripModule(c.Context, item) })
}

// stripModule strips one module. One that a signal ended before its turn, or half-way, is as
// it was, and no failure: what comes of the process says it all.
func (p *program) stripModule(ctx context.Context, item signfile.Item) error {
	if ctx.Err() != nil {
		return nil
	}
	module, err := item.Open(ctx)
	if err != nil {
		return about(item.Path, err)
	}
	defer module.Close()
	if err = signfile.StripModule(ctx, module); err != nil && ctx.Err() != nil {
		return nil
	}
	p.warnOfLost(item.Path, module.Lost())
	return about(item.Path, err)
}

// eachModule does something to every module that the paths name, or that is found below
// them, whatever becomes of the others. The error is an exit code.
func (p *program) eachModule(tree *signfile.Tree, paths []string, do func(signfile.Item) error) error {
	exit := exitOK
	for _, path := range paths {
		if path == "-" {
			if err := do(signfile.Item{Path: path}); err != nil {
				exit = p.fail(about("standard input", err))
			}
			continue
		}
		found := false
		tree.Add(path, func(item signfile.Item, err error) {
			found = true
			if errors.Is(err, signfile.ErrLink) {
				return // what it leads to has a name of its own
			}
			if err == nil {
				err = do(item)
			}
			if err != nil {
				exit = p.fail(about(item.Path, err))
			}
		})
		if !found {
			exit = p.fail(about(path, errors.New("no module in this directory")))
		}
	}
	if exit != exitOK {
		return exitError(exit)
	}
	return nil
}
