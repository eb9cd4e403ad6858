package cli

import (
	"bufio"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/bounded"
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
	Signature []byte `json:"signature"`
	Error     string `json:"error"`
}

func (l signedLine) name() string {
	if l.Bytes != nil {
		return string(l.Bytes)
	}
	return l.File
}

// maxLine bounds a line of --signatures, in bytes: a path, and ML-DSA-87 in base64.
const maxLine = 64 << 10

// signedLines reads --signatures. An error names the line.
func (p *program) signedLines(from string) ([]signedLine, error) {
	text, err := p.readAll(from, maxPathList)
	if err != nil {
		return nil, err
	}
	var lines []signedLine
	scanner := bufio.NewScanner(strings.NewReader(string(text)))
	scanner.Buffer(nil, maxLine)
	for n := 1; scanner.Scan(); n++ {
		if strings.TrimSpace(scanner.Text()) == "" {
			continue
		}
		var line signedLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, about(from, fmt.Errorf("line %d: %w", n, err))
		}
		if line.name() == "" {
			return nil, about(from, fmt.Errorf("line %d: no file", n))
		}
		lines = append(lines, line)
	}
	return lines, about(from, scanner.Err())
}

// attachTree attaches the signatures of many modules, each in the module that its line names.
func (p *program) attachTree(c *cli.Context) error {
	how, err := signOptions(c)
	if err != nil {
		return err
	}
	if c.String("cert") == "" {
		return usagef("no --cert")
	}
	lines, err := p.signedLines(c.String("signatures"))
	if err != nil {
		return err
	}
	public, err := p.publicKey(c)
	if err != nil {
		return err
	}
	run := attachRun{signRun: signRun{program: p, how: how, certificate: c.String("cert"), json: c.Bool("json"), quiet: c.Bool("quiet")}, public: public}
	run.take(lines, c.String("root"))
	modules, err := p.paths(c, c.Args().Slice())
	if err != nil {
		return err
	}
	if len(modules) == 0 {
		modules = run.order
	}
	run.leftOver = run.unused
	if err := run.signers(c); err != nil {
		return err
	}
	return run.signAll(c, modules, run.choose)
}

// attachRun is a signRun with signatures that were made elsewhere.
type attachRun struct {
	signRun
	public crypto.PublicKey
	lines  map[string]*signedLine
	order  []string // the paths of the lines
	seen   map[string]bool
	byHash map[string]*signfile.Signer
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
		if other := r.lines[path]; other != nil {
			other.Error = "has two lines"
			continue
		}
		if line.Error == "" && line.Signature == nil {
			line.Error = "its line has no signature"
		}
		r.lines[path] = line
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
		if err := r.value(values, line); err != nil {
			line.Error = err.Error()
		}
	}
	r.byHash = map[string]*signfile.Signer{}
	file := c.String("cert")
	cert, err := readCertificate(c.Context, r.askPIN(), file)
	if err != nil {
		return err
	}
	for hash, signatures := range values {
		r.warnOfHash(hash)
		if r.byHash[hash], err = newSigner(keys.PresignedSet(r.public, signatures), hash, file, cert, wantedMessage(c)); err != nil {
			return err
		}
	}
	return nil
}

// value puts a line's signature where its digest finds it.
func (r *attachRun) value(values map[string]map[string][]byte, line *signedLine) error {
	algorithm, err := digest.Lookup(line.Hash)
	if err != nil {
		return err
	}
	of, err := hex.DecodeString(line.Digest + line.Mu)
	if err != nil || len(of) == 0 || line.Digest != "" && line.Mu != "" {
		return errors.New("its line has neither a digest nor mu in hexadecimal")
	}
	missing, err := checkValue(r.public, line.Signature)
	if err != nil {
		return err
	}
	line.Hash = algorithm.Name()
	if values[line.Hash] == nil {
		values[line.Hash] = map[string][]byte{}
	}
	value := append(make([]byte, missing), line.Signature...)
	values[line.Hash][string(of)] = value
	values[line.Hash][string(algorithm.DigestInfo(of))] = value // for hashes that Go has no name for
	return nil
}

// choose finds the Signer of a module, or fails it.
func (r *attachRun) choose(item signfile.Item) *signfile.Signer {
	line := r.lines[item.Path]
	r.seen[item.Path] = true
	switch {
	case line == nil:
		r.report(signfile.Result{Item: item, Err: errors.New("no line has its signature")})
		return nil
	case line.Error != "":
		r.report(signfile.Result{Item: item, Err: errors.New(line.Error)})
		return nil
	}
	return r.byHash[line.Hash]
}

// unused fails the lines that no module was found for.
func (r *attachRun) unused() {
	for _, path := range r.order {
		if !r.seen[path] {
			r.report(signfile.Result{Item: signfile.Item{Path: path}, Err: errors.New("has a line, and is not among the modules")})
		}
	}
}

// attachMessages attaches finished messages, each beside its module or below --p7s-dir.
func (p *program) attachMessages(c *cli.Context) error {
	how, err := signOptions(c)
	if err != nil {
		return err
	}
	if c.String("cert") == "" {
		return usagef("no --cert")
	}
	modules, err := p.paths(c, c.Args().Slice())
	if err != nil {
		return err
	}
	file := c.String("cert")
	cert, err := readCertificate(c.Context, p.askPIN(), file)
	if err != nil {
		return err
	}
	public, err := cert.PublicKey()
	if err != nil {
		return about(keys.Name(file), err)
	}
	how.Message = func(item signfile.Item) ([]byte, error) {
		path := item.Path + ".p7s"
		if dir := c.String("p7s-dir"); dir != "" {
			path = paths.Join(dir, item.Relative()) + ".p7s"
		}
		return readMessageFile(path)
	}
	signer, err := signfile.NewSigner(signfile.Options{Key: keys.Presigned(public, nil), Certificate: cert})
	if err != nil {
		return about(keys.Name(file), err)
	}
	run := signRun{program: p, how: how, certificate: file, json: c.Bool("json"), quiet: c.Bool("quiet")}
	return run.signAll(c, modules, func(signfile.Item) *signfile.Signer { return signer })
}

// readMessageFile reads a message of a module. It is not waited for: a name in a tree may be
// anything.
func readMessageFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, about(path, errors.New("not a regular file"))
	}
	return bounded.ReadFile(path, cms.MaxSize+1)
}

// detachedMessage writes the message of one file alone, made of a signature value.
func (p *program) detachedMessage(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, mistake, err := p.presigned(c)
	if err != nil {
		return err
	}
	dest := args[0] + ".p7s"
	if len(args) == 2 {
		dest = args[1]
	}
	if err := notTheKey(dest, args[0], c.String("cert"), c.String("signature")); err != nil {
		return err
	}
	var message []byte
	sign := func(r io.Reader) ([]byte, error) {
		message, err = signer.Detach(c.Context, r)
		return nil, err
	}
	if _, err := p.readModule(c.Context, args[0], sign); err != nil {
		_, again := p.readModule(readOnly(c.Context), args[0], func(r io.Reader) ([]byte, error) { err = mistake(err, r); return nil, nil })
		return about(args[0], errors.Join(err, again))
	}
	return p.copyOut(dest, args[0], strings.NewReader(string(message)))
}
