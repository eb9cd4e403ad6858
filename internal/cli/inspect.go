package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	modsig "sign-file/module_signature"
	"sign-file/signfile"
)

func (p *program) inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show the signatures of modules, outermost first, without verifying them",
		ArgsUsage: "<path>...",
		Flags:     []cli.Flag{jsonFlag()},
		Action:    p.inspect,
	}
}

// moduleReport is what inspect says of one file.
type moduleReport struct {
	fileField
	Size       int64           `json:"size"`
	Signatures []messageReport `json:"signatures"`
	More       bool            `json:"more,omitempty"` // signatures below those
	// Message is what a file is that holds a bare PKCS#7 message, and Is what else a file
	// is that is no module.
	Message *messageReport `json:"message,omitempty"`
	Is      string         `json:"is,omitempty"`
	Error   string         `json:"error,omitempty"`
}

func (p *program) inspect(c *cli.Context) error {
	if c.Args().Len() == 0 {
		return usagef("no module to inspect")
	}
	tree := signfile.Tree{FollowLinks: true}
	defer tree.Close()
	var printed error
	err := p.eachModule(&tree, c.Args().Slice(), func(item signfile.Item) error {
		report, err := guarded(func() (*moduleReport, error) { return p.inspectModule(readOnly(c.Context), item) })
		switch {
		case err != nil || printed != nil:
			return err
		case c.Bool("json"):
			printed = p.writeJSON(report)
		default:
			printed = report.print(p)
		}
		return nil
	})
	return cmp.Or(printed, err)
}

// maxSignatures bounds how many signatures are shown. A few bytes of a compressed file
// may become a million of them, and the kernel looks at one.
const maxSignatures = 100

// inspectModule walks from the outermost signature to the innermost.
func (p *program) inspectModule(ctx context.Context, item signfile.Item) (*moduleReport, error) {
	module, err := p.openItem(ctx, item)
	if err != nil {
		return nil, err
	}
	defer module.Close()
	size := module.Size()
	report := &moduleReport{fileField: fileNamed(item.Path), Size: size, Signatures: []messageReport{}}
	for {
		layout, err := modsig.Find(io.NewSectionReader(module, 0, size), size)
		if errors.Is(err, modsig.ErrUnsigned) && len(report.Signatures) == 0 {
			return report, report.unsigned(module)
		}
		if errors.Is(err, modsig.ErrUnsigned) {
			return report, nil
		}
		var malformed *modsig.TrailerError
		if errors.As(err, &malformed) {
			report.Error = err.Error()
			return report, nil
		}
		if err != nil {
			return nil, about(item.Path, err)
		}
		if report.More = len(report.Signatures) == maxSignatures; report.More {
			return report, nil
		}
		message, err := readMessage(module, layout)
		if err != nil {
			return nil, about(item.Path, err)
		}
		report.Signatures = append(report.Signatures, reportMessage(message, layout.SignatureSize(), layout.ContentSize))
		size = layout.ContentSize
	}
}

// unsigned looks at what is no signed module: at a bare message, and at what else is to
// be told.
func (r *moduleReport) unsigned(module *signfile.Module) error {
	var damaged *modsig.DamagedError
	switch err := module.Damaged(); {
	case errors.As(err, &damaged):
		r.Error = damaged.Error()
		return nil
	case err != nil:
		return err
	}
	head := make([]byte, min(module.Size(), maxLook))
	if _, err := module.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	message := reportMessage(head, module.Size(), 0)
	if message.Error == "" && len(message.Signers) > 0 {
		r.Message = &message
		return nil
	}
	if is := whatIs(head); is.name != "" && !isELF(head) {
		r.Is = is.name
	}
	return nil
}

func (r *moduleReport) print(p *program) error {
	state := "not signed"
	switch {
	case r.Message != nil:
		return cmp.Or(p.printf("%s: a bare PKCS#7 message\n", r.File), r.Message.print(p, "  "))
	case r.Is != "":
		state = "no module but " + r.Is
	case r.Error != "" && len(r.Signatures) == 0:
		state = "not signed any more"
	case len(r.Signatures) == 1:
		state = "signed"
	case len(r.Signatures) > 1:
		state = fmt.Sprintf("signed %d times; the kernel looks only at the first listed", len(r.Signatures))
	}
	errs := []error{p.printf("%s: %d bytes, %s\n", r.File, r.Size, state)}
	for i, s := range r.Signatures {
		if i > 0 {
			errs = append(errs, p.printf("  below it:\n"))
		}
		errs = append(errs, s.print(p, "  "))
	}
	if r.More {
		errs = append(errs, p.printf("  and more below these %d\n", len(r.Signatures)))
	}
	if r.Error != "" {
		errs = append(errs, p.printf("  %-12s %s\n", "malformed", r.Error))
	}
	return cmp.Or(errs...)
}
