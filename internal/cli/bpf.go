package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"sign-file/bpf"
	"sign-file/digest"
	"sign-file/internal/atomicfile"
	"sign-file/internal/bounded"
	"sign-file/kernel"
	"sign-file/signfile"
)

func (p *program) bpfCommand() *cli.Command {
	return &cli.Command{
		Name:  "bpf",
		Usage: "sign, check and take apart BPF programs: light skeletons and bare loaders",
		Description: "A skeleton is the header that bpftool gen skeleton -L -S writes. A bare loader comes with\n" +
			"--insns and --data in its place. - is standard input or output.",
		Subcommands: []*cli.Command{
			{
				Name: "sign", Usage: "put another signature into a skeleton, or write one of a bare loader",
				ArgsUsage: "<hash algo> <key> <x509> <skeleton> [<out>] | --insns FILE [--data FILE] <hash algo> <key> <x509> [<message>]",
				Flags:     append(loaderFlags(), schemeFlag()),
				Action:    p.bpfSign,
			},
			{
				Name: "attach", Usage: "sign a skeleton with a signature value that was made elsewhere",
				ArgsUsage: "<skeleton> [<out>] | --insns FILE [--data FILE] [<message>]",
				Flags:     slices.Concat(loaderFlags(), madeElsewhereFlags("sha256"), []cli.Flag{schemeFlag()}),
				Action:    p.bpfAttach,
			},
			{
				Name: "digest", Usage: "write what a remote signer must sign",
				ArgsUsage: "[<hash algo>] <skeleton> | --insns FILE [--data FILE] [<hash algo>]",
				Flags: slices.Concat(loaderFlags(), []cli.Flag{
					&cli.StringFlag{Name: "format", Value: formatRaw, Usage: "`raw`, digestinfo, hex or json"},
					&cli.StringFlag{Name: "cert", Usage: "`FILE` with the certificate of the key that is to sign"},
					schemeFlag(),
				}),
				Action: p.bpfDigest,
			},
			{
				Name: "verify", Usage: "say what BPF_PROG_LOAD would say to signed skeletons",
				ArgsUsage: "<skeleton>... | --insns FILE [--data FILE] --signature FILE",
				Flags: slices.Concat(loaderFlags(), []cli.Flag{
					&cli.StringFlag{Name: "signature", Usage: "`FILE` with the PKCS#7 message of a bare loader"},
					&cli.StringFlag{Name: "keyring", Value: "builtin", Usage: "verify with the kernel's `KEYRING` that keyring_id names: builtin (0, a skeleton's unless it is\nset), secondary (1) or platform (2); what --trusted names as a file is in any"},
				}, judgeFlags()),
				Action: p.bpfVerify,
			},
			{
				Name: "inspect", Usage: "show the parts of a skeleton, without verifying it",
				ArgsUsage: "<skeleton>",
				Flags:     []cli.Flag{jsonFlag()},
				Action:    p.bpfInspect,
			},
			{
				Name: "extract", Usage: "write a part of a skeleton: what its signature covers (the default)",
				ArgsUsage: "<skeleton> [<file>]",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "payload", Usage: "what the signature covers"},
					&cli.BoolFlag{Name: "signature", Usage: "the PKCS#7 message, DER"},
					&cli.BoolFlag{Name: "insns", Usage: "the loader's instructions"},
					&cli.BoolFlag{Name: "data", Usage: "the contents of its map"},
					schemeFlag(),
				},
				Action: p.bpfExtract,
			},
		},
	}
}

func loaderFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "insns", Usage: "`FILE` with the instructions of a bare loader, in place of a skeleton"},
		&cli.StringFlag{Name: "data", Usage: "`FILE` with the contents of its map"},
	}
}

func schemeFlag() cli.Flag {
	return &cli.StringFlag{Name: "kernel", Usage: "sign for kernel `RELEASE`: 6.18 to 7.2 verify the instructions, 7.3 and later the map too;\ndefault: that which the loader was made for"}
}

// loaderFile is a loader where it lies: in a skeleton, or bare.
type loaderFile struct {
	bpf.Loader
	name     string               // for messages
	skeleton *bpf.Skeleton        // nil for a bare loader
	original *atomicfile.Original // of a skeleton that is to be replaced
}

// bareLoader reads --insns and --data, nil where they are not given.
func (p *program) bareLoader(c *cli.Context) (*loaderFile, error) {
	code, data := c.String("insns"), c.String("data")
	switch {
	case code == "" && data != "":
		return nil, usagef("--data wants --insns")
	case code == "":
		return nil, nil
	}
	l := &loaderFile{name: code}
	var err error
	if l.Instructions, err = p.readAll(code, bpf.MaxPayload); err == nil && data != "" {
		l.Data, err = p.readAll(data, bpf.MaxPayload)
	}
	if _, is := bpf.ParseSkeleton(l.Instructions); err == nil && !errors.Is(is, bpf.ErrNoSkeleton) {
		err = about(code, errors.New("is a skeleton, and no bare loader: name it without --insns"))
	}
	return l, err
}

// readSkeleton reads a skeleton that is only looked at.
func (p *program) readSkeleton(path string) (*loaderFile, error) {
	source, err := p.readAll(path, bpf.MaxSkeleton)
	if err != nil {
		return nil, err
	}
	return parseSkeleton(path, source)
}

func parseSkeleton(path string, source []byte) (*loaderFile, error) {
	skeleton, err := bpf.ParseSkeleton(source)
	if err != nil {
		is := whatIs(source[:min(len(source), maxLook)])
		switch {
		case isELF(source):
			err = errors.New("is an ELF object: bpftool gen skeleton -L -S makes a skeleton of it")
		case is.name != "" && is.name != aSkeleton:
			err = fmt.Errorf("%w: this is %s", err, is.name)
		}
		return nil, about(path, err)
	}
	return &loaderFile{Loader: skeleton.Loader, name: path, skeleton: skeleton}, nil
}

// openSkeleton opens a skeleton that is to be replaced, if no other output is named.
func (p *program) openSkeleton(path string) (*loaderFile, error) {
	if path == "-" {
		return p.readSkeleton(path)
	}
	place, err := atomicfile.At(path)
	if err != nil {
		return nil, err
	}
	original, err := place.Open(true)
	if err != nil {
		place.Close()
		return nil, err
	}
	source, err := bounded.FromFile(original.File(), bpf.MaxSkeleton)
	if err == nil {
		var l *loaderFile
		if l, err = parseSkeleton(path, source); err == nil {
			l.original = original
			return l, nil
		}
	}
	original.Close()
	place.Close()
	return nil, err
}

func (l *loaderFile) close() {
	if l.original != nil {
		l.original.Close()
		l.original.Place().Close()
	}
}

// openLoader is what the operands from a place on and the flags name: the loader, and the
// operand that says where the answer goes, empty where there is none.
func (p *program) openLoader(c *cli.Context, before int) (l *loaderFile, out string, err error) {
	args := c.Args().Slice()
	l, err = p.bareLoader(c)
	if err != nil {
		return nil, "", err
	}
	most := before + 1
	if l == nil {
		most++
	}
	if len(args) < most-1 || len(args) > most {
		return nil, "", usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	if len(args) == most {
		if out = args[most-1]; out == "" {
			return nil, "", errNoDest
		}
	}
	if l == nil {
		l, err = p.openSkeleton(args[before])
	}
	return l, out, err
}

// wantedKernel is the one that a signature is for, nil where none is named.
func wantedKernel(c *cli.Context) (*kernel.Kernel, error) {
	k, err := namedKernel(c)
	if k != nil && bpf.SchemeOf(k) == 0 {
		return nil, usagef("--kernel %s: BPF programs have signatures from 6.18 on", c.String("kernel"))
	}
	return k, err
}

// checkedLoader is openLoader for one that is to be signed.
func (p *program) checkedLoader(c *cli.Context, before int) (*loaderFile, string, error) {
	l, out, err := p.openLoader(c, before)
	if err != nil {
		return nil, "", err
	}
	if err := p.checkLoader(c, l); err != nil {
		l.close()
		return nil, "", err
	}
	return l, out, nil
}

// checkLoader returns why a loader is not to be signed, for the kernel of --kernel if there
// is one.
func (p *program) checkLoader(c *cli.Context, l *loaderFile) error {
	k, err := wantedKernel(c)
	switch {
	case err != nil:
		return err
	case k != nil:
		err = l.CheckKernel(k)
	default:
		err = l.CheckScheme(l.Scheme())
	}
	if errors.Is(err, bpf.ErrNoData) && l.skeleton == nil && c.String("data") == "" {
		err = fmt.Errorf("%w (--data FILE names them)", err)
	}
	return about(l.name, err)
}

func (p *program) bpfSign(c *cli.Context) error {
	args := c.Args().Slice()
	l, out, err := p.checkedLoader(c, 3)
	if err != nil {
		return err
	}
	defer l.close()
	if err := keepInputs(c, out, l, args[1], args[2]); err != nil {
		return err
	}
	p.warnOfHost(l)
	signer, closeKey, err := p.openSigner(c.Context, p.askPIN(), args[0], args[1], args[2], messageForm{likeBPFTool: true})
	if err != nil {
		return err
	}
	defer closeKey()
	return p.signLoader(c, l, signer, func(err error, _ io.Reader) error { return err }, out)
}

func (p *program) bpfAttach(c *cli.Context) error {
	l, out, err := p.checkedLoader(c, 0)
	if err != nil {
		return err
	}
	defer l.close()
	if err := keepInputs(c, out, l, c.String("cert"), c.String("signature")); err != nil {
		return err
	}
	p.warnOfHost(l)
	signer, mistake, err := p.presigned(c, messageForm{likeBPFTool: true})
	if err != nil {
		return err
	}
	return p.signLoader(c, l, signer, mistake, out)
}

// warnOfHost tells of a loader with parts that no signature covers.
func (p *program) warnOfHost(l *loaderFile) {
	if l.TakesFromHost() {
		p.warn("%s: what runs this loader may change sizes of maps and values of global variables, whoever has signed it (bpftool of Linux 7.2 or later makes loaders that take none)", l.name)
	}
}

// keepInputs refuses an output that is one of the inputs, or another program's skeleton, as
// *.lskel.h names them.
func keepInputs(c *cli.Context, out string, l *loaderFile, inputs ...string) error {
	if err := notTheKey(out, append(inputs, c.String("insns"), c.String("data"))...); err != nil {
		return err
	}
	if out == "" || out == "-" || l.skeleton == nil {
		return nil
	}
	if info, err := os.Stat(out); err != nil || !info.Mode().IsRegular() {
		return nil // the error is another's to tell
	}
	source, err := bounded.ReadFile(out, bpf.MaxSkeleton)
	if err != nil {
		return nil
	}
	if other, err := bpf.ParseSkeleton(source); err == nil && !bytes.Equal(other.Instructions, l.Instructions) {
		return about(out, errors.New("is the skeleton of another program, which would be overwritten (one skeleton at a time: the second name is the output's)"))
	}
	return nil
}

// signLoader signs and writes: the skeleton with its new signature, or a bare loader's
// message.
func (p *program) signLoader(c *cli.Context, l *loaderFile, signer *signfile.Signer, mistake mistakeFunc, out string) error {
	message, err := l.Sign(c.Context, signer)
	if err != nil {
		return about(l.name, mistake(err, bytes.NewReader(l.Payload(l.Scheme()))))
	}
	switch {
	case l.skeleton == nil:
		return p.copyOut(cmp.Or(out, "-"), bytes.NewReader(message))
	case l.original == nil || out == "-":
		return p.writeWith(cmp.Or(out, "-"), true, func(w io.Writer) error {
			return writeRaw(w, l.skeleton.WithSignature(message))
		})
	}
	err = l.replace(out, l.skeleton.WithSignature(message))
	p.warnOfLost(l.name, l.original.Lost())
	return err
}

// replace puts the new header in the place of the old one, or where it is to go.
func (l *loaderFile) replace(out string, header []byte) error {
	target, err := l.target(out)
	if err != nil {
		return err
	}
	file, err := target.CreateWith(header)
	if err != nil {
		return err
	}
	if err := l.original.Check(); err != nil {
		return errors.Join(about(l.name, err), file.Discard())
	}
	return file.Commit()
}

func (l *loaderFile) target(out string) (*atomicfile.Target, error) {
	if out == "" || out == l.name {
		return l.original.Target()
	}
	target, err := atomicfile.Follow(out)
	if err == nil && l.original.Secret() {
		target.Private()
	}
	return target, err
}

func (p *program) bpfDigest(c *cli.Context) error {
	args := c.Args().Slice()
	least := 1
	if c.String("insns") != "" {
		least = 0
	}
	hash, before := "sha256", 0
	if len(args) == least+1 {
		hash, before = args[0], 1
	} else if len(args) != least {
		return usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	algorithm, err := digest.Lookup(hash)
	if err != nil {
		return err
	}
	l, _, err := p.checkedLoader(c, before)
	if err != nil {
		return err
	}
	defer l.close()
	payload := l.Payload(l.Scheme())
	s, err := p.newSums(c, algorithm, messageForm{likeBPFTool: true})
	if err != nil {
		return err
	}
	sum, err := s.of(bytes.NewReader(payload))
	if err != nil {
		return about(l.name, err)
	}
	if c.String("format") == "json" {
		return p.writeJSON(s.report(l.name, sum, int64(len(payload))))
	}
	return p.writeSum(c, s, sum)
}

func (p *program) bpfVerify(c *cli.Context) error {
	only, err := bpfKeyring(c, kernel.BPF)
	if err != nil {
		return err
	}
	bare, err := p.bareLoader(c)
	if err == nil {
		err = p.bareSignature(c, bare)
	}
	if err != nil {
		return err
	}
	if bare == nil && c.Args().Len() == 0 {
		return usagef("nothing to verify: want %s", c.Command.ArgsUsage)
	}
	judge, err := p.judgeOf(c, kernel.BPF, only)
	if err != nil {
		return err
	}
	run := p.newVerifyRun(c, false)
	if bare != nil {
		run.items = []signfile.Item{{Path: bare.name}}
	}
	for _, path := range c.Args().Slice() {
		run.items = append(run.items, signfile.Item{Path: path})
	}
	return run.judge(1, func(item signfile.Item) (*kernel.Verdict, error) {
		if bare != nil {
			return bpf.Verify(judge, &bare.Loader)
		}
		l, err := p.readSkeleton(item.Path)
		if err != nil {
			return nil, err
		}
		return bpf.Verify(judge, &l.Loader)
	})
}

// bareSignature reads the message of a bare loader.
func (p *program) bareSignature(c *cli.Context, bare *loaderFile) (err error) {
	file := c.String("signature")
	switch {
	case bare == nil && file != "":
		return usagef("--signature wants --insns: a skeleton has its signature inside")
	case bare == nil:
		return nil
	case file == "":
		return usagef("--insns wants --signature")
	case c.Args().Len() > 0:
		return usagef("--insns and a skeleton exclude each other")
	}
	bare.Signature, err = p.readAll(file, maxLook)
	return err
}
