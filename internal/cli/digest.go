package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"filippo.io/mldsa"
	"github.com/urfave/cli/v2"

	"sign-file/digest"
	"sign-file/mapvalue"
	"sign-file/signfile"
)

func (p *program) digestCommand() *cli.Command {
	return &cli.Command{
		Name:      "digest",
		Usage:     "write what a remote signer must sign",
		ArgsUsage: "<hash algo> <path>...",
		Description: "raw is the digest, for ECDSA and for services that build the RSA block themselves;\n" +
			"digestinfo is what an RSA PKCS#1 v1.5 signature covers, for those that do not.\n" +
			"For an ML-DSA key name its certificate: raw is mu then, which depends on the key.\n" +
			"With json, one line for each file, there may be many paths, and directories that\n" +
			"are searched for modules; attach --signatures takes the lines with a signature each.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Value: formatRaw, Usage: "`raw`, digestinfo, hex or json"},
			&cli.StringFlag{Name: "cert", Usage: "`FILE` with the certificate of the key that is to sign"},
			&cli.BoolFlag{Name: "any-file", Usage: "take every file of a directory, and its bytes as they are: data of map values"},
			signedAttributesFlag(),
		}, manyFlags()...),
		Action: p.digest,
	}
}

// digestReport is what digest --format json prints.
type digestReport struct {
	fileField
	Size       int64  `json:"size"` // of what is signed, in bytes
	Hash       string `json:"hash"`
	Digest     string `json:"digest,omitempty"`     // hex
	DigestInfo string `json:"digestinfo,omitempty"` // hex, DER
	Mu         string `json:"mu,omitempty"`         // hex, in place of both for ML-DSA
}

func (p *program) digest(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) < 1 || len(args) == 1 && !c.IsSet("from") {
		return usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	algorithm, err := digest.Lookup(args[0])
	if err != nil {
		return err
	}
	s, err := p.newSums(c, algorithm, wantedMessage(c))
	if err != nil {
		return err
	}
	paths, err := p.paths(c, args[1:])
	if err != nil {
		return err
	}
	if c.String("format") == "json" {
		return p.digestAll(c, s, paths)
	}
	switch {
	case len(paths) != 1:
		return usagef("%d files: only --format json has a line for each", len(paths))
	case isDir(paths[0]):
		return usagef("%s is a directory: --format json has a line for each module in it", paths[0])
	}
	sum, _, err := p.sumOf(c, s, paths[0])
	if err != nil {
		return err
	}
	return p.writeSum(c, s, sum)
}

// writeSum writes one sum in the format that the flags ask for.
func (p *program) writeSum(c *cli.Context, s sums, sum []byte) error {
	switch how := c.String("format"); {
	case how == formatRaw:
		return p.write(sum, false)
	case how == formatHex:
		return p.printf("%x\n", sum)
	case how == "digestinfo" && s.isMu:
		return usagef("--format digestinfo: is for RSA keys, and the certificate's is ML-DSA")
	case how == "digestinfo":
		return p.write(s.algorithm.DigestInfo(sum), false)
	default:
		return usagef("--format %s: want raw, digestinfo, hex or json", how)
	}
}

// sums is what a key is to sign of files: the digest, or mu if the certificate has an
// ML-DSA key.
type sums struct {
	algorithm *digest.Algorithm
	isMu      bool
	anyFile   bool
	of        func(io.Reader) ([]byte, error)
}

func (p *program) newSums(c *cli.Context, algorithm *digest.Algorithm, form messageForm) (sums, error) {
	s := sums{algorithm: algorithm, anyFile: c.Bool("any-file"), of: func(r io.Reader) ([]byte, error) {
		h := algorithm.New()
		_, err := io.Copy(h, r)
		return h.Sum(nil), err
	}}
	if c.String("cert") == "" {
		if c.Bool("signed-attributes") {
			return s, usagef("--signed-attributes wants --cert")
		}
		return s, nil
	}
	other, err := p.otherSigner(c, c.String("cert"))
	if err != nil {
		return s, err
	}
	signer, err := other.with(p, nil, algorithm.Name(), form)
	if err != nil {
		return s, err
	}
	_, s.isMu = other.public.(*mldsa.PublicKey)
	s.of = func(r io.Reader) ([]byte, error) { return signer.Digest(readOnly(c.Context), r) }
	return s, nil
}

func (s sums) report(path string, sum []byte, size int64) digestReport {
	r := digestReport{fileField: fileNamed(path), Size: size, Hash: s.algorithm.Name()}
	if s.isMu {
		r.Mu = hex.EncodeToString(sum)
		return r
	}
	r.Digest, r.DigestInfo = hex.EncodeToString(sum), hex.EncodeToString(s.algorithm.DigestInfo(sum))
	return r
}

// sumOf is the sum of one file, all of it.
func (p *program) sumOf(c *cli.Context, s sums, path string) (sum []byte, size int64, err error) {
	if s.anyFile {
		data, err := p.readValue(path)
		if err != nil {
			return nil, 0, err
		}
		sum, err = s.ofData(data)
		return sum, int64(len(data)), about(path, err)
	}
	sum, err = p.readModule(readOnly(c.Context), path, func(r io.Reader) ([]byte, error) {
		counted := &counter{Reader: r}
		sum, err := s.of(counted)
		size = counted.n
		return sum, err
	})
	return sum, size, err
}

// ofData is the sum of what becomes a map value.
func (s sums) ofData(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, mapvalue.ErrEmptyData
	}
	return s.of(bytes.NewReader(data))
}

// counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// digestAll prints a line for each module, in the order of the paths whatever --jobs is.
func (p *program) digestAll(c *cli.Context, s sums, paths []string) error {
	how, err := manyOptions(c)
	switch {
	case err != nil:
		return err
	case s.anyFile && how.Existing != signfile.RefuseSigned:
		return usagef("--any-file takes files as they are, signed or not")
	}
	run := signRun{program: p, how: how}
	tree := signfile.Tree{AnyFile: s.anyFile}
	defer tree.Close()
	var items []signfile.Item
	single := len(paths) == 1 && !isDir(paths[0])
	if single {
		items = []signfile.Item{{Path: paths[0]}}
	} else if items = run.collect(&tree, paths); (run.empty || len(items) == 0 && run.failed == 0) && !c.Bool("allow-empty") {
		if !s.anyFile {
			p.say("--any-file takes all files, as data of map values")
		}
		return errEmpty
	}
	one := func(i int) (*digestReport, error) {
		if single && !c.Bool("replace") && !c.Bool("unsigned-only") {
			sum, size, err := p.sumOf(c, s, items[i].Path) // whatever the file is
			report := s.report(items[i].Path, sum, size)
			return &report, err
		}
		return s.module(readOnly(c.Context), items[i], how)
	}
	failed := run.failed > 0
	err = inOrder(how.Jobs, len(items), one, func(i int, report *digestReport, err error) error {
		switch {
		case err != nil:
			failed = true
			text := errorText(about(items[i].Path, err))
			if errors.Is(err, signfile.ErrSigned) {
				text += " (--replace takes its content, --unsigned-only skips it)"
			}
			p.say("%s", text)
			return nil
		case report == nil:
			return nil // skipped
		}
		return p.writeJSON(report)
	})
	if err == nil && failed {
		err = exitError(exitFailure)
	}
	return err
}

// module is the line of one module; nil for one that is skipped.
func (s sums) module(ctx context.Context, item signfile.Item, how signfile.Many) (*digestReport, error) {
	if s.anyFile {
		data, _, err := readData(ctx, item)
		if err != nil {
			return nil, err
		}
		sum, err := s.ofData(data)
		report := s.report(item.Path, sum, int64(len(data)))
		return &report, err
	}
	module, err := item.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer module.Close()
	size, skipped, err := how.Covers(module)
	if err != nil || skipped {
		return nil, err
	}
	size = min(size, module.Size())
	sum, err := s.of(io.NewSectionReader(module, 0, size))
	if err == nil {
		err = module.Check()
	}
	report := s.report(item.Path, sum, size)
	return &report, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// readModule reads a module's content, or standard input for "-".
func (p *program) readModule(ctx context.Context, path string, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	if path == "-" {
		in, err := p.input()
		if err != nil {
			return nil, about("standard input", err)
		}
		sum, err := read(in)
		return sum, about("standard input", err)
	}
	module, err := signfile.OpenModule(ctx, path)
	if err != nil {
		return nil, err
	}
	defer module.Close()
	sum, err := read(io.NewSectionReader(module, 0, module.Size()))
	if err == nil {
		err = module.Check()
	}
	return sum, about(path, err)
}
