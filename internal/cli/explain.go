package cli

import (
	"cmp"
	"strings"

	"github.com/urfave/cli/v2"

	"sign-file/kernel"
)

func (p *program) explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say why a kernel rejects a module, by what it or modprobe said",
		ArgsUsage: "[<errno or message>...]",
		Description: "For instance: sign-file explain \"Key was rejected by service\", sign-file explain\n" +
			"EBADMSG, dmesg | tail -1 | xargs -d '\\n' sign-file explain. Without an operand all\n" +
			"causes are listed.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print one JSON object a cause"}},
		Action: p.explain,
	}
}

// maxSeen is more than a line of a log has, in bytes.
const maxSeen = 4096

// causeReport is what explain --json prints of one cause.
type causeReport struct {
	Cause  string   `json:"cause"`
	Errnos []string `json:"errnos"`
	Logs   []string `json:"logs"`
	Text   string   `json:"text"`
	Advice string   `json:"advice"`
}

func (p *program) explain(c *cli.Context) error {
	seen := strings.Join(c.Args().Slice(), " ")
	if len(seen) > maxSeen {
		return usagef("more than %d bytes: want one line", maxSeen)
	}
	causes := kernel.Causes()
	if seen != "" {
		causes = kernel.Explain(seen)
	}
	if len(causes) == 0 {
		p.say("%q is nothing that is known here (want an errno, the words that modprobe prints, or the line that dmesg shows; sign-file verify <module> judges the file itself)", seen)
		return exitError(exitFailure)
	}
	if seen != "" && len(causes) > 1 && !c.Bool("json") {
		p.say("%d causes; the kernel's log (dmesg | tail) or sign-file verify tells which", len(causes))
	}
	var errs []error
	for i, cause := range causes {
		if c.Bool("json") {
			errs = append(errs, p.writeJSON(reportCause(cause)))
			continue
		}
		if i > 0 {
			errs = append(errs, p.printf("\n"))
		}
		errs = append(errs, p.printCause(reportCause(cause)))
	}
	return cmp.Or(errs...)
}

func reportCause(c kernel.Cause) causeReport {
	r := causeReport{Cause: c.Name, Errnos: []string{}, Logs: append([]string{}, c.Logs...), Text: c.Text, Advice: c.Advice}
	for _, errno := range c.Errnos {
		r.Errnos = append(r.Errnos, kernel.ErrnoName(errno))
	}
	return r
}

func (p *program) printCause(r causeReport) error {
	errs := []error{p.printf("%s: %s\n", r.Cause, r.Text), p.printf("  errno  %s\n", strings.Join(r.Errnos, ", "))}
	for _, log := range r.Logs {
		errs = append(errs, p.printf("  log    %s\n", log))
	}
	return cmp.Or(append(errs, p.printf("  to do  %s\n", r.Advice))...)
}
