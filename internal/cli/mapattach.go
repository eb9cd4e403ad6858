package cli

import (
	"context"
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"sign-file/internal/atomicfile"
	"sign-file/mapvalue"
	"sign-file/signfile"
)

// attachValues makes map values of many files of data, with signatures that were made
// elsewhere: attachTree for data, which stays, since a value is another file.
func (p *program) attachValues(c *cli.Context) error {
	switch {
	case c.IsSet("signature"):
		return usagef("--signature and --signatures exclude each other")
	case c.String("output-dir") == "":
		return usagef("no --output-dir: each value is written there, under the name of its data")
	}
	encode, err := p.encoder(c)
	if err != nil {
		return err
	}
	run, data, err := p.newAttachRun(c, signfile.Many{OutputDir: c.String("output-dir")})
	if err != nil {
		return err
	}
	tree := signfile.Tree{AnyFile: true}
	defer tree.Close()
	items := run.collect(&tree, data)
	if len(items) == 0 && run.failed == 0 && !c.Bool("allow-empty") {
		return errEmpty
	}
	output, err := run.makeOutput(items)
	if err != nil {
		return err
	}
	defer output.Close()
	run.left = len(items)
	for _, item := range items {
		if c.Context.Err() != nil {
			break
		}
		run.left--
		if signer := run.choose(item); signer != nil {
			run.report(signfile.Result{Item: item, Err: p.writeValueBelow(c.Context, output, item, signer, encode)})
		}
	}
	run.unused()
	return run.end(c.Context.Err() != nil)
}

// writeValueBelow writes the value of one file of data to its path below a folder.
func (p *program) writeValueBelow(ctx context.Context, output *atomicfile.Folder, item signfile.Item, signer *signfile.Signer, encode encodeFunc) error {
	data, secret, err := readData(ctx, item)
	if err != nil {
		return err
	}
	signed, err := signData(ctx, signer, data)
	if err != nil {
		return err
	}
	write, err := encode(signed)
	if err != nil {
		return err
	}
	place, err := output.Below(item.Relative(), true)
	if err != nil {
		return err
	}
	target, err := place.Target()
	if err != nil {
		return err
	}
	return p.writeTarget(target, secret || p.secret.Load(), write)
}

// readData reads one file of data, of an item that is taken as it is. secret tells that its
// value is one.
func readData(ctx context.Context, item signfile.Item) (data []byte, secret bool, err error) {
	module, err := item.Open(ctx)
	if err != nil {
		return nil, false, err
	}
	defer module.Close()
	switch {
	case module.Size() == 0:
		return nil, false, mapvalue.ErrEmptyData
	case module.Size() > mapvalue.MaxSize:
		return nil, false, errors.New("has more bytes than a map value may have")
	}
	data, err = io.ReadAll(io.NewSectionReader(module, 0, module.Size()))
	if err == nil {
		err = module.Check()
	}
	return data, module.Secret(), err
}
