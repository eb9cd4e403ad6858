package cli

import (
	"io"

	"github.com/urfave/cli/v2"

	"sign-file/keyring"
	"sign-file/signfile"
)

var (
	jsonFlag    = &cli.BoolFlag{Name: "json", Usage: "print one JSON object a file"}
	trustedFlag = &cli.StringSliceFlag{Name: "trusted", Usage: "trust the certificates of `FILE` (PEM or DER) or directory; may be repeated"}
)

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check signed modules against trusted certificates",
		ArgsUsage: "<module>...",
		Description: "Exit code 0 when every module verifies, 1 when one is refused,\n" +
			"3 when none is refused but one could not be read.",
		Flags:  []cli.Flag{trustedFlag, jsonFlag},
		Action: p.verify,
	}
}

func (p *program) verify(c *cli.Context) error {
	ring, err := p.trustedRing(c)
	if err != nil {
		return err
	}
	return p.judge(c, func(path string, report *verdictReport) error {
		return verifyModule(path, ring, report)
	})
}

// judge has every operand judged and printed, whatever becomes of the others.
func (p *program) judge(c *cli.Context, one func(path string, report *verdictReport) error) error {
	if c.Args().Len() == 0 {
		return usagef("nothing to verify: want %s", c.Command.ArgsUsage)
	}
	exit := exitOK
	for _, path := range c.Args().Slice() {
		report := verdictReport{File: path}
		if err := one(path, &report); err != nil && !report.refuse(err) {
			p.fail(err)
			report.Error = message(err)
		}
		switch {
		case report.Error != "" && exit == exitOK:
			exit = exitUndecided
		case report.Error == "" && !report.Accepted:
			exit = exitFailure
		}
		if err := p.printReport(c, report); err != nil {
			return err
		}
	}
	if exit != exitOK {
		return exitError(exit)
	}
	return nil
}

func (p *program) printReport(c *cli.Context, report verdictReport) error {
	if c.Bool("json") {
		return p.writeJSON(report)
	}
	if report.Error != "" {
		return nil // standard error has it
	}
	return report.print(p)
}

func (p *program) trustedRing(c *cli.Context) (*keyring.Ring, error) {
	paths := c.StringSlice("trusted")
	if len(paths) == 0 {
		return nil, usagef("no --trusted certificate")
	}
	var ring keyring.Ring
	if err := ring.Load(paths...); err != nil {
		p.fail(err)
		return nil, exitError(exitUndecided)
	}
	return &ring, nil
}

func verifyModule(path string, ring *keyring.Ring, report *verdictReport) error {
	module, err := signfile.OpenModule(path)
	if err != nil {
		return err
	}
	defer module.Close()
	layout, err := module.Find()
	if err != nil {
		return err
	}
	message, err := readMessage(module, layout)
	if err != nil {
		return about(path, err)
	}
	signers, err := ring.Verify(message, keyring.Module, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(module, 0, layout.ContentSize))
		return about(path, err)
	})
	if err != nil {
		return err
	}
	report.accept(signers, layout.ContentSize)
	return nil
}

func (r *verdictReport) accept(signers []keyring.Signer, size int64) {
	r.Accepted, r.DataSize = true, size
	for _, s := range signers {
		r.Signers = append(r.Signers, reportVerified(s))
	}
}
