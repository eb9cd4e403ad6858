package cli

import (
	"errors"
	"fmt"

	"sign-file/certificate"
	"sign-file/keys"
	modsig "sign-file/module_signature"
	"sign-file/signfile"
)

// signReport is what sign --json prints of one module.
type signReport struct {
	fileField
	Dest      string `json:"dest,omitempty"` // the file written, where that is another
	DestBytes []byte `json:"dest_bytes,omitempty"`
	Result    string `json:"result"` // signed, skipped, link or failed
	// Container says why a kernel that decompresses by itself does not read a module that
	// was skipped.
	Container string `json:"container_problem,omitempty"`
	// NoModule says why what was signed is no module all the same.
	NoModule string `json:"no_module,omitempty"`
	// Lost is what the new file could not be given of the old one's owner and attributes.
	Lost  []string `json:"lost,omitempty"`
	Error string   `json:"error,omitempty"`
}

func (r *signRun) report(result signfile.Result) {
	report := signReport{fileField: fileNamed(result.Path), Result: "signed"}
	switch {
	case result.Err != nil:
		r.failed++
		report.Result, report.Error = "failed", errorText(about(result.Path, result.Err))
		if errors.Is(result.Err, signfile.ErrSigned) {
			report.Error += " (--replace signs it anew, --unsigned-only skips it)"
		}
		if errors.Is(result.Err, keys.ErrNotPresigned) {
			report.Error += " (it was changed since its digest was taken, or the signature is of another one, or of mu with another certificate)"
		}
		if keys.KindOf(r.key) == keys.Command && errors.Is(result.Err, certificate.ErrSignature) {
			report.Error += " (the command has to answer with the bare signature value of the digest that it is given; exec-lines: in base64, and in the order of the lines)"
		}
		if r.mistake != nil && errors.Is(result.Err, certificate.ErrSignature) {
			report.Error += r.mistake(result)
		}
		if errors.As(result.Err, new(*modsig.DamagedError)) {
			report.Error += " (get the file anew; sign-file verify tells how to mend it)"
		}
		r.progress.clear()
		r.say("%s", report.Error)
	case result.Skipped:
		r.skipped++
		report.Result, report.Container = "skipped", result.Note
		if result.Note != "" {
			r.progress.clear()
			r.warn("%s: kernels that decompress modules by themselves do not read it: %s (sign --replace mends it)", result.Path, result.Note)
		}
	default:
		r.signed++
		if result.Note != "" {
			r.progress.clear()
			r.warn("%s: was signed, and is no module: %s", result.Path, result.Note)
			report.NoModule = result.Note
		}
		r.warnOfLost(result.Path, result.Lost)
		report.Lost = result.Lost
		report.Dest = r.how.Dest(result.Item)
		report.DestBytes = lossless(report.Dest)
	}
	if r.json && r.printed == nil {
		r.printed = r.writeJSON(report)
	}
	r.progress.step(result.Path)
}

// end prints the summary and gives the exit code.
func (r *signRun) end(interrupted bool) error {
	r.progress.clear()
	if !r.quiet {
		left := ""
		if r.left > 0 {
			left = fmt.Sprintf(", %d left as they were", r.left)
		}
		if r.left > 0 && r.how.OutputDir == "" && !r.how.Detach && r.how.Existing != signfile.ReplaceSigned {
			left += " (--unsigned-only signs them)"
		}
		if len(r.links) > 0 {
			left += fmt.Sprintf(", %d not followed, being links", len(r.links))
		}
		if r.skipped > 0 && r.how.OutputDir != "" {
			left += fmt.Sprintf(" (what was skipped is not in %s)", r.how.OutputDir)
		}
		r.say("%d signed, %d skipped, %d failed%s", r.signed, r.skipped, r.failed, left)
	}
	if r.printed == nil && (r.failed > 0 || interrupted) {
		return exitError(exitFailure)
	}
	return r.printed
}
