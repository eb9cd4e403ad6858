package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"sign-file/cms"
	"sign-file/kernel"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
	"sign-file/signfile"
)

func (p *program) mapCommand() *cli.Command {
	valueFlags := []cli.Flag{
		&cli.StringFlag{Name: "tail", Usage: "put the bytes of `FILE` behind the signature, unverified"},
		&cli.IntFlag{Name: "value-size", DefaultText: "no padding", Usage: "pad with zeros to `N` bytes, the map's value size"},
		&cli.StringFlag{Name: "format", Value: formatRaw, Usage: "`raw`, hex (for bpftool) or c (an array)"},
	}
	return &cli.Command{
		Name:  "map",
		Usage: "make, check and take apart signed BPF map values",
		Description: "A signed map value is [be32 size][data][signature][unverified tail]; - is standard\n" +
			"input or output.",
		Subcommands: []*cli.Command{
			{
				Name: "sign", Usage: "sign data and make a map value of it",
				ArgsUsage: "<hash algo> <key> <x509> <data> [<value>]",
				Flags:     slices.Concat(messageFlags(), valueFlags),
				Action:    p.mapSign,
			},
			{
				Name: "wrap", Usage: "make a map value of a file that is signed already",
				ArgsUsage: "<signed file> [<value>]",
				Flags:     valueFlags,
				Action:    p.mapWrap,
			},
			{
				Name: "attach", Usage: "make a map value of data and a signature value that was made elsewhere",
				ArgsUsage: "<data> [<value>] | --signatures FILE --output-dir DIR [<path>...]",
				Description: "--signatures takes the lines of digest --format json, each with a signature in\n" +
					"base64, and makes a value of each file of data that is named or in a named folder.",
				Flags: slices.Concat(attachFlags(), valueFlags, signaturesFlags(), listFlags(), []cli.Flag{
					&cli.StringFlag{Name: "output-dir", Usage: "write the values below `DIR`"},
					jsonFlag(), quietFlag(),
				}),
				Action: p.mapAttach,
			},
			{
				Name: "verify", Usage: "check a map value as bpf_map_verify_value_sig does",
				ArgsUsage:   "<value>...",
				Description: "Of a directory, every file in it is checked. Exit codes are those of verify.",
				Flags:       append(judgeFlags(), &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing of what is accepted"}),
				Action:      p.mapVerify,
			},
			{
				Name: "inspect", Usage: "show the parts of a map value, without verifying it",
				ArgsUsage: "<value>",
				Flags:     []cli.Flag{jsonFlag()},
				Action:    p.mapInspect,
			},
			{
				Name: "size", Usage: "print the verified data size as bpf_map_verified_data_size gives it",
				ArgsUsage: "<value>",
				Action:    p.mapSize,
			},
			{
				Name: "extract", Usage: "write a part of a map value: its data (the default)",
				ArgsUsage: "<value> [<file>]",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "data", Usage: "the data"},
					&cli.BoolFlag{Name: "signature", Usage: "the PKCS#7 message, DER"},
					&cli.BoolFlag{Name: "tail", Usage: "what follows the signature, padding included"},
					&cli.BoolFlag{Name: "signed", Usage: "data and signature: a file as sign-file makes it"},
				},
				Action: p.mapExtract,
			},
			p.gateCommand(),
		},
	}
}

func (p *program) mapSign(c *cli.Context) error {
	args, err := operands(c, 4, 5)
	if err != nil {
		return err
	}
	signer, closeKey, err := p.openSigner(c.Context, p.askPIN(), args[0], args[1], args[2], wantedMessage(c))
	if err != nil {
		return err
	}
	defer closeKey()
	if err := notTheKey(output(args, 4), args[1], args[2], args[3], c.String("tail")); err != nil {
		return err
	}
	return p.signValue(c, signer, func(err error, _ io.Reader) error { return err }, args[3], output(args, 4))
}

func (p *program) mapWrap(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	if err := notTheKey(output(args, 1), args[0], c.String("tail")); err != nil {
		return err
	}
	signed, err := p.readValue(args[0])
	if err == nil {
		if _, already := mapvalue.Decode(signed); already == nil {
			err = about(args[0], errors.New("is a map value already"))
		}
	}
	if err != nil {
		return err
	}
	return p.writeValue(c, args[0], signed, output(args, 1))
}

func (p *program) mapAttach(c *cli.Context) error {
	if c.IsSet("signatures") {
		return p.attachValues(c)
	}
	for _, flag := range []string{"root", "output-dir", "from", "0", "json", "allow-empty"} {
		if c.IsSet(flag) {
			return usagef("--%s goes with --signatures", flag)
		}
	}
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, mistake, err := p.presigned(c, wantedMessage(c))
	if err == nil {
		err = notTheKey(output(args, 1), c.String("cert"), c.String("signature"), args[0], c.String("tail"))
	}
	if err != nil {
		return err
	}
	return p.signValue(c, signer, mistake, args[0], output(args, 1))
}

// signValue signs data and writes it as a map value.
func (p *program) signValue(c *cli.Context, signer *signfile.Signer, mistake mistakeFunc, source, path string) error {
	data, err := p.readValue(source)
	if err != nil {
		return err
	}
	signed, err := signData(c.Context, signer, data)
	if err != nil {
		return about(source, mistake(err, bytes.NewReader(data)))
	}
	return p.writeValue(c, source, signed, path)
}

func signData(ctx context.Context, signer *signfile.Signer, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, mapvalue.ErrEmptyData
	}
	var signed bytes.Buffer
	err := signer.Sign(ctx, &signed, bytes.NewReader(data))
	return signed.Bytes(), err
}

// writeValue puts signed data and the tail into a value, and writes it.
func (p *program) writeValue(c *cli.Context, source string, signed []byte, path string) error {
	encode, err := p.encoder(c)
	if err != nil {
		return err
	}
	write, err := encode(signed)
	if err != nil {
		return about(source, err)
	}
	return p.writeWith(path, c.String("format") != formatRaw, write)
}

// encodeFunc makes a value of signed data, and returns what writes it.
type encodeFunc func(signed []byte) (write func(io.Writer) error, err error)

// encoder makes values with the tail, of the size and in the format that the flags say.
func (p *program) encoder(c *cli.Context) (encodeFunc, error) {
	var tail []byte
	var err error
	if name := c.String("tail"); name != "" {
		if tail, err = p.readValue(name); err != nil {
			return nil, err
		}
	}
	size := c.Int("value-size")
	if c.IsSet("value-size") && (size <= 0 || size > mapvalue.MaxSize) {
		return nil, usagef("--value-size %d: want 1 to %d", size, mapvalue.MaxSize)
	}
	render, err := renderer(c.String("format"))
	if err != nil {
		return nil, err
	}
	return func(signed []byte) (func(io.Writer) error, error) {
		value, err := mapvalue.Encode(signed, tail, size)
		if err != nil {
			return nil, withSmallerKeys(err, signed)
		}
		return func(w io.Writer) error { return render(w, value) }, nil
	}, nil
}

// withSmallerKeys adds to the error about a value that does not fit its map the kinds of
// key that would make one that does.
func withSmallerKeys(err error, signed []byte) error {
	const slack = 8 // identifiers and lengths differ a little
	var tooLarge *mapvalue.SizeError
	layout, none := modsig.Find(bytes.NewReader(signed), int64(len(signed)))
	if !errors.As(err, &tooLarge) || none != nil {
		return err
	}
	message, none := cms.Parse(signed[layout.ContentSize:][:layout.SignatureSize()])
	if none != nil || len(message.Signers) != 1 {
		return err
	}
	if room := tooLarge.Size - mapvalue.HeaderSize - tooLarge.Tail; room < len(signed)-len(message.Signers[0].Signature) {
		without := "the data"
		if tooLarge.Tail > 0 && mapvalue.HeaderSize+len(signed) <= tooLarge.Size {
			without = "the tail"
		}
		return fmt.Errorf("%w; a shorter signature would not help: %s is too long", err, without)
	}
	without := tooLarge.Need - len(message.Signers[0].Signature) + slack
	var fit []string
	for _, kind := range []struct {
		name string
		size int // of a signature's value, at most
	}{{"RSA-4096", 512}, {"RSA-3072", 384}, {"RSA-2048", 256}, {"ECDSA P-521", 139}, {"ECDSA P-384", 104}, {"ECDSA P-256", 72}} {
		if without+kind.size <= tooLarge.Size {
			fit = append(fit, kind.name)
		}
	}
	if id := message.Signers[0].ID; !id.ByKeyID() {
		const keyID = 24 // in bytes, with its headers
		if shorter := tooLarge.Need - len(id.Issuer) - len(id.Serial) + keyID; shorter <= tooLarge.Size {
			fit = append(fit, "this one, with -k, which names it by its identifier")
		}
	}
	if fit == nil {
		return fmt.Errorf("%w; no key's signature is short enough", err)
	}
	return fmt.Errorf("%w; it would fit with one of these keys: %s", err, strings.Join(fit, ", "))
}

func (p *program) mapVerify(c *cli.Context) error {
	judge, err := p.newJudge(c, kernel.MapValue, "")
	if err != nil {
		return err
	}
	run := p.newVerifyRun(c, false)
	tree := signfile.Tree{AnyFile: true}
	defer tree.Close()
	if err := run.collect(&tree, c.Args().Slice()); err != nil {
		return err
	}
	for _, item := range run.items {
		report, err := guarded(func() (*verdictReport, error) { return p.judgeValues(judge, item.Path) })
		if err := run.tell(item.Path, report, err); err != nil {
			return err
		}
	}
	return run.result()
}

// judgeValues judges a file with a value, or with text that spells one or, as a dump does,
// several: then the worst counts.
func (p *program) judgeValues(judge *kernel.Judge, path string) (*verdictReport, error) {
	raw, err := p.readValue(path)
	if err != nil {
		return nil, err
	}
	text := p.spelled(path, raw)
	if text.form == "" {
		return judgeValue(judge, path, raw)
	}
	var worst *verdictReport
	var undecided error
	for i, element := range text.elements {
		report, err := judgeValue(judge, path, element.value)
		switch {
		case err != nil:
			undecided = cmp.Or(undecided, fmt.Errorf("element %d: %w", i+1, err))
		case worst == nil || worst.Accepted && !report.Accepted:
			worst = report
			worst.Text, worst.Element, worst.Elements, worst.Key = text.form, i+1, len(text.elements), element.key
		}
	}
	if undecided != nil && (worst == nil || worst.Accepted) {
		return nil, undecided
	}
	return worst, nil
}

func judgeValue(judge *kernel.Judge, path string, value []byte) (*verdictReport, error) {
	verdict, err := judge.MapValue(value)
	if err != nil {
		return nil, err
	}
	if !verdict.Accepted && (verdict.Errno == syscall.ENOENT || verdict.Errno == syscall.EINVAL) {
		if is, ofValue := valueMistake(value); is.name != "" {
			verdict.Reason += ": this is " + is.name
			if ofValue {
				verdict.Advice = is.asModule
			}
		}
	}
	report := reportVerdict(path, verdict, false)
	return &report, nil
}

// valueReport is what map inspect says.
type valueReport struct {
	fileField
	Text       string        `json:"text,omitempty"` // its form, where the value is spelled out as text
	Size       int           `json:"size"`
	SignedSize int           `json:"signed_size"`
	DataSize   int           `json:"data_size"`
	TailSize   int           `json:"tail_size"`
	ZeroTail   bool          `json:"tail_is_zero"`
	Signature  messageReport `json:"signature"`
}

func (p *program) mapInspect(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	value, form, err := p.readOne(args[0])
	if err != nil {
		return err
	}
	r := valueReport{
		fileField: fileNamed(args[0]), Text: form, Size: mapvalue.HeaderSize + len(value.Signed) + len(value.Tail), SignedSize: len(value.Signed), DataSize: len(value.Data),
		TailSize: len(value.Tail), ZeroTail: len(bytes.Trim(value.Tail, "\x00")) == 0,
		Signature: reportMessage(value.Message, int64(len(value.Message)), int64(len(value.Data))),
	}
	if c.Bool("json") {
		return p.writeJSON(r)
	}
	tail := "unverified"
	if r.ZeroTail {
		tail = "all zero"
	}
	return cmp.Or(
		p.printf("%s: map value of %d bytes, %d of them signed data and signature\n", r.File, r.Size, r.SignedSize),
		r.Signature.print(p, "  "),
		p.printf("  %-12s %d bytes, %s\n", "tail", r.TailSize, tail))
}

func (p *program) mapSize(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	value, _, err := p.readOne(args[0])
	if err != nil {
		return err
	}
	return p.printf("%d\n", len(value.Data))
}

func (p *program) mapExtract(c *cli.Context) error {
	if _, err := operands(c, 1, 2); err != nil {
		return err
	}
	if err := atMostOne(c, "data", "signature", "tail", "signed"); err != nil {
		return err
	}
	if err := notTheKey(output(c.Args().Slice(), 1), c.Args().First()); err != nil {
		return err
	}
	value, _, err := p.readOne(c.Args().First())
	if err != nil {
		return err
	}
	part := value.Data
	switch {
	case c.Bool("signature"):
		part = value.Message
	case c.Bool("tail"):
		part = value.Tail
	case c.Bool("signed"):
		part = value.Signed
	}
	return p.copyOut(output(c.Args().Slice(), 1), bytes.NewReader(part))
}

// readOne reads a file with one value, as it is or as text, whose form it returns too.
func (p *program) readOne(path string) (value *mapvalue.Value, form string, err error) {
	raw, err := p.readValue(path)
	if err != nil {
		return nil, "", err
	}
	raw, form, err = p.oneValue(path, raw)
	if err != nil {
		return nil, "", about(path, err)
	}
	value, err = decodeValue(raw)
	return value, form, about(path, err)
}

// spelled is what a file spells that has values as text, as map sign --format or bpftool
// writes it. Its form is empty for what is a value as it is, and for what is no text.
func (p *program) spelled(path string, raw []byte) valueText {
	if _, err := mapvalue.Decode(raw); err == nil {
		return valueText{}
	}
	text, err := readValueText(raw)
	if err != nil || text.form == "" {
		return valueText{}
	}
	_, err = mapvalue.Decode(text.elements[0].value)
	switch several := len(text.elements) > 1; {
	case several:
		p.say("%s: is text with %d elements; the value of each is looked at", path, len(text.elements))
	case err == nil:
		p.say("%s: is text in hexadecimal; the value that it spells is looked at", path)
	case text.form == textHex: // digits may be anything
		return valueText{}
	}
	return text
}

// oneValue is a value as it is, or the only one that a text spells.
func (p *program) oneValue(path string, raw []byte) (value []byte, form string, err error) {
	switch text := p.spelled(path, raw); len(text.elements) {
	case 0:
		return raw, "", nil
	case 1:
		return text.elements[0].value, text.form, nil
	default:
		return nil, "", fmt.Errorf("has %d elements, and one is wanted (bpftool -j map lookup)", len(text.elements))
	}
}

// decodeValue is mapvalue.Decode with an error that tells mistakes.
func decodeValue(raw []byte) (*mapvalue.Value, error) {
	value, err := mapvalue.Decode(raw)
	if err != nil {
		if is, _ := valueMistake(raw); is.name != "" {
			err = fmt.Errorf("%w: this is %s", err, is.named())
		}
	}
	return value, err
}
