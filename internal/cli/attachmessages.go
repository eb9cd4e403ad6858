package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/atomicfile"
	"sign-file/internal/bounded"
	"sign-file/internal/compressed"
	"sign-file/internal/paths"
	"sign-file/keys"
	"sign-file/signfile"
)

// attachMessages attaches finished messages, each beside its module or below --p7s-dir.
func (p *program) attachMessages(c *cli.Context) error {
	how, err := signOptions(c)
	if err != nil {
		return err
	}
	if c.String("cert") == "" {
		return usagef("no --cert")
	}
	if err := fitsMessages(c); err != nil {
		return err
	}
	modules, err := p.paths(c, c.Args().Slice())
	if err != nil {
		return err
	}
	other, err := p.otherSigner(c, c.String("cert"))
	if err != nil {
		return err
	}
	messages := messages{program: p, dir: c.String("p7s-dir"), root: c.String("root"), of: map[string]string{}, used: map[string]bool{}, hashes: map[string]bool{}}
	how.Message = messages.read
	signer, err := signfile.NewSigner(signfile.Options{Key: keys.Presigned(other.public, nil), Certificate: other.cert})
	if err != nil {
		return about(keys.Name(other.file), err)
	}
	p.warnOfKey(signer, other.file, other.cert)
	run := signRun{program: p, how: how, certificate: other.file, json: c.Bool("json"), quiet: c.Bool("quiet")}
	run.leftOver = func() { run.failMessages(&messages, modules) }
	run.mistake = func(result signfile.Result) string { return " (" + messages.of[result.Path] + ")" }
	return run.signAll(c, modules, func(item signfile.Item) *signfile.Signer {
		messages.find(item)
		return signer
	})
}

// fitsMessages refuses flags that say what was decided when the messages were made.
func fitsMessages(c *cli.Context) error {
	for _, flag := range []string{"hash", "k", "include-cert", "signed-attributes"} {
		if c.IsSet(flag) {
			return usagef("--%s: the messages are made already", flag)
		}
	}
	if c.IsSet("root") && c.String("p7s-dir") == "" {
		return usagef("--root goes with --p7s-dir")
	}
	return nil
}

const messageSuffix = ".p7s"

// messages finds the message of each module.
type messages struct {
	*program
	dir, root string            // --p7s-dir and --root
	of        map[string]string // the path of each module's message, by the module's
	used      map[string]bool   // those that there are
	mutex     sync.Mutex
	hashes    map[string]bool // that were warned of
}

// find notes where a module's message is. One that was made before the module was compressed,
// or after it was decompressed, is as good: a signature is about the content.
func (m *messages) find(item signfile.Item) {
	path := item.Path
	if m.dir != "" {
		path = paths.Join(m.dir, m.relative(item))
	}
	m.of[item.Path] = path + messageSuffix
	for _, name := range compressed.Names(path) {
		if _, err := os.Lstat(name + messageSuffix); err == nil {
			m.of[item.Path] = name + messageSuffix
			m.used[canonical(name+messageSuffix)] = true
			return
		}
	}
}

// relative is the path of a module's message below --p7s-dir, without its suffix.
func (m *messages) relative(item signfile.Item) string {
	if m.root == "" {
		return item.Relative()
	}
	if below, err := filepath.Rel(canonical(m.root), canonical(item.Path)); err == nil && filepath.IsLocal(below) {
		return below
	}
	return item.Relative()
}

// read reads the message of a module, and warns once of each hash that kernels refuse.
func (m *messages) read(item signfile.Item) ([]byte, error) {
	message, err := m.readFile(m.of[item.Path])
	if err != nil {
		return nil, err
	}
	parsed, err := cms.Parse(message)
	if err != nil || len(parsed.Signers) != 1 {
		return message, nil // whoever attaches it tells
	}
	if algorithm := digest.ByOID(parsed.Signers[0].Digest.OID); algorithm != nil {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		if !m.hashes[algorithm.Name()] {
			m.hashes[algorithm.Name()] = true
			m.warnOfHash(algorithm.Name())
		}
	}
	return message, nil
}

// readFile reads a message. Below --p7s-dir no link is followed.
func (m *messages) readFile(path string) ([]byte, error) {
	if m.dir == "" {
		return readMessageFile(path)
	}
	dir, err := atomicfile.OpenFolder(m.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	place, err := dir.Below(strings.TrimPrefix(path, paths.Join(m.dir, "")), false)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	file, err := place.Open(false)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return bounded.FromFile(file.File(), cms.MaxSize+1)
}

// failMessages fails the messages of modules, below --p7s-dir or the folders that were
// named, that no module was found for.
func (r *signRun) failMessages(messages *messages, folders []string) {
	if messages.dir != "" {
		folders = []string{messages.dir}
	}
	if len(messages.used) == 0 && len(messages.of) > 0 {
		r.say("no message is for any of these modules: --p7s-dir and --root say what folders messages and modules are below")
	}
	for _, folder := range folders {
		if messages.dir == "" && !isDir(folder) {
			continue
		}
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			module, isMessage := strings.CutSuffix(path, messageSuffix)
			if err == nil && !entry.IsDir() && isMessage && !messages.used[canonical(path)] && (messages.dir != "" || signfile.IsModule(module)) {
				r.report(signfile.Result{Item: signfile.Item{Path: path}, Err: errors.New("a message, and its module is not among those named")})
			}
			return err
		})
		if err != nil {
			r.report(signfile.Result{Item: signfile.Item{Path: folder}, Err: err})
		}
	}
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
