package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/mldsa"
	"github.com/urfave/cli/v2"

	"sign-file/digest"
	"sign-file/internal/compressed"
	"sign-file/internal/paths"
	"sign-file/keys"
	"sign-file/signfile"
)

// signedLine is a line of digest --format json that came back with a signature. Other
// fields are not looked at.
type signedLine struct {
	fileField
	Hash      string `json:"hash"`
	Digest    string `json:"digest"`
	Mu        string `json:"mu"`
	Signature string `json:"signature"`
	Error     string `json:"error"`

	value []byte // the Signature
}

func (l signedLine) name() string {
	if l.Bytes != nil {
		return string(l.Bytes)
	}
	return l.File
}

// signedLines reads --signatures. An error names the line.
func (p *program) signedLines(from string) (lines []signedLine, err error) {
	err = p.eachLine(from, '\n', nil, func(text []byte) error {
		if len(bytes.TrimSpace(text)) == 0 {
			return nil
		}
		line, err := readSignedLine(text)
		lines = append(lines, line)
		return err
	})
	return lines, err
}

func readSignedLine(text []byte) (line signedLine, err error) {
	if err := json.Unmarshal(text, &line); err != nil {
		return line, errors.New("not a line of digest --format json (want one object a line, in UTF-8: jq -c)")
	}
	if line.name() == "" {
		return line, errors.New("no file")
	}
	if line.Error != "" {
		return line, nil
	}
	line.value, err = base64.StdEncoding.DecodeString(line.Signature)
	switch {
	case line.Signature == "":
		line.Error = "its line has no signature"
	case err != nil:
		line.Error = "the signature in its line is no base64, or base64url (want base64 -w0)"
	}
	line.Signature = "" // two thirds of the memory
	return line, nil
}

// attachTree attaches the signatures of many modules, each in the module that its line names.
func (p *program) attachTree(c *cli.Context) error {
	how, err := signOptions(c)
	if err != nil {
		return err
	}
	run, modules, err := p.newAttachRun(c, how)
	if err != nil {
		return err
	}
	run.leftOver = run.unused
	return run.signAll(c, modules, run.choose)
}

// newAttachRun reads the lines and the certificate, and returns the paths of what the lines
// are for.
func (p *program) newAttachRun(c *cli.Context, how signfile.Many) (run *attachRun, from []string, err error) {
	if c.String("cert") == "" {
		return nil, nil, usagef("no --cert")
	}
	if hash := c.String("hash"); hash != "" {
		if _, err := digest.Lookup(hash); err != nil {
			return nil, nil, err
		}
	}
	lines, err := p.signedLines(c.String("signatures"))
	if err != nil {
		return nil, nil, err
	}
	other, err := p.otherSigner(c, c.String("cert"))
	if err != nil {
		return nil, nil, err
	}
	if from, err = p.paths(c, c.Args().Slice()); err != nil {
		return nil, nil, err
	}
	run = &attachRun{signRun: signRun{program: p, how: how, certificate: other.file, json: c.Bool("json"), quiet: c.Bool("quiet")}, other: other}
	// The signing side names the modules, and chooses among those here alone: its paths
	// are never opened.
	if len(from) == 0 && !c.IsSet("from") {
		if c.String("root") == "" {
			return nil, nil, usagef("no path: name the files or their folder, or with --root what the paths of the lines are below")
		}
		from, run.onlyListed = []string{c.String("root")}, true
	}
	run.take(lines, c.String("root"))
	run.mistake = func(result signfile.Result) string { return run.mistaken(readOnly(c.Context), result) }
	return run, from, run.signers(c)
}

// attachRun is a signRun with signatures that were made elsewhere.
type attachRun struct {
	signRun
	other      *otherSigner
	onlyListed bool                   // modules without a line are none of this run's
	lines      map[string]*signedLine // by their paths
	order      []string               // the paths of the lines
	seen       map[string]bool
	byHash     map[string]*signfile.Signer
	lineless   *signfile.Signer // signs nothing
}

// canonical is a path in the one form by which lines and modules find each other.
func canonical(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return filepath.Clean(path)
}

// take sorts the lines by the module that they name. What is wrong with one is the failure
// of that module.
func (r *attachRun) take(lines []signedLine, root string) {
	r.lines, r.seen = map[string]*signedLine{}, map[string]bool{}
	for i := range lines {
		line, path := &lines[i], lines[i].name()
		if root != "" {
			if slices.Contains(strings.Split(path, "/"), "..") {
				line.Error = "leads out of --root"
			}
			path = paths.Join(root, strings.TrimPrefix(path, "/"))
		}
		if other := r.lines[canonical(path)]; other != nil {
			other.Error = "has two lines"
			continue
		}
		r.lines[canonical(path)] = line
		r.order = append(r.order, path)
	}
}

// signers makes a Signer for each hash that the lines name.
func (r *attachRun) signers(c *cli.Context) error {
	values := map[string]map[string][]byte{}
	for _, line := range r.lines {
		if line.Error != "" {
			continue
		}
		if err := r.value(values, line, c.String("hash")); err != nil {
			line.Error = err.Error()
		}
	}
	r.byHash = map[string]*signfile.Signer{}
	file, cert, public := r.other.file, r.other.cert, r.other.public
	var err error
	r.lineless, err = signfile.NewSigner(signfile.Options{Key: lineless{public}, Certificate: cert})
	if err != nil {
		return about(keys.Name(file), err)
	}
	r.warnOfKey(r.lineless, file, cert)
	for hash, signatures := range values {
		r.warnOfHash(hash)
		if r.byHash[hash], err = newSigner(keys.PresignedSet(public, signatures), hash, file, cert, wantedMessage(c)); err != nil {
			return err
		}
	}
	return nil
}

// value puts a line's signature where its digest finds it.
func (r *attachRun) value(values map[string]map[string][]byte, line *signedLine, wanted string) error {
	algorithm, err := digest.Lookup(line.Hash)
	if err != nil {
		return err
	}
	if wanted != "" {
		if want, err := digest.Lookup(wanted); err != nil || want != algorithm {
			return fmt.Errorf("its line is of %s, and --hash wants %s", algorithm.Name(), wanted)
		}
	}
	_, isMLDSA := r.other.public.(*mldsa.PublicKey)
	of, err := hex.DecodeString(line.Digest + line.Mu)
	switch {
	case err != nil || len(of) == 0 || line.Digest != "" && line.Mu != "":
		return errors.New("its line has neither a digest nor mu in hexadecimal")
	case isMLDSA && line.Mu == "":
		return errors.New("its line has a digest, and an ML-DSA key signs mu (digest --cert gives it)")
	case !isMLDSA && line.Mu != "":
		return errors.New("its line has mu, which an ML-DSA key signs, and the certificate's is none")
	case line.Mu != "" && wanted == "":
		return errors.New("mu is the same for every hash, so its line proves none: --hash says which is meant")
	}
	missing, err := checkValue(r.other.public, line.value)
	if err != nil {
		return err
	}
	line.Hash = algorithm.Name()
	if values[line.Hash] == nil {
		values[line.Hash] = map[string][]byte{}
	}
	value := append(make([]byte, missing), line.value...)
	values[line.Hash][string(of)] = value
	values[line.Hash][string(algorithm.DigestInfo(of))] = value // for hashes that Go has no name for
	return nil
}

// lineOf finds the line of a path. That of x.ko is as good for x.ko.xz, since the digest is
// that of the content.
func (r *attachRun) lineOf(path string) *signedLine {
	for _, name := range compressed.Names(path) {
		if line := r.lines[canonical(name)]; line != nil {
			r.seen[canonical(name)] = true
			return line
		}
	}
	return nil
}

// choose finds the Signer of a module, or fails it.
func (r *attachRun) choose(item signfile.Item) *signfile.Signer {
	line := r.lineOf(item.Path)
	switch {
	case line == nil && r.onlyListed:
		return nil
	case line == nil && r.how.Existing == signfile.SkipSigned:
		return r.lineless
	case line == nil:
		r.report(signfile.Result{Item: item, Err: errNoLine})
		return nil
	case line.Error != "":
		r.report(signfile.Result{Item: item, Err: errors.New(line.Error)})
		return nil
	}
	return r.byHash[line.Hash]
}

var errNoLine = errors.New("no line has its signature")

// lineless is the key of modules that no line is for: those that are signed already are
// skipped before it is asked.
type lineless struct{ public crypto.PublicKey }

func (k lineless) Public() crypto.PublicKey { return k.public }

func (lineless) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errNoLine }

func (lineless) KnowsHashes() bool { return true }

// mistaken says what is wrong with a module's signature, as far as it tells; "" if nothing
// more can be said.
func (r *attachRun) mistaken(ctx context.Context, result signfile.Result) string {
	line := r.lineOf(result.Path)
	if line == nil || line.Mu != "" || r.byHash[line.Hash] == nil {
		return ""
	}
	module, err := result.Open(ctx)
	if err != nil {
		return ""
	}
	defer module.Close()
	limit, _, err := r.how.Covers(module)
	if err != nil {
		return ""
	}
	what, err := r.byHash[line.Hash].Mistake(line.value, io.NewSectionReader(module, 0, min(limit, module.Size())))
	if err != nil {
		return ""
	}
	return ": " + what
}

// unused fails the lines that no module was found for.
func (r *attachRun) unused() {
	matched := false
	for _, path := range r.order {
		switch {
		case r.seen[canonical(path)]:
			matched = true
		case !r.complained[canonical(path)]:
			why := "has a line, and is not among the files named"
			if line := r.lines[canonical(path)]; line != nil { // none where the folder that paths start from is gone
				why = cmp.Or(line.Error, why)
			}
			r.report(signfile.Result{Item: signfile.Item{Path: path}, Err: errors.New(why)})
		}
	}
	if !matched && len(r.order) > 0 {
		r.say("no line is for any of these files: --root says what folder the paths of the lines are below, and each file is named as digest was given it")
	}
}
