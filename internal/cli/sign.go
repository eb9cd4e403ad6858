package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/urfave/cli/v2"

	"sign-file/internal/atomicfile"
	"sign-file/internal/compressed"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
)

func (p *program) signCommand() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign many modules, compressed ones too, with one key",
		ArgsUsage: "<hash algo> <key> <x509> <path>...",
		Description: "A path is a module, or a directory that is searched for *.ko, *.ko.xz, *.ko.zst and\n" +
			"*.ko.gz. One bad module does not stop the others; the exit code is 1 then.",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "d", Usage: "write only <module>.p7s"},
			jsonFlag(),
		}, manyFlags(), writeFlags(), messageFlags()),
		UseShortOptionHandling: true, // -dk, as in the classic face
		Action:                 p.sign,
	}
}

// manyFlags say which modules are worked on.
func manyFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: runtime.GOMAXPROCS(0), DefaultText: "one for each processor", Usage: "work on `N` modules at once"},
		&cli.BoolFlag{Name: "unsigned-only", Usage: "skip modules that are signed already"},
		&cli.BoolFlag{Name: "replace", Usage: "drop the signatures that modules have"},
	}, listFlags()...)
}

// listFlags say where more paths are listed.
func listFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "from", Usage: "take more paths from `FILE` (- is standard input), one a line; may be repeated"},
		&cli.BoolFlag{Name: "0", Usage: "paths of --from end with a NUL byte"},
		&cli.BoolFlag{Name: "allow-empty", Usage: "a directory without modules, or an empty --from, is no failure"},
	}
}

// writeFlags say how modules are written.
func writeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output-dir", Usage: "write the signed modules below `DIR`, and leave the others"},
		&cli.BoolFlag{Name: "fail-fast", Usage: "start no more files after the first failure"},
		&cli.BoolFlag{Name: "sync", Usage: "make the new modules durable before they replace the old ones"},
		quietFlag(),
	}
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only errors"}
}

// paths are the operands, and what --from adds to them.
func (p *program) paths(c *cli.Context, operands []string) ([]string, error) {
	for _, from := range c.StringSlice("from") {
		more, err := p.pathList(from, c.Bool("0"))
		if err != nil {
			return nil, err
		}
		operands = append(operands, more...)
	}
	return operands, nil
}

func (p *program) sign(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) < 3 || len(args) == 3 && !c.IsSet("from") {
		return usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	how, err := signOptions(c)
	if err != nil {
		return err
	}
	modules, err := p.paths(c, args[3:])
	if err != nil {
		return err
	}
	signer, closeKey, err := p.openSignerBy(c.Context, keys.OpenChecked, p.askPIN(), args[0], args[1], args[2], wantedMessage(c))
	if err != nil {
		return err
	}
	defer closeKey()
	run := signRun{program: p, how: how, key: args[1], certificate: args[2], json: c.Bool("json"), quiet: c.Bool("quiet")}
	return run.signAll(c, modules, func(signfile.Item) *signfile.Signer { return signer })
}

// signAll signs what the paths lead to, each module with the Signer that is chosen for it;
// one that gets none is left alone, or has failed already.
func (r *signRun) signAll(c *cli.Context, modules []string, choose func(signfile.Item) *signfile.Signer) error {
	var tree signfile.Tree
	defer tree.Close()
	items := r.withoutAliases(r.collect(&tree, modules))
	nothing := len(items) == 0 && r.failed == 0
	if (r.empty || nothing) && !c.Bool("allow-empty") {
		return errEmpty
	}
	if r.how.OutputDir != "" {
		_, missing := os.Lstat(r.how.OutputDir)
		output, err := r.makeOutput(items)
		if err != nil {
			return err
		}
		defer output.Close()
		if missing != nil {
			defer os.Remove(r.how.OutputDir) // if nothing came of it
		}
	}
	var signers []*signfile.Signer
	chosen := map[*signfile.Signer][]signfile.Item{}
	for _, item := range items {
		signer := choose(item)
		if signer != nil && chosen[signer] == nil {
			signers = append(signers, signer)
		}
		chosen[signer] = append(chosen[signer], item)
	}
	if r.leftOver != nil {
		r.leftOver()
	}
	r.left = len(items) - len(chosen[nil])
	r.progress = r.newProgress(r.left, r.quiet || r.json)
	for _, signer := range signers {
		if r.how.FailFast && r.failed > 0 || c.Context.Err() != nil {
			break
		}
		signer.SignMany(c.Context, chosen[signer], r.how, func(result signfile.Result) {
			r.left--
			r.report(result)
		})
	}
	return r.end(c.Context.Err() != nil)
}

func signOptions(c *cli.Context) (signfile.Many, error) {
	how, err := manyOptions(c)
	how.Detach, how.OutputDir, how.FailFast, how.Sync = c.Bool("d"), c.String("output-dir"), c.Bool("fail-fast"), c.Bool("sync")
	if err == nil && c.IsSet("output-dir") && how.OutputDir == "" {
		err = usagef("--output-dir is empty") // which does not mean in place
	}
	how.Examine = func(m *signfile.Module, skipped bool) (string, error) { return examine(m, skipped, how) }
	return how, err
}

// manyOptions are those of manyFlags.
func manyOptions(c *cli.Context) (signfile.Many, error) {
	how := signfile.Many{Jobs: c.Int("jobs")}
	switch {
	case c.Bool("0") && !c.IsSet("from"):
		return how, usagef("-0 says how the paths of --from end, and there is none")
	case c.Bool("unsigned-only") && c.Bool("replace"):
		return how, usagef("--unsigned-only and --replace exclude each other")
	case c.Bool("unsigned-only"):
		how.Existing = signfile.SkipSigned
	case c.Bool("replace"):
		how.Existing = signfile.ReplaceSigned
	}
	if how.Jobs < 1 {
		return how, usagef("--jobs %d: want at least 1", how.Jobs)
	}
	return how, nil
}

// examine says of a compressed module that is left as it is why a kernel that decompresses
// by itself would not read it, and of what is signed that it is no module.
func examine(m *signfile.Module, skipped bool, how signfile.Many) (note string, err error) {
	if skipped && m.Compressed() {
		file := m.File()
		return kernel.ContainerOf(file, file.Size(), m.Size()).Problem, nil
	}
	size, _, err := how.Covers(m)
	if err != nil {
		return "", err
	}
	if !skipped && min(size, m.Size()) == 0 {
		return "", errEmptyModule
	}
	head := make([]byte, min(m.Size(), 16)) // no more of each of thousands of modules
	if _, err := m.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", err
	}
	if skipped {
		return "", nil
	}
	if isELF(head) {
		if no := kernel.CheckELF(m, min(size, m.Size())); no != nil {
			note = no.Error()
		}
		return note, nil
	}
	if suffix := compressed.Suffix(head); suffix != "" {
		return "", fmt.Errorf("is compressed, and its name does not end with %s (a signature goes inside)", suffix)
	}
	head = make([]byte, min(m.Size(), maxLook))
	if _, err := m.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", err
	}
	if is := whatIs(head); is.name != "" {
		return "it is " + is.name, nil
	}
	return "it is no ELF file", nil
}

// errEmptyModule: a signature with nothing before it is none to the kernel, and nothing takes
// it off again.
var errEmptyModule = errors.New("is empty")

// pathList reads paths, one a line or NUL-terminated.
func (p *program) pathList(from string, nul bool) (paths []string, err error) {
	end := byte('\n')
	if nul {
		end = 0
	}
	noKey := func(head []byte) error {
		is := whatIs(head)
		if is.asKey == "" && is.asCertificate != swapPlaces+"<key>" {
			return nil
		}
		clear(head)
		return fmt.Errorf("not a list of paths: it is %s", is.name)
	}
	err = p.eachLine(from, end, noKey, func(line []byte) error {
		line = bytes.TrimSuffix(line, []byte{end})
		if !nul {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if len(line) > 0 {
			paths = append(paths, string(line))
		}
		return nil
	})
	return paths, err
}

// signRun counts and prints what becomes of the modules.
type signRun struct {
	*program
	key, certificate        string // no module, and nothing to write to
	how                     signfile.Many
	json, quiet             bool
	signed, skipped, failed int
	left                    int             // modules not reported: begun or not, they are as they were
	links                   map[string]bool // modules that are links, and are left alone
	empty                   bool
	leftOver                func()                              // tells of what no module was chosen for
	complained              map[string]bool                     // the modules that failed before, for leftOver
	mistake                 func(result signfile.Result) string // what is wrong with a signature that was made elsewhere
	progress                *progress
	sources                 map[place]origin // what each file is written from
	found                   map[place]bool   // the modules themselves, where others are written
	printed                 error            // the first failure to print
}

// errEmpty: a wrong path must not end in a package of unsigned modules.
var errEmpty = errors.New("a directory without modules, or no path at all: nothing was signed (with --allow-empty this is no failure)")

// nothingFound is what there is to say of a directory that a tree found nothing in.
func nothingFound(tree *signfile.Tree) error {
	if tree.AnyFile {
		return errors.New("no file in this directory")
	}
	return errors.New("no module in this directory")
}

// collect turns paths into modules. What can't be read is a failure of its own.
func (r *signRun) collect(tree *signfile.Tree, from []string) []signfile.Item {
	r.sources, r.found, r.complained, r.links = map[place]origin{}, map[place]bool{}, map[string]bool{}, map[string]bool{}
	tree.Except, _ = os.Stat(r.how.OutputDir) // of an earlier run, perhaps below one of the paths
	var items []signfile.Item
	for _, path := range from {
		found := false
		tree.Add(path, func(item signfile.Item, err error) {
			found = true
			if err == nil {
				if file, err := fileAt(item.Path); err == nil && r.how.OutputDir != "" {
					r.found[file] = true
				}
				var again bool
				if again, err = r.named(item); again {
					return
				}
				if err == nil {
					err = notTheKey(cmp.Or(r.how.Dest(item), item.Path), r.key, r.certificate)
				}
			}
			switch {
			case err == nil:
				items = append(items, item)
			case errors.Is(err, signfile.ErrLink):
				r.link(item, "is not followed (sign what it leads to; sign-file verify tells whether all there is signed)")
			default:
				r.complained[canonical(item.Path)] = true
				r.report(signfile.Result{Item: item, Err: err})
			}
		})
		if !found {
			r.empty = true
			r.say("%s: %v", path, nothingFound(tree))
		}
	}
	return items
}

// withoutAliases leaves out links that were named where the module that they lead to is
// another of the items. A link that is signed becomes a file of its own, made of what it
// leads to: that may be the signed module by then, or not yet.
func (r *signRun) withoutAliases(items []signfile.Item) []signfile.Item {
	links := map[place]bool{}
	isLink := func(item signfile.Item) bool { return item.Named() && isLink(item.Path) }
	for _, item := range items {
		if isLink(item) {
			if file, err := fileAt(item.Path); err == nil {
				links[file] = true
			}
		}
	}
	if len(links) == 0 || r.how.OutputDir != "" || r.how.Detach {
		return items
	}
	own := map[place]string{}
	for _, item := range items {
		if file, err := fileAt(item.Path); err == nil && links[file] && !isLink(item) {
			own[file] = item.Path
		}
	}
	return slices.DeleteFunc(items, func(item signfile.Item) bool {
		if !isLink(item) {
			return false
		}
		file, err := fileAt(item.Path)
		if err != nil || own[file] == "" {
			return false
		}
		r.complained[canonical(item.Path)] = true
		r.link(item, fmt.Sprintf("leads to %s, which is signed under that name", own[file]))
		return true
	})
}

// makeOutput makes --output-dir before anything is signed.
func (r *signRun) makeOutput(items []signfile.Item) (*atomicfile.Folder, error) {
	if err := r.keepsSources(items); err != nil {
		return nil, err
	}
	output, err := atomicfile.MakeFolder(r.how.OutputDir)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return nil, fmt.Errorf("--output-dir %s: %w", r.how.OutputDir, err)
	}
	return output, nil
}

// keepsSources refuses an --output-dir where what is written would replace what it is made
// of: that stays as it is.
func (r *signRun) keepsSources(items []signfile.Item) error {
	for _, item := range items {
		dest := r.how.Dest(item)
		if file, err := fileAt(dest); err == nil && r.found[file] && !isLink(dest) { // a link would be replaced, and not followed
			return about(dest, errors.New("is one of the files named, which --output-dir leaves as they are, and would be replaced (name another)"))
		}
	}
	return nil
}

// link tells of a module that is a link, and is left as it is: what it leads to is signed
// under its own name, or not at all.
func (r *signRun) link(item signfile.Item, why string) {
	if r.links[canonical(item.Path)] {
		return // named, and found in a directory
	}
	r.links[canonical(item.Path)] = true
	if !r.quiet {
		r.warn("%s: is a link, and %s", item.Path, why)
	}
	if r.json && r.printed == nil {
		r.printed = r.writeJSON(signReport{fileField: fileNamed(item.Path), Result: "link"})
	}
}

// origin is a module and the path that it was named by.
type origin struct {
	place
	path string
}

// named reports whether the item was named before. Two modules must not become
// one file: the second would replace the first.
func (r *signRun) named(item signfile.Item) (again bool, err error) {
	source, err := placeOf(item.Path)
	if err != nil {
		return false, err
	}
	dest := source
	if written := r.how.Dest(item); written != "" {
		dest = place{name: written}
	}
	other, taken := r.sources[dest]
	if taken && other.place != source {
		return false, fmt.Errorf("%s is written from %s already (sign them into different directories)", dest.name, other.path)
	}
	r.sources[dest] = origin{source, item.Path}
	return taken, nil
}
