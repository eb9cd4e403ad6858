package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sign-file/test/testenv"
)

// TestDifferential runs random command lines through the real sign-file and through
// ours, each in a tree of its own, and compares all that can be seen afterwards. What
// differs has to be in the table of rules.
//
// The cases are the same in every run; CI takes others each time, by SIGN_FILE_SEED,
// which also repeats its run (-run 'TestDifferential/cases/17$' one case of it).
// SIGN_FILE_CASES is how many cases there are.
func TestDifferential(t *testing.T) {
	t.Parallel()
	judge, ours := testenv.SignFile(t), program(t)
	testenv.Tool(t, "openssl")
	seed := fromEnv(t, "SIGN_FILE_SEED", 1)
	cases := fromEnv(t, "SIGN_FILE_CASES", 400)
	t.Logf("SIGN_FILE_SEED=%d SIGN_FILE_CASES=%d", seed, cases)
	junk := plantJunk(t)
	tally := &tally{counts: map[string]int{}}

	t.Run("cases", func(t *testing.T) {
		for i := range cases {
			t.Run(strconv.FormatUint(i, 10), func(t *testing.T) {
				t.Parallel()
				s := newScenario(rand.New(rand.NewPCG(seed, i)))
				c := &comparison{T: t, scenario: s, dir: t.TempDir()}
				symlinkTo(t, junk, c.dir+"/junk")
				symlinkTo(t, absolute(t, "../testdata/keys"), c.dir+"/keys")
				c.real = c.run("real", judge)
				c.ours = c.run("ours", ours)
				c.checkOurs()
				c.checkDifferences(tally)
			})
		}
	})
	tally.report(t, cases)
}

func fromEnv(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	value, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// plantJunk makes the files that are neither key nor certificate.
func plantJunk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	plant(t, dir, []node{
		{path: "empty", mode: 0o644},
		{path: "one-byte", mode: 0o644, content: []byte("0")},
		{path: "text", mode: 0o644, content: []byte("nothing to see\n")},
		{path: "long-form", mode: 0o644, content: []byte("\x30\x82\x7f\xff\x02\x01\x00")},
	})
	return dir
}

// outcome is what one program has done.
type outcome struct {
	status         int
	stdout, stderr string
	before, after  tree
	root           string
	names          map[string]fs.FileInfo // what operands and their companions led to before
}

// comparison is one scenario, run twice.
type comparison struct {
	*testing.T
	*scenario
	dir        string
	real, ours outcome
}

// timeLimit is for a program that waits for ever; a run takes milliseconds.
const timeLimit = time.Minute

// run plants the tree and runs the program in it, as ../bin/sign-file: getopt's
// messages begin with argv[0].
func (c *comparison) run(side, program string) outcome {
	c.Helper()
	o := outcome{root: filepath.Join(c.dir, side, "tree")}
	mkdir(c.T, o.root)
	symlinkTo(c.T, program, filepath.Join(mkdir(c.T, filepath.Join(c.dir, side, "bin")), "sign-file"))
	plant(c.T, o.root, c.nodes)
	o.before, o.names = snapshot(c.T, o.root, withoutSignature), map[string]fs.FileInfo{}
	for _, name := range append([]string{c.module() + ".p7s", c.module() + ".~signed~"}, c.operands...) {
		if info, err := os.Stat(inTree(o.root, name)); err == nil {
			o.names[name] = info
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", slices.Concat([]string{"-c", `umask "$0" && exec ../bin/sign-file "$@"`, c.umask}, c.args)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.root, &stdout, &stderr
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, c.env...)
	stop := c.feedModule(o.root)
	err := cmd.Run()
	stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		c.Fatalf("%s: %v\n%s", side, errors.Join(err, ctx.Err()), c.shell())
	}
	o.status = cmd.ProcessState.ExitCode()
	o.stdout, o.stderr = stdout.String(), stderr.String()
	o.after = snapshot(c.T, o.root, withoutSignature)
	return o
}

// inTree is the way to a name for a process that works elsewhere.
func inTree(root, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return root + "/" + name
}

// feedModule writes to a module that is a FIFO, for as long as somebody reads.
func (c *comparison) feedModule(root string) (stop func()) {
	path := filepath.Join(root, c.module())
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			f.Write(c.feed) // fails when the reader goes, as it may
			f.Close()
		}
	}()
	return func() {
		// The program may never have opened it, or not have read it all: a reader
		// that comes and goes lets the writer in, and out again.
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			if f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
				f.Close()
			}
		}
	}
}

// difference is one thing that the two programs did differently.
type difference struct {
	what       string // status, stdout, stderr, or of a file: type, mode, link, inode, bytes
	path       string
	real, ours string
}

func (d difference) String() string {
	return fmt.Sprintf("%s %q: real %s, ours %s", d.what, d.path, d.real, d.ours)
}

// checkDifferences reports what no rule covers.
func (c *comparison) checkDifferences(tally *tally) {
	used := map[string]bool{}
	var failed []string
	for _, d := range c.differences() {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.covers(c, d) })
		if i < 0 {
			failed = append(failed, d.String())
			continue
		}
		used[rules[i].name] = true
	}
	tally.add(c, used)
	if len(failed) > 0 {
		c.Errorf("%s\n%s\nthe real one says: %s\nours says: %s\nbefore: %v", c.shell(), strings.Join(failed, "\n"),
			c.real.stderr, c.ours.stderr, c.ours.before)
	}
}

func (c *comparison) differences() []difference {
	var all []difference
	add := func(what, path, real, ours string) {
		if real != ours {
			all = append(all, difference{what, path, real, ours})
		}
	}
	add("status", "", strconv.Itoa(c.real.status), strconv.Itoa(c.ours.status))
	add("stdout", "", blankText(c.real.stdout), blankText(c.ours.stdout))
	add("stderr", "", c.real.stderr, c.ours.stderr)
	paths := maps.Clone(c.real.after)
	maps.Copy(paths, c.ours.after)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		r, o := c.real.after[path], c.ours.after[path]
		add("type", path, r.mode.Type().String()+there(r), o.mode.Type().String()+there(o))
		if r.mode == 0 || o.mode == 0 || r.mode.Type() != o.mode.Type() {
			continue
		}
		add("mode", path, r.mode.String(), o.mode.String())
		add("link", path, r.link, o.link)
		add("inode", path, r.inode, o.inode)
		add("bytes", path, r.contentString(), o.contentString())
	}
	return all
}

func blankText(out string) string {
	blank := withoutSignature([]byte(out))
	return fmt.Sprintf("%d bytes, %x", len(blank), sha256.Sum256(blank))
}

func (e entry) contentString() string { return fmt.Sprintf("%d bytes, %x", e.size, e.sum[:4]) }

func there(e entry) string {
	if e.mode == 0 {
		return " (missing)"
	}
	return ""
}

// checkOurs asks of our program, whatever the real one did, that a failure changes
// nothing and that a success changes its outputs alone and leaves good signatures.
func (c *comparison) checkOurs() {
	allowed := map[string]bool{}
	if c.ours.status == 0 {
		for _, output := range c.outputs() {
			allowed[c.resolve(output)] = true
		}
	}
	paths := maps.Clone(c.ours.before)
	maps.Copy(paths, c.ours.after)
	for path := range paths {
		// The first name of an inode is another when a link of it is replaced.
		before, after := c.ours.before[path], c.ours.after[path]
		before.inode, after.inode = "", ""
		if !allowed[path] && before != after {
			c.Errorf("%s\nours (exit %d) changed %s from %v to %v", c.shell(), c.ours.status, path, before, after)
		}
	}
	if c.ours.status == 0 {
		c.checkSignatures()
	}
}

// resolve is the file in our tree that an output's name has come to lead to.
func (c *comparison) resolve(name string) string {
	if name == c.module() {
		return filepath.Clean(name) // in place a link itself is replaced
	}
	end, err := filepath.EvalSymlinks(c.ours.root + "/" + name)
	if err != nil {
		return name
	}
	relative, err := filepath.Rel(c.ours.root, end)
	if err != nil {
		return end
	}
	return relative
}

// checkSignatures asks OpenSSL about what is not, byte for byte, the real one's.
func (c *comparison) checkSignatures() {
	for _, output := range c.outputs() {
		path := c.ours.root + "/" + output
		if info, err := os.Stat(path); strings.HasPrefix(output, "/") || err == nil && !info.Mode().IsRegular() {
			continue // a device or a FIFO: nothing to read again
		}
		got, err := os.ReadFile(path)
		if err != nil {
			c.Errorf("%s\nexit 0, and yet: %v", c.shell(), err)
			continue
		}
		judged, err := os.ReadFile(c.real.root + "/" + output)
		if err == nil && c.real.status == 0 && bytes.Equal(got, judged) {
			continue
		}
		c.checkSignature(output, got)
	}
}

func (c *comparison) checkSignature(output string, got []byte) {
	message := got
	if !c.detaches() && (output != c.module()+".p7s" || output == c.dest()) {
		module, inside, ok := cut(got)
		if !ok || !bytes.Equal(module, c.original()) {
			c.Errorf("%s\n%s is not the module with a signature", c.shell(), output)
			return
		}
		message = inside
	}
	if c.has("s") {
		if raw, err := os.ReadFile(c.ours.root + "/" + c.operand(0)); err != nil || !bytes.Equal(raw, message) {
			c.Errorf("%s\n%s does not hold the message", c.shell(), output)
		}
		return
	}
	if err := verifyMessage(c.T, message, c.original(), c.ours.root+"/"+c.cert(), c.hash()); err != nil {
		c.Errorf("%s\n%s: %v", c.shell(), output, err)
	}
}

// original is the module's content before the run.
func (c *comparison) original() []byte {
	for _, n := range c.nodes {
		if n.content != nil && (filepath.Clean(n.path) == filepath.Clean(c.module()) || n.path == "kept.ko") {
			return n.content
		}
	}
	return c.feed
}

// tally counts the cases of each rule.
type tally struct {
	sync.Mutex
	counts map[string]int
}

func (a *tally) add(c *comparison, used map[string]bool) {
	a.Lock()
	defer a.Unlock()
	a.counts[fmt.Sprintf("exit %d", c.ours.status)]++
	if len(used) == 0 {
		a.counts["no difference"]++
	}
	for name := range used {
		a.counts[name]++
	}
}

func (a *tally) report(t *testing.T, cases uint64) {
	t.Logf("%d cases", cases)
	for _, name := range append([]string{"exit 0", "exit 1", "exit 2", "no difference"}, ruleNames()...) {
		short, _, _ := strings.Cut(name, ":")
		t.Logf("%6d  %s", a.counts[short], name)
	}
}
