package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"sign-file/internal/bounded"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/signfile"
)

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print one JSON object a file"} }

func trustedFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "trusted", Usage: "trust the certificates of `SOURCE`: a file (PEM, DER, PKCS#7 bundle,\n" +
		"vmlinux or vmlinuz), a directory of such files, or \"running\", this machine's keys;\nmay be repeated; default: running"}
}

// judgeFlags say whose verdict is asked for.
func judgeFlags() []cli.Flag {
	return []cli.Flag{
		trustedFlag(),
		&cli.StringFlag{Name: "blacklist", Usage: "refuse what `FILE` lists: tbs:<hash> and bin:<hash>, one a line"},
		&cli.StringFlag{Name: "kernel", Usage: "judge as kernel `RELEASE` does (" + strings.Join(kernel.Series(), ", ") + " and what comes after each); default: the running one"},
		&cli.StringFlag{Name: "config", Usage: "judge as the kernel that was built with configuration `FILE`, and not as Debian's"},
		&cli.BoolFlag{Name: "fips", Usage: "judge as a kernel with fips=1 does"},
		&cli.BoolFlag{Name: "no-autoload", Usage: "judge as a kernel that can't load its crypto modules, as in an initramfs"},
		jsonFlag(),
	}
}

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "say what the kernel would say to signed modules",
		ArgsUsage: "<path>...",
		Description: "A path is a module, or a directory that is searched for *.ko, *.ko.xz, *.ko.zst and\n" +
			"*.ko.gz. Exit code 0 when every module's signature verifies, 1 when one is refused,\n" +
			"3 when none is refused but one could not be decided on.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "usage", Value: "module", Usage: "the signature is for `WHAT`: " + strings.Join(kernel.Usages(), ", ")},
			&cli.StringFlag{Name: "signature", Usage: "judge the one file that is named with the bare PKCS#7 message in `FILE`, as sign-file -d writes it"},
			&cli.StringFlag{Name: "keyring", Usage: "verify with the kernel's `KEYRING` that a BPF program names: builtin, secondary or platform;\ndefault: secondary. Only for bpf"},
			&cli.BoolFlag{Name: "enforce", Usage: "say what init_module returns with module.sig_enforce=1"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: runtime.GOMAXPROCS(0), DefaultText: "one for each processor", Usage: "work on `N` modules at once"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing of what is accepted"},
		}, judgeFlags()...),
		Action: p.verify,
	}
}

func (p *program) verify(c *cli.Context) error {
	usage, err := kernel.ParseUsage(c.String("usage"))
	if err != nil {
		return usagef("--usage: %v", err)
	}
	if c.Int("jobs") < 1 {
		return usagef("--jobs %d: want at least 1", c.Int("jobs"))
	}
	only, err := bpfKeyring(c, usage)
	if err != nil {
		return err
	}
	judge, err := p.newJudge(c, usage, only)
	if err != nil {
		return err
	}
	switch {
	case usage != kernel.Module:
	case judge.Kernel().NoModules:
		p.warn("this kernel is built without CONFIG_MODULES: it loads no module")
	case judge.Kernel().Unchecked:
		p.warn("this kernel is built without CONFIG_MODULE_SIG: it looks at no module's signature")
	}
	run := p.newVerifyRun(c, usage == kernel.Module)
	if c.IsSet("signature") {
		return p.verifyDetached(c, run, judge)
	}
	tree := signfile.Tree{FollowLinks: true} // as depmod and so modprobe do
	defer tree.Close()
	if err := run.collect(&tree, c.Args().Slice()); err != nil {
		return err
	}
	return run.judge(c.Int("jobs"), func(item signfile.Item) (*kernel.Verdict, error) {
		return p.verifyModule(readOnly(c.Context), item, judge, usage)
	})
}

func (p *program) verifyModule(ctx context.Context, item signfile.Item, judge *kernel.Judge, usage kernel.Usage) (*kernel.Verdict, error) {
	module, err := p.openItem(ctx, item)
	if err != nil {
		return verifyPacked(item, judge, err)
	}
	defer module.Close()
	verdict, err := judgeModule(judge, module, usage)
	if err == nil && !verdict.Accepted {
		err = noModule(verdict, module)
	}
	return verdict, cmp.Or(err, module.Check())
}

// verifyPacked judges a compressed module that could not be opened, most often for being
// damaged, where the kernel gets it as it is. Otherwise there is no verdict.
func verifyPacked(item signfile.Item, judge *kernel.Judge, why error) (*kernel.Verdict, error) {
	var packed *signfile.PackedError
	if !errors.As(why, &packed) {
		return nil, why
	}
	file, err := bounded.Open(item.Path)
	if err != nil {
		return nil, why
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, why
	}
	verdict, err := judge.PackedModule(file, info.Size())
	if err != nil {
		return nil, why
	}
	return verdict, nil
}

// openItem opens a module to look at; "-" is standard input.
func (p *program) openItem(ctx context.Context, item signfile.Item) (*signfile.Module, error) {
	if item.Path != "-" {
		return item.Open(ctx)
	}
	in, err := p.input()
	if err != nil {
		return nil, about("standard input", err)
	}
	module, err := signfile.ReadModule(ctx, in)
	return module, about("standard input", err)
}

// noModule adds to the verdict on an unsigned file what it is, if it is no module at all.
func noModule(verdict *kernel.Verdict, module *signfile.Module) error {
	head := make([]byte, min(module.Size(), maxLook))
	if _, err := module.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	if isELF(head) {
		return nil
	}
	is := whatIs(head)
	switch unsigned := verdict.Errno == syscall.ENODATA || verdict.Errno == syscall.ENOEXEC; {
	case is.name == "" && unsigned && verdict.NoModule != nil:
		verdict.Advice = "name a module: a file *.ko, as the kernel's build makes it"
	case is.name == "" || !unsigned && is.name != aValue:
	case is.asModule != "":
		verdict.Advice = is.asModule
		fallthrough
	default:
		verdict.Reason += ": it is " + is.name
	}
	return nil
}

// verifyDetached judges the message of --signature with the file that it is about.
func (p *program) verifyDetached(c *cli.Context, run *verifyRun, judge *kernel.Judge) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	file := c.String("signature")
	message, err := p.readAll(file, maxLook)
	if err == nil {
		if is := whatIs(message); is.name != "" && is.name != aMessage {
			err = about(file, fmt.Errorf("no PKCS#7 message in DER, but %s", is.named()))
		}
	}
	if err != nil {
		p.fail(err)
		return exitError(exitUndecided)
	}
	run.items, run.message = []signfile.Item{{Path: args[0]}}, file
	return run.judge(1, func(item signfile.Item) (*kernel.Verdict, error) {
		module, err := p.openItem(readOnly(c.Context), item)
		if err != nil {
			return nil, err
		}
		defer module.Close()
		verdict, err := judge.Attached(module, module.Size(), message)
		if err == nil {
			err = module.Check()
		}
		return verdict, err
	})
}

// derSequence is the first byte of a PKCS#7 message.
const derSequence = 0x30

// judgeModule: who loads modules decompresses them first; all others read what is there.
func judgeModule(judge *kernel.Judge, module *signfile.Module, usage kernel.Usage) (*kernel.Verdict, error) {
	if !module.Compressed() {
		return judge.Module(module, module.Size())
	}
	file := module.File()
	if usage != kernel.Module {
		return judge.Module(file, file.Size())
	}
	return judge.CompressedModule(file, file.Size(), module, module.Size())
}

// bpfKeyring is what --keyring names: a BPF program chooses, and nobody else does.
func bpfKeyring(c *cli.Context, usage kernel.Usage) (kernel.Keyring, error) {
	name := c.String("keyring")
	if name != "" && usage != kernel.BPF {
		return "", usagef("--keyring %s: only --usage bpf chooses its keyring", name)
	}
	switch name {
	case "builtin", "0":
		return kernel.Builtin, nil
	case "", "secondary", "1":
		if usage == kernel.BPF {
			return kernel.Secondary, nil
		}
		return "", nil
	case "platform", "2":
		return kernel.Platform, nil
	}
	return "", usagef("--keyring %s: want builtin, secondary or platform", name)
}

// newJudge is the kernel that the flags describe.
func (p *program) newJudge(c *cli.Context, usage kernel.Usage, only kernel.Keyring) (*kernel.Judge, error) {
	if c.Args().Len() == 0 {
		return nil, usagef("nothing to verify: want %s", c.Command.ArgsUsage)
	}
	return p.judgeOf(c, usage, only)
}

// judgeOf is newJudge for a command that takes its input from flags too.
func (p *program) judgeOf(c *cli.Context, usage kernel.Usage, only kernel.Keyring) (*kernel.Judge, error) {
	rules, err := p.kernel(c)
	if err != nil {
		return nil, err
	}
	ring, err := p.trustedRing(c)
	if err != nil {
		return nil, err
	}
	if running := !c.IsSet("kernel") && !c.IsSet("config"); running && usage == kernel.MapValue && rules.Missing(usage) != nil {
		p.warn("of this machine: %s (the value is judged as by a kernel that is)", kernel.RefusalOf(rules.Missing(usage)).Reason)
		rules.Assume(usage)
	}
	judge := kernel.NewJudgeOf(rules, ring, usage, only)
	if c.String("blacklist") != "" && !rules.HasBlacklist() {
		p.warn("this kernel is built without CONFIG_SYSTEM_BLACKLIST_KEYRING: it refuses nothing of --blacklist")
	}
	if usage == kernel.IMA && c.IsSet("kernel") {
		p.warn("this is what a kernel %s with CONFIG_IMA_APPRAISE_MODSIG says; Debian builds none (--config tells of another)", rules.Name)
	}
	if c.Bool("fips") && !rules.HasFIPS() {
		p.warn("kernel %s is built without CONFIG_CRYPTO_FIPS: --fips changes nothing", rules.Name)
	}
	for _, list := range judge.Unread() {
		p.warn("this kernel refuses what %s lists, which is built into its image and not known here: what is on it is not refused (--trusted takes the image)", list)
	}
	for _, err := range judge.Unusable() {
		if kernel.RefusalOf(err) == nil {
			p.warn("whether kernel %s would take this certificate into a keyring is not decided: %v", rules.Name, err)
			continue
		}
		p.warn("kernel %s would not take this certificate into a keyring: %v", rules.Name, err)
	}
	return judge, nil
}

// namedKernel is the one of --kernel, nil where there is none.
func namedKernel(c *cli.Context) (*kernel.Kernel, error) {
	if !c.IsSet("kernel") {
		return nil, nil
	}
	release := c.String("kernel")
	if release == "" {
		return nil, usagef("--kernel is empty (a variable that is not set?)")
	}
	k, err := kernel.Of(release)
	if err != nil {
		return nil, usagef("--kernel: %v", err)
	}
	return k, nil
}

// kernel is the one whose rules are asked for.
func (p *program) kernel(c *cli.Context) (rules *kernel.Kernel, err error) {
	release, config, note := c.String("kernel"), c.String("config"), ""
	switch {
	case release != "" && config != "":
		return nil, usagef("--kernel and --config exclude each other")
	case c.IsSet("kernel"):
		if rules, err = namedKernel(c); err != nil {
			return nil, err
		}
		if series, ok := strings.CutPrefix(release, rules.Name); !ok || strings.IndexAny(series, "0123456789") == 0 {
			since := ""
			if rules.Name == kernel.Series()[0] {
				since = ", and what is known to have changed since then (hashes, curves, FIPS mode, revocations)"
			}
			note = fmt.Sprintf("kernel %s is judged by the rules of %s, the nearest before it that are known%s", release, rules.Name, since)
		}
	case config != "":
		if rules, err = kernel.OfConfig(config); err != nil {
			p.fail(err)
			return nil, exitError(exitUndecided)
		}
	default:
		if rules, note, err = kernel.Running(); err != nil {
			return nil, err
		}
	}
	if note != "" {
		p.say("%s", note)
	}
	rules.FIPS = rules.FIPS || c.Bool("fips")
	rules.NoAutoload = c.Bool("no-autoload")
	rules.Enforce = rules.Enforce || c.Bool("enforce")
	return rules, nil
}

func (p *program) trustedRing(c *cli.Context) (*kernel.Ring, error) {
	sources := c.StringSlice("trusted")
	if len(sources) == 0 {
		p.say("trusting this machine's keys (--trusted running); --trusted SOURCE names others")
		sources = []string{trust.Running}
	}
	for _, source := range sources {
		if err := wantFile("--trusted", source, "takes files and directories"); err != nil {
			return nil, err
		}
	}
	var ring kernel.Ring
	notes, err := trust.Load(&ring, sources...)
	if file := c.String("blacklist"); err == nil && file != "" {
		err = trust.LoadBlacklist(&ring, file)
	}
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = certificateAdvice(err, pathErr.Path)
		}
		p.fail(err)
		return nil, exitError(exitUndecided)
	}
	for _, note := range notes {
		p.warn("%s", note)
	}
	return &ring, nil
}

// verifyRun prints verdicts in the order of the paths, and counts them.
type verifyRun struct {
	*program
	json, quiet bool
	loads       bool   // whether loading a module is the question
	message     string // of --signature, to be attached; empty for none
	items       []signfile.Item
	exit        int
}

func (p *program) newVerifyRun(c *cli.Context, loads bool) *verifyRun {
	return &verifyRun{program: p, json: c.Bool("json"), quiet: c.Bool("quiet"), loads: loads}
}

// collect turns paths into modules. The error is one of printing.
func (r *verifyRun) collect(tree *signfile.Tree, paths []string) (err error) {
	undecided := func(path string, reason error) {
		if err == nil {
			err = r.undecided(path, reason)
		}
	}
	for _, path := range paths {
		if path == "-" {
			r.items = append(r.items, signfile.Item{Path: path})
			continue
		}
		found := false
		tree.Add(path, func(item signfile.Item, reason error) {
			found = true
			if reason != nil {
				undecided(item.Path, reason)
				return
			}
			r.items = append(r.items, item)
		})
		if !found {
			undecided(path, nothingFound(tree))
		}
	}
	return err
}

// inOrder does n pieces of work, several at once, and tells of each in its order.
func inOrder[T any](jobs, n int, work func(int) (T, error), tell func(int, T, error) error) error {
	type answer struct {
		value T
		err   error
	}
	answers := make([]chan answer, n)
	for i := range answers {
		answers[i] = make(chan answer, 1)
	}
	todo := make(chan int)
	for range min(jobs, n) {
		go func() {
			for i := range todo {
				value, err := work(i)
				answers[i] <- answer{value, err}
			}
		}()
	}
	go func() {
		defer close(todo)
		for i := range n {
			todo <- i
		}
	}()
	for i := range n {
		a := <-answers[i]
		if err := tell(i, a.value, a.err); err != nil {
			return err
		}
	}
	return nil
}

// judge has every path judged, several at once, whatever becomes of the others.
func (r *verifyRun) judge(jobs int, one func(signfile.Item) (*kernel.Verdict, error)) error {
	work := func(i int) (*kernel.Verdict, error) {
		return guarded(func() (*kernel.Verdict, error) { return one(r.items[i]) })
	}
	if err := inOrder(jobs, len(r.items), work, r.report); err != nil {
		return err
	}
	return r.result()
}

// result is the exit status of all that was told.
func (r *verifyRun) result() error {
	if r.exit != exitOK {
		return exitError(r.exit)
	}
	return nil
}

func (r *verifyRun) report(i int, verdict *kernel.Verdict, err error) error {
	path := r.items[i].Path
	if err != nil {
		return r.undecided(path, err)
	}
	report := reportVerdict(path, verdict, r.loads)
	report.Message = r.message
	return r.tell(path, &report, nil)
}

// tell prints what there is to say of a path, and counts it.
func (r *verifyRun) tell(path string, report *verdictReport, err error) error {
	if err != nil {
		return r.undecided(path, err)
	}
	if !report.Accepted {
		r.exit = exitFailure
	} else if r.quiet {
		return nil
	}
	if r.json {
		return r.writeJSON(report)
	}
	return report.print(r.program)
}

func (r *verifyRun) undecided(path string, err error) error {
	err = about(path, err)
	if leads, link := os.Readlink(path); link == nil && errors.Is(err, fs.ErrNotExist) {
		err = about(path, fmt.Errorf("a link to %s, which is not there", leads))
	}
	if r.exit == exitOK {
		r.exit = exitUndecided
	}
	r.fail(err)
	if r.json {
		return r.writeJSON(verdictReport{fileField: fileNamed(path), Error: errorText(err)})
	}
	return nil
}
