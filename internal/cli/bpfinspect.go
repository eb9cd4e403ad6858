package cli

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"

	"github.com/urfave/cli/v2"

	"sign-file/bpf"
)

// loaderReport is what bpf inspect says.
type loaderReport struct {
	fileField
	Instructions int    `json:"instructions"` // 8 bytes each
	DataSize     int    `json:"data_size"`
	Scheme       string `json:"scheme"`       // 6.18 or 7.3: what the loader was made for
	PayloadSize  int    `json:"payload_size"` // what a signature of that scheme covers
	Hash         string `json:"instructions_hash"`
	ExclProgHash string `json:"excl_prog_hash,omitempty"`
	HashMatches  bool   `json:"excl_prog_hash_matches"`
	DataMatches  bool   `json:"data_matches"`
	// TakesFromHost: what runs the loader may change sizes of maps and values of variables.
	TakesFromHost bool `json:"takes_from_host"`
	// Problem is why no signature would help.
	Problem   string        `json:"problem,omitempty"`
	Signature messageReport `json:"signature"`
}

func (p *program) bpfInspect(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	l, err := p.readSkeleton(args[0])
	if err != nil {
		return err
	}
	r := reportLoader(l)
	if c.Bool("json") {
		return p.writeJSON(r)
	}
	return r.print(p)
}

func reportLoader(l *loaderFile) loaderReport {
	scheme, hash := l.Scheme(), l.Hash()
	r := loaderReport{
		fileField: fileNamed(l.name), Instructions: len(l.Instructions) / bpf.InstructionSize, DataSize: len(l.Data),
		Scheme: scheme.String(), PayloadSize: len(l.Payload(scheme)), Hash: hex.EncodeToString(hash[:]),
		ExclProgHash: hex.EncodeToString(l.ExclusiveHash), HashMatches: bytes.Equal(hash[:], l.ExclusiveHash), DataMatches: l.DataMatches(), TakesFromHost: l.TakesFromHost(),
		Signature: reportMessage(l.Signature, int64(len(l.Signature)), 0),
	}
	if err := l.CheckScheme(scheme); err != nil {
		r.Problem = err.Error()
	}
	return r
}

func (r loaderReport) print(p *program) error {
	is := "for Linux 7.3 and later: instructions and map are signed"
	if r.Scheme == bpf.Instructions.String() {
		is = "for Linux 6.18 to 7.2: the instructions are signed, and compare the map's digest"
	}
	line := func(name, format string, args ...any) error {
		return p.printf("  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	errs := []error{
		p.printf("%s: signed loader %s\n", r.File, is),
		line("instructions", "%d, %s", r.Instructions, r.Hash),
		line("data", "%d bytes", r.DataSize),
		line("payload", "%d bytes", r.PayloadSize),
		r.Signature.print(p, "  "),
	}
	if r.TakesFromHost {
		errs = append(errs, line("host", "may change sizes of maps and values of global variables, signed or not"))
	}
	if r.Problem != "" {
		errs = append(errs, line("problem", "%s", r.Problem))
	}
	return cmp.Or(errs...)
}

func (p *program) bpfExtract(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	if err := atMostOne(c, "payload", "signature", "insns", "data"); err != nil {
		return err
	}
	l, err := p.readSkeleton(args[0])
	if err != nil {
		return err
	}
	if err := notTheKey(output(args, 1), args[0]); err != nil {
		return err
	}
	if c.IsSet("kernel") {
		if err := p.checkLoader(c, l); err != nil {
			return err
		}
	}
	part := l.Payload(l.Scheme())
	switch {
	case c.Bool("signature"):
		part = l.Signature
	case c.Bool("insns"):
		part = l.Instructions
	case c.Bool("data"):
		part = l.Data
	}
	return p.copyOut(output(args, 1), bytes.NewReader(part))
}
