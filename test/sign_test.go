package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	modsig "sign-file/module_signature"
	"sign-file/test/corpus"
	"sign-file/test/testenv"
)

// treeSize is how many real modules the tests of trees take: SIGN_FILE_TREE is a number, or "all".
func treeSize() int {
	value := os.Getenv("SIGN_FILE_TREE")
	if value == "all" {
		return math.MaxInt32
	}
	if n, err := strconv.Atoi(value); err == nil {
		return n
	}
	return 200
}

// moduleTree is a folder of real modules, unsigned.
type moduleTree struct {
	dir     string
	modules []string // relative paths
}

func newTree(t *testing.T, n int) moduleTree {
	t.Helper()
	modules, err := corpus.Find()
	if err != nil {
		testenv.Missing(t, "a tree of Debian's kernel modules (test/modules.sh fetches it)")
	}
	dir := t.TempDir()
	names, err := modules.Copy(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	return moduleTree{dir, names}
}

func (r moduleTree) path(module string) string { return filepath.Join(r.dir, module) }

// paths are those of all modules.
func (r moduleTree) paths() []string {
	var paths []string
	for _, module := range r.modules {
		paths = append(paths, r.path(module))
	}
	return paths
}

// content reads every file of the tree, hidden ones too.
func (r moduleTree) content(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[strings.TrimPrefix(path, r.dir+"/")] = readFile(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// judged is the tree signed by the real sign-file.
func (r moduleTree) judged(t *testing.T, hash string, pair keyPair, flags ...string) moduleTree {
	t.Helper()
	signed := moduleTree{t.TempDir(), r.modules}
	for _, module := range r.modules {
		mkdir(t, filepath.Dir(signed.path(module)))
	}
	// xargs appends module and dest.
	cmd := exec.Command("xargs", append([]string{"-0", "-n2", "-P2", testenv.SignFile(t)}, append(flags, hash, pair.key, pair.cert)...)...)
	var names strings.Builder
	for _, module := range r.modules {
		names.WriteString(r.path(module) + "\x00" + signed.path(module) + "\x00")
	}
	cmd.Stdin = strings.NewReader(names.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the real sign-file: %v\n%s", err, out)
	}
	return signed
}

// checkSameTree reports every file in which two trees differ.
func checkSameTree(t *testing.T, got, want moduleTree) {
	t.Helper()
	ours, theirs := got.content(t), want.content(t)
	for name, content := range theirs {
		if !bytes.Equal(ours[name], content) {
			t.Errorf("%s: not the bytes of %s", got.path(name), want.path(name))
		}
		delete(ours, name)
	}
	for name := range ours {
		t.Errorf("%s: nothing has this name in %s", got.path(name), want.dir)
	}
}

// TestSignTree holds a tree of real modules against what the real sign-file makes of
// each: in place and beside it, with any number of jobs.
func TestSignTree(t *testing.T) {
	unsigned, pair := newTree(t, treeSize()), newKeyPair(t, t.TempDir(), "-nodes")
	want := unsigned.judged(t, "sha256", pair)
	for _, jobs := range []string{"-j1", "--jobs=16"} {
		beside := moduleTree{filepath.Join(t.TempDir(), "new"), nil}
		mustRun(t, nil, program(t), "sign", jobs, "--output-dir", beside.dir, "sha256", pair.key, pair.cert, unsigned.dir)
		checkSameTree(t, beside, want)
	}
	log := mustRun(t, nil, program(t), "sign", "--sync", "sha256", pair.key, pair.cert, unsigned.dir)
	checkSameTree(t, unsigned, want)
	checkLog(t, log, fmt.Sprintf("%d signed, 0 skipped, 0 failed", len(unsigned.modules)))
	mustRun(t, nil, program(t), append([]string{"verify", "--trusted", pair.cert}, unsigned.paths()...)...)
}

// TestSignFlags: what the classic face's flags do to one module, sign's do to many.
func TestSignFlags(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	t.Run("-k names the signer as sign-file -k does", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		want := r.judged(t, "sha512", pair, "-k")
		mustRun(t, nil, program(t), "sign", "-k", "sha512", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, want)
	})
	t.Run("-d writes what sign-file -d does", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		other := newTree(t, 5)
		for _, path := range other.paths() {
			mustRun(t, nil, testenv.SignFile(t), "-d", "sha512", pair.key, pair.cert, path)
		}
		mustRun(t, nil, program(t), "sign", "-d", "sha512", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, other)
	})
	t.Run("--replace signs the content anew", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		want := r.judged(t, "sha512", pair)
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
		mustRun(t, nil, program(t), "sign", "--replace", "sha512", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, want)
	})
	t.Run("--unsigned-only signs the rest", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		want := r.judged(t, "sha256", pair)
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, r.path(r.modules[2]))
		log := mustRun(t, nil, program(t), "sign", "--unsigned-only", "sha256", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, want)
		checkLog(t, log, "4 signed, 1 skipped, 0 failed")
	})
	t.Run("a signed module is an error that names the way out", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		want := r.judged(t, "sha256", pair)
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, r.path(r.modules[2]))
		log := mustFail(t, 1, program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
		checkMessage(t, log, r.path(r.modules[2]))
		checkLog(t, log, "--replace")
		checkLog(t, log, "--unsigned-only")
		checkSameTree(t, r, want)
	})
	t.Run("--fail-fast begins nothing new", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 50)
		writeFile(t, r.path("a.ko.gz"), "no gzip", 0o644)
		log := mustFail(t, 1, program(t), "sign", "--jobs", "1", "--fail-fast", "sha256", pair.key, pair.cert,
			r.path("a.ko.gz"), r.dir)
		checkMessage(t, log, r.path("a.ko.gz"))
		checkLog(t, log, "0 signed, 0 skipped, 1 failed, 50 left as they were (--unsigned-only signs them)")
		checkLog(t, mustFail(t, 1, program(t), "sign", "--fail-fast", "sha256", pair.key, pair.cert,
			r.paths()[0], r.path("missing.ko")), "0 signed, 0 skipped, 1 failed, 1 left")
	})
	t.Run("a link to a directory is followed if it is named", func(t *testing.T) {
		t.Parallel()
		r, link := newTree(t, 3), filepath.Join(t.TempDir(), "link")
		if err := errors.Join(os.Symlink(r.dir, link), os.Symlink(t.TempDir(), r.path("inside"))); err != nil {
			t.Fatal(err)
		}
		want := r.judged(t, "sha256", pair)
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, link)
		os.Remove(r.path("inside"))
		checkSameTree(t, r, want)
		mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", pair.cert, link)
	})
	t.Run("the output directory is not searched", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 3)
		want := r.judged(t, "sha256", pair)
		for range 2 {
			log := mustRun(t, nil, program(t), "sign", "--output-dir", r.path("out"), "sha256", pair.key, pair.cert, r.dir)
			checkLog(t, log, "3 signed, 0 skipped, 0 failed")
		}
		checkSameTree(t, moduleTree{r.path("out"), r.modules}, want)
	})
	t.Run("--from may be repeated, and more jobs than modules are no work", func(t *testing.T) {
		t.Parallel()
		r, lists := newTree(t, 4), t.TempDir()
		want := r.judged(t, "sha256", pair)
		one, two := filepath.Join(lists, "a,b"), filepath.Join(lists, "two")
		writeFile(t, one, strings.Join(r.paths()[:2], "\n"), 0o644)
		writeFile(t, two, strings.Join(r.paths()[2:], "\n"), 0o644)
		mustRun(t, nil, program(t), "sign", "--jobs", "999999999", "--from", one, "--from", two, "sha256", pair.key, pair.cert)
		checkSameTree(t, r, want)
		checkLog(t, mustFail(t, 2, program(t), "sign", "-0", "sha256", pair.key, pair.cert, r.dir), "--from")
	})
	t.Run("a name with control characters stays on its line", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "a\n\x1b[2J\xff.ko"), "a module", 0o644)
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, dir)
		checkLog(t, mustFail(t, 1, program(t), "sign", "sha256", pair.key, pair.cert, dir), dir+`/a\n\x1b[2J`+"\xff.ko: is signed already")
		log := mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", pair.cert, dir)
		checkLog(t, log, dir+`/a\n\x1b[2J`+"\xff.ko: verified")
	})
	t.Run("a module is named where there is no room to decompress it, or none to compress it", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			testenv.Missing(t, "root, who may mount")
		}
		random := make([]byte, 64<<10)
		rand.NewChaCha8([32]byte{}).Read(random)
		r := moduleTree{t.TempDir(), []string{"m.ko"}}
		writeFile(t, r.path("m.ko"), string(random), 0o644)
		r = compressTree(t, r, "xz --check=crc32", ".xz")
		small, module := mount(t, "tmpfs", "size=8k,mode=777"), r.paths()[0]
		out, err := run(t, []string{"TMPDIR=" + small}, program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
		if err == nil {
			t.Error("there was room")
		}
		checkMessage(t, out, module)
		checkLog(t, out, "no space left on device")
		out, _ = run(t, []string{"TMPDIR=" + r.path("missing")}, program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
		checkMessage(t, out, module)
		log := mustFail(t, 1, program(t), "sign", "--output-dir", small, "sha256", pair.key, pair.cert, r.dir)
		checkLog(t, log, filepath.Join(small, r.modules[0])+": no space left on device")
		log = mustFail(t, 1, program(t), "sign", "--output-dir", pair.cert, "sha256", pair.key, pair.cert, r.dir)
		checkMessage(t, log, pair.cert)
	})
	t.Run("a directory without modules is an error, unless it may be empty", func(t *testing.T) {
		t.Parallel()
		dir, other := t.TempDir(), newTree(t, 1)
		before := other.content(t)
		log := mustFail(t, 1, program(t), "sign", "sha256", pair.key, pair.cert, other.dir, dir)
		checkLog(t, log, dir+": no module in this directory")
		if !maps.EqualFunc(before, other.content(t), bytes.Equal) {
			t.Error("the other directory is signed")
		}
		log = mustRun(t, nil, program(t), "sign", "--allow-empty", "sha256", pair.key, pair.cert, other.dir, dir)
		checkLog(t, log, dir+": no module in this directory")
		checkLog(t, log, "1 signed")
	})
	t.Run("--from takes names with newlines if they end with NUL", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 5)
		odd := "odd\n name.ko"
		if err := os.Rename(r.path(r.modules[0]), r.path(odd)); err != nil {
			t.Fatal(err)
		}
		r.modules[0] = odd
		want := r.judged(t, "sha256", pair)
		list := filepath.Join(t.TempDir(), "list")
		writeFile(t, list, strings.Join(r.paths(), "\x00")+"\x00", 0o644)
		mustRun(t, nil, program(t), "sign", "-0", "--from", list, "sha256", pair.key, pair.cert)
		checkSameTree(t, r, want)
	})
	t.Run("--sync syncs the tree once before the first module is replaced, and once after the last", func(t *testing.T) {
		t.Parallel()
		r, trace := newTree(t, 20), filepath.Join(t.TempDir(), "trace")
		mustRun(t, nil, "strace", "-f", "-qq", "-o", trace, "-e", "trace=syncfs,renameat", program(t),
			"sign", "--sync", "sha256", pair.key, pair.cert, r.dir)
		var calls []string
		for _, call := range regexp.MustCompile(`\b(syncfs|renameat)\(`).FindAllStringSubmatch(string(readFile(t, trace)), -1) {
			calls = append(calls, call[1])
		}
		want := append(append([]string{"syncfs"}, slices.Repeat([]string{"renameat"}, len(r.modules))...), "syncfs")
		if !slices.Equal(calls, want) {
			t.Errorf("the calls are %v", calls)
		}
	})
	t.Run("--sync is content with few file descriptors", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 60)
		want := r.judged(t, "sha256", pair)
		mustRun(t, nil, "prlimit", "--nofile=40", program(t), "sign", "--sync", "--jobs", "64", "sha256", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, want)
	})
	t.Run("link/.. is the parent of what the link leads to", func(t *testing.T) {
		t.Parallel()
		r, here := newTree(t, 3), t.TempDir()
		want := r.judged(t, "sha256", pair)
		writeFile(t, filepath.Join(here, "m.ko"), "not named", 0o644)
		inside, link := mkdir(t, r.path("inside")), filepath.Join(here, "link")
		if err := os.Symlink(inside, link); err != nil {
			t.Fatal(err)
		}
		mustRun(t, nil, program(t), "sign", "--output-dir", link+"/../out", "sha256", pair.key, pair.cert, link+"/..")
		checkSameTree(t, moduleTree{r.path("out"), nil}, want)
		os.RemoveAll(r.path("out"))
		mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, link+"/..")
		mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", pair.cert, link+"/..")
		checkSameTree(t, r, want)
		checkNames(t, here, "link", "m.ko")
		if string(readFile(t, filepath.Join(here, "m.ko"))) != "not named" {
			t.Error("a module that was not named has changed")
		}
		writeFile(t, filepath.Join(inside, "cert"), string(readFile(t, pair.cert)), 0o644)
		mustRun(t, nil, program(t), "verify", "--kernel", "6.12", "--trusted", link+"/../inside", r.dir)
	})
	t.Run("one module of two names is signed once, and one of two hard links twice", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 2)
		link := filepath.Join(t.TempDir(), "link")
		if err := errors.Join(os.Symlink(r.dir, link), os.Link(r.paths()[0], r.path("hard.ko"))); err != nil {
			t.Fatal(err)
		}
		r.modules = append(r.modules, "hard.ko")
		want := r.judged(t, "sha256", pair)
		log := mustRun(t, nil, program(t), "sign", "--jobs", "4", "sha256", pair.key, pair.cert, r.dir, link, r.dir+"/./"+r.modules[1])
		checkLog(t, log, "3 signed, 0 skipped, 0 failed")
		checkSameTree(t, r, want)
	})
	t.Run("an empty --output-dir is not in place", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 1)
		old := r.content(t)
		checkLog(t, mustFail(t, 2, program(t), "sign", "--output-dir", "", "sha256", pair.key, pair.cert, r.dir), "--output-dir is empty")
		checkOldOrNew(t, r, old, nil, false)
	})
	t.Run("a broken trailer is neither signed nor unsigned", func(t *testing.T) {
		t.Parallel()
		broken := filepath.Join(t.TempDir(), "broken.ko")
		writeFile(t, broken, "a module"+strings.Repeat("\xff", 12)+"~Module signature appended~\n", 0o644)
		for _, flag := range []string{"--unsigned-only", "--replace", "--json"} {
			checkMessage(t, mustFail(t, 1, program(t), "sign", flag, "sha256", pair.key, pair.cert, broken), broken)
		}
	})
	t.Run("two modules never become one file", func(t *testing.T) {
		t.Parallel()
		r, out := newTree(t, 2), t.TempDir()
		one, two := filepath.Join(r.dir, "one/m.ko"), filepath.Join(r.dir, "two/m.ko")
		mkdir(t, filepath.Dir(one))
		mkdir(t, filepath.Dir(two))
		os.Rename(r.path(r.modules[0]), one)
		os.Rename(r.path(r.modules[1]), two)
		log := mustFail(t, 1, program(t), "sign", "--output-dir", out, "sha256", pair.key, pair.cert, one, two)
		checkMessage(t, log, two)
		checkSigned(t, filepath.Join(out, "m.ko"), one, "sha256", pair)
	})
	t.Run("--json says what became of each", func(t *testing.T) {
		t.Parallel()
		r := newTree(t, 3)
		missing := r.path("missing.ko")
		out, err := exec.Command(program(t), append([]string{"sign", "--json", "--quiet", "sha256", pair.key, pair.cert, missing}, r.paths()...)...).Output()
		if exit := new(exec.ExitError); err == nil || !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("sign: %v, not exit code 1", err)
		}
		got := map[string]string{}
		for line := range strings.Lines(string(out)) {
			var report struct{ File, Result, Error string }
			if err := json.Unmarshal([]byte(line), &report); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got[report.File] = report.Result
			if report.File == missing && !strings.Contains(report.Error, "no such file") {
				t.Errorf("the error of %s is %q", missing, report.Error)
			}
		}
		for _, path := range r.paths() {
			if got[path] != "signed" {
				t.Errorf("%s is %q", path, got[path])
			}
		}
		if len(got) != 4 || got[missing] != "failed" {
			t.Errorf("the answers are %v", got)
		}
	})
	t.Run("--json names what was written", func(t *testing.T) {
		t.Parallel()
		r, out := newTree(t, 1), filepath.Join(t.TempDir(), "out")
		dest := func(args ...string) string {
			args = append(append([]string{"sign", "--json", "--quiet"}, args...), "sha256", pair.key, pair.cert, r.dir)
			var report struct{ Dest string }
			if err := json.Unmarshal([]byte(mustRun(t, nil, program(t), args...)), &report); err != nil {
				t.Fatal(err)
			}
			return report.Dest
		}
		copied := filepath.Join(out, r.modules[0])
		for _, c := range []struct {
			flags []string
			want  string
		}{
			{[]string{"-dk"}, r.paths()[0] + ".p7s"},
			{[]string{"-d", "--output-dir", out}, copied + ".p7s"},
			{[]string{"--output-dir", out}, copied},
			{nil, ""},
			{[]string{"--unsigned-only", "--output-dir", out + "2"}, ""},
		} {
			if got := dest(c.flags...); got != c.want {
				t.Errorf("%v: the file written is %q, want %q", c.flags, got, c.want)
			}
		}
		checkNames(t, filepath.Dir(out), "out") // what is skipped needs no directory
	})
}

// TestSignTreeKilled ends the program at random moments. Every module must be the old
// one or the new one, and a second run finishes the rest. Only a program that was not
// asked may leave a file behind: one with a hidden name.
func TestSignTreeKilled(t *testing.T) {
	t.Parallel()
	r, pair := newTree(t, 50), newKeyPair(t, t.TempDir(), "-nodes")
	old, want := r.content(t), r.judged(t, "sha256", pair)
	signed := want.content(t)
	start := time.Now()
	mustRun(t, nil, program(t), "sign", "--output-dir", t.TempDir(), "sha256", pair.key, pair.cert, r.dir)
	whole := time.Since(start)

	interrupted := 0
	for round := range 50 {
		for name, content := range old {
			writeFile(t, r.path(name), string(content), 0o644)
		}
		end := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2]
		args := []string{program(t), "sign", "--quiet", "sha256", pair.key, pair.cert, r.dir}
		if round%4 >= 2 {
			args = append(args, "--sync")
		}
		if round%8 >= 4 && os.Geteuid() == 0 {
			args = append(withoutProc, args...)
		}
		killAfter(t, rand.N(whole), end, args[0], args[1:]...)
		if left := checkOldOrNew(t, r, old, signed, end == syscall.SIGKILL); left > 0 && left < len(old) {
			interrupted++
		}
		mustRun(t, nil, program(t), "sign", "--unsigned-only", "--quiet", "sha256", pair.key, pair.cert, r.dir)
		checkSameTree(t, r, want)
		if t.Failed() {
			t.Fatalf("in round %d, %v after %s", round, end, args)
		}
	}
	if interrupted == 0 {
		t.Error("the program never was in the middle of its work when it was ended: this proves nothing")
	}
}

// withoutProc is the beginning of a command line. A program that has no /proc can give
// no name to a file without one, so its new files have hidden names all the time, as on
// filesystems without O_TMPFILE.
var withoutProc = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs tmpfs /proc && exec "$@"`, "sh"}

// checkOldOrNew reports what in the tree is neither a module as it was nor a signed one,
// and returns how many are as they were. It removes hidden files if they may be there.
func checkOldOrNew(t *testing.T, r moduleTree, old, signed map[string][]byte, mayHide bool) (left int) {
	t.Helper()
	for name, content := range r.content(t) {
		switch {
		case mayHide && strings.HasPrefix(filepath.Base(name), ".sign-file-"):
			os.Remove(r.path(name))
		case old[name] == nil:
			t.Errorf("%s stayed behind", name)
		case bytes.Equal(content, old[name]):
			left++
		case !bytes.Equal(content, signed[name]):
			t.Errorf("%s is neither the old module nor the new one", name)
		}
	}
	return left
}

// killAfter runs a program and ends it with a signal after a while.
func killAfter(t *testing.T, after time.Duration, with syscall.Signal, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	cmd.Process.Signal(with)
	err := cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && status.Signal() != with { // the shell must see what it died of
		t.Errorf("%v after %v: %v", with, after, err)
	}
}

// TestSignTreeWithOddFiles: what can't be signed is named with its reason, and stops
// nothing else.
func TestSignTreeWithOddFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root, who may mount and become nobody")
	}
	r, pair := newTree(t, 20), newKeyPair(t, t.TempDir(), "-nodes")
	want := r.judged(t, "sha256", pair)

	writeFile(t, r.path("empty.ko"), "", 0o644)     // signed, it could neither be loaded nor stripped
	full := mount(t, "tmpfs", "size=300k,mode=777") // a module fits in once, but not twice
	large, content := filepath.Join(full, "large.ko"), strings.Repeat("a module\n", 25000)
	writeFile(t, large, content, 0o644)
	writeFile(t, r.path("unreadable.ko"), "secret", 0)
	writeFile(t, r.path("vanishes.ko"), "a module", 0o644)
	mkdir(t, r.path("closed"))
	if err := syscall.Mkfifo(r.path("fifo.ko"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := []string{"empty.ko", "unreadable.ko", "closed", "fifo.ko", "vanishes.ko", "missing.ko"}

	// The key's command takes the module away once the folders have been read.
	key := commandKey(t, r.path("key"), "rm -f "+r.path("vanishes.ko"), pair)
	args := asNobody(t, r.dir, pair, program(t))
	if err := os.Chmod(r.path("closed"), 0); err != nil {
		t.Fatal(err)
	}
	args = append(args, "sign", "--jobs", "2", "sha256", key, pair.cert, r.dir, full, r.path("missing.ko"))
	log := mustFail(t, 1, args[0], args[1:]...)

	checkMessage(t, log, large)
	for _, name := range bad {
		checkMessage(t, log, r.path(name))
		os.RemoveAll(r.path(name))
	}
	if count := summary(t, log); count != [3]int{len(r.modules), 0, len(bad) + 1} {
		t.Errorf("signed, skipped and failed are %v:\n%s", count, log)
	}
	if string(readFile(t, large)) != content {
		t.Errorf("the module on the full filesystem has changed")
	}
	checkNames(t, full, "large.ko")
	os.Remove(r.path("key"))
	checkSameTree(t, r, want)
}

// commandKey writes a command that signs as docs/remote-signing.md says, after it has
// done something else, and returns it as an operand.
func commandKey(t *testing.T, path, first string, pair keyPair) string {
	t.Helper()
	testenv.Tool(t, "openssl")
	writeFile(t, path, fmt.Sprintf(`#!/bin/sh
%s
perl -ne 'print pack "H*", (split)[1]' | exec openssl pkeyutl -sign -inkey %s -pkeyopt digest:sha256
`, first, pair.key), 0o755)
	return "exec:" + path
}

// asNobody returns the beginning of a command line that runs a copy of the program as
// a user who may read and write the tree, but not all that is in it.
func asNobody(t *testing.T, dir string, pair keyPair, program string) []string {
	t.Helper()
	reachable := mkdir(t, filepath.Join(t.TempDir(), "bin"))
	copied := filepath.Join(reachable, "sign-file")
	writeFile(t, copied, string(readFile(t, program)), 0o755)
	for _, path := range []string{dir, reachable, filepath.Dir(pair.key)} {
		// t.TempDir's parent is closed to others.
		for ; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	const nobody = 65534
	if err := os.Chmod(pair.key, 0o644); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chown(path, nobody, nobody)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copied}
}

// TestSignTreeMemory: what the program holds in memory does not grow with the tree.
func TestSignTreeMemory(t *testing.T) {
	t.Parallel()
	r, pair := newTree(t, 400), newKeyPair(t, t.TempDir(), "-nodes")
	few := peakMemory(t, program(t), append([]string{"sign", "--output-dir", t.TempDir(), "sha256", pair.key, pair.cert}, r.paths()[:40]...)...)
	all := peakMemory(t, program(t), "sign", "--output-dir", t.TempDir(), "sha256", pair.key, pair.cert, r.dir)
	if all > few*3/2 {
		t.Errorf("%d KB for 400 modules, %d KB for 40", all, few)
	}
}

// peakMemory is a program's largest resident set, in kilobytes.
func peakMemory(t *testing.T, name string, args ...string) int {
	t.Helper()
	out := mustRun(t, nil, "time", append([]string{"-f", "%M kilobytes", name}, args...)...)
	found := regexp.MustCompile(`(\d+) kilobytes`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("time printed:\n%s", out)
	}
	kilobytes, _ := strconv.Atoi(found[1])
	return kilobytes
}

// compressors are the commands of scripts/Makefile.modinst, which replace a module by
// a compressed one, and what opens it again.
var compressors = []struct{ suffix, compress, open string }{
	{".xz", "xz --check=crc32 --lzma2=dict=1MiB -f", "xz -dc"},
	{".gz", "gzip -n -f", "gzip -dc"},
	{".zst", "zstd -T0 --rm -f -q", "zstd -dcq"},
}

// compressTree compresses the modules where they are.
func compressTree(t *testing.T, r moduleTree, command, suffix string) moduleTree {
	t.Helper()
	words := strings.Fields(command)
	mustRun(t, nil, words[0], append(words[1:], r.paths()...)...)
	compressed := moduleTree{dir: r.dir}
	for _, module := range r.modules {
		compressed.modules = append(compressed.modules, module+suffix)
	}
	return compressed
}

// TestSignCompressed: a compressed module is signed inside, and compressed again as
// the kernel's build does it.
func TestSignCompressed(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	for _, c := range compressors {
		t.Run(c.suffix, func(t *testing.T) {
			t.Parallel()
			testenv.Tool(t, strings.Fields(c.compress)[0])
			plain := newTree(t, 12)
			judged := plain.judged(t, "sha256", pair)
			r := compressTree(t, plain, c.compress, c.suffix)
			bare := filepath.Join(t.TempDir(), "in-go")
			// Where the tools are missing.
			cmd := exec.Command(program(t), "sign", "--output-dir", bare, "sha256", pair.key, pair.cert, r.dir)
			cmd.Env = []string{"PATH=/nonexistent"}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sign without %s: %v\n%s", c.compress, err, out)
			}
			mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
			for _, signed := range []moduleTree{r, {bare, r.modules}} {
				mustRun(t, nil, program(t), append([]string{"verify", "--trusted", pair.cert}, signed.paths()...)...)
				for _, module := range judged.modules {
					open := strings.Fields(c.open)
					got := mustRun(t, nil, open[0], append(open[1:], signed.path(module)+c.suffix)...)
					if got != string(readFile(t, judged.path(module))) {
						t.Errorf("%s: %s does not open it to what the real sign-file writes", signed.path(module)+c.suffix, c.open)
					}
				}
			}
			checkSameTree(t, r, compressTree(t, judged, c.compress, c.suffix))
		})
	}
}

// zstd must read the module, and not whatever bears the name /dev/stdin.
func TestSignCompressedWithOddDev(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root, who may mount")
	}
	testenv.Tool(t, "zstd")
	plain, pair := newTree(t, 2), newKeyPair(t, t.TempDir(), "-nodes")
	zst := compressors[2]
	want := plain.judged(t, "sha256", pair)
	r := compressTree(t, plain, zst.compress, zst.suffix)
	mustRun(t, nil, "unshare", "--mount", "sh", "-c", `mount -t tmpfs tmpfs /dev && echo other >/dev/stdin && exec "$@"`, "sh",
		program(t), "sign", "sha256", pair.key, pair.cert, r.dir)
	checkSameTree(t, r, compressTree(t, want, zst.compress, zst.suffix))
}

// TestSignCompressedInterrupted: Ctrl-C on a terminal goes to the compressor too, and
// that is no failure of the module's. What is compressed in Go, and has a name
// meanwhile since there is no /proc, goes when the program does.
func TestSignCompressedInterrupted(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "xz")
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	for _, inGo := range []bool{false, true} {
		t.Run(fmt.Sprintf("in Go: %t", inGo), func(t *testing.T) {
			t.Parallel()
			r := moduleTree{t.TempDir(), []string{"large.ko"}}
			writeFile(t, r.path("large.ko"), strings.Repeat(string(readFile(t, program(t))), 3), 0o644)
			r = compressTree(t, r, compressors[0].compress, compressors[0].suffix)
			old := r.content(t)
			tools := t.TempDir()
			begun, command := "", []string{program(t), "sign", "sha256", pair.key, pair.cert, r.dir}
			if inGo {
				if os.Geteuid() != 0 {
					testenv.Missing(t, "root, who may mount")
				}
				begun = r.path(".sign-file-*")
				command = slices.Concat(withoutProc, []string{"env", "PATH=" + tools}, command)
			} else {
				begun = writeSleeper(t, filepath.Join(tools, "xz"))
				command = append([]string{"env", "PATH=" + tools + ":" + os.Getenv("PATH")}, command...)
			}
			log := interruptGroup(t, begun, command)
			checkOldOrNew(t, r, old, nil, false)
			checkLog(t, log, "0 signed, 0 skipped, 0 failed, 1 left as they were")
		})
	}
}

// interruptGroup runs a program in a process group of its own, and interrupts all of
// that when there is a file of the given pattern.
func interruptGroup(t *testing.T, begun string, command []string) (log string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, begun)
	syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
		t.Errorf("%s: %v, not ended by SIGINT", command, cmd.ProcessState)
	}
	return out.String()
}

// TestSignProgress looks at a terminal while slow signatures are made.
func TestSignProgress(t *testing.T) {
	t.Parallel()
	r, pair := newTree(t, 6), newKeyPair(t, t.TempDir(), "-nodes")
	key := commandKey(t, filepath.Join(t.TempDir(), "slow"), "sleep 0.4", pair)
	command := fmt.Sprintf("%s sign --jobs 1 sha256 %s %s %s", program(t), key, pair.cert, r.dir)
	shown := mustRun(t, nil, "script", "-qec", command, "/dev/null")
	line := regexp.MustCompile(`\r\033\[K5 of 6, \d+/s, \d+s left, ".*\.ko"`)
	if !line.MatchString(shown) {
		t.Errorf("the terminal showed %q", shown)
	}
	if out := mustRun(t, nil, "sh", "-c", command+" --replace"); strings.Contains(out, "left") {
		t.Errorf("without a terminal it printed %q", out)
	}
}

// TestPassphraseAtTerminal answers the prompt, and interrupts it, which must not leave
// a terminal that goes on hiding what is typed.
func TestPassphraseAtTerminal(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase)
	for typed, want := range map[string]string{
		passphrase + "\n": "exit status 0",
		"not this\n":      "exit status 1",
		"\x03":            "signal: interrupt",
	} {
		module := filepath.Join(t.TempDir(), "m.ko")
		writeFile(t, module, "a module", 0o644)
		cmd := exec.Command(program(t), "sign", "--quiet", "sha256", pair.key, pair.cert, module)
		cmd.Env = []string{"PATH=/nonexistent"}
		terminal := startOnTerminal(t, cmd)
		for start := time.Now(); shows(t, terminal); time.Sleep(time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatal("nothing asked for the passphrase")
			}
		}
		terminal.WriteString(typed)
		cmd.Wait()
		if got := cmd.ProcessState.String(); got != want {
			t.Errorf("%q was typed: %s, want %s", typed, got, want)
		}
		if !shows(t, terminal) {
			t.Errorf("%q was typed: the terminal still shows nothing", typed)
		}
		if signed := strings.HasSuffix(string(readFile(t, module)), modsig.Marker); signed != strings.HasPrefix(typed, passphrase) {
			t.Errorf("%q was typed: signed is %t", typed, signed)
		}
	}
}

// startOnTerminal starts a program on a terminal of its own, and returns that one's other end.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return master
}

// shows tells whether a terminal shows what is typed.
func shows(t *testing.T, terminal *os.File) bool {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

// mustFail is run for what must end with the given exit code.
func mustFail(t *testing.T, exit int, name string, args ...string) string {
	t.Helper()
	out, err := run(t, nil, name, args...)
	if status := new(exec.ExitError); !errors.As(err, &status) || status.ExitCode() != exit {
		t.Fatalf("%s %s: %v, not exit code %d\n%s", name, strings.Join(args, " "), err, exit, out)
	}
	return out
}

// summary reads how many modules were signed, skipped, and failed.
func summary(t *testing.T, log string) (count [3]int) {
	t.Helper()
	found := regexp.MustCompile(`sign-file: (\d+) signed, (\d+) skipped, (\d+) failed`).FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("no summary:\n%s", log)
	}
	for i := range count {
		count[i], _ = strconv.Atoi(found[i+1])
	}
	return count
}

// TestOutputDir: it is refused, in one line and before anything is signed, where it can't be
// made, and where a module would be written over one that stays as it is.
func TestOutputDir(t *testing.T) {
	t.Parallel()
	r, pair := newTree(t, 3), newKeyPair(t, t.TempDir(), "-nodes")
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "", 0o644)
	sums := func() string {
		return mustRun(t, nil, "sh", append([]string{"-c", `sha256sum "$@"`, "sh"}, r.paths()...)...)
	}
	before := sums()
	for _, c := range []struct{ dir, want string }{
		{file, "--output-dir " + file + ": not a directory"},
		{file + "/x", "--output-dir " + file},
		{"/proc/x", "--output-dir /proc/x: "},
		{r.dir, "would be replaced"},
		{r.dir + "/./", "would be replaced"},
	} {
		log := mustFail(t, 1, program(t), "sign", "--output-dir", c.dir, "sha256", pair.key, pair.cert, r.dir)
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, c.want) {
			t.Errorf("%s: not the one line about %q:\n%s", c.dir, c.want, log)
		}
	}
	// One of two modules of one name is where the other would go.
	other := filepath.Join(t.TempDir(), filepath.Base(r.modules[0]))
	mustRun(t, nil, "cp", r.paths()[0], other)
	if log := mustFail(t, 1, program(t), "sign", "--output-dir", filepath.Dir(r.paths()[0]), "sha256", pair.key, pair.cert, other, r.paths()[0]); !strings.Contains(log, "would be replaced") {
		t.Error(log)
	}
	if after := sums(); after != before {
		t.Errorf("the modules were\n%sand are\n%s", before, after)
	}
	// Who collects what was written learns that it is not all.
	mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, r.paths()[0])
	out := filepath.Join(t.TempDir(), "out")
	if log := mustRun(t, nil, program(t), "sign", "--unsigned-only", "--output-dir", out, "sha256", pair.key, pair.cert, r.dir); !strings.Contains(log, "1 skipped") || !strings.Contains(log, "not in "+out) {
		t.Error(log)
	}
}

// TestLinkAndTarget: a link that is named becomes a signed file, and what it leads to stays;
// where that is named too, in any order, the link stays.
func TestLinkAndTarget(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t, t.TempDir(), "-nodes")
	for _, paths := range [][]string{{"link.ko", "a/m.ko"}, {"a/m.ko", "link.ko"}, {"link.ko", "a"}, {"link.ko", "."}} {
		for range 3 { // whichever is first
			dir := t.TempDir()
			mkdir(t, filepath.Join(dir, "a"))
			mustRun(t, nil, "cp", "../testdata/hello.ko", filepath.Join(dir, "a/m.ko"))
			symlink(t, "a/m.ko", filepath.Join(dir, "link.ko"))
			log := mustRun(t, nil, "env", append([]string{"-C", dir, program(t), "sign", "sha256", pair.key, pair.cert}, paths...)...)
			if !strings.Contains(log, "1 signed, 0 skipped, 0 failed, 1 not followed") {
				t.Errorf("%q: %s", paths, log)
			}
			checkSigned(t, filepath.Join(dir, "a/m.ko"), "../testdata/hello.ko", "sha256", pair)
			if to, err := os.Readlink(filepath.Join(dir, "link.ko")); err != nil || to != "a/m.ko" {
				t.Errorf("%q: the link leads to %q: %v", paths, to, err)
			}
		}
	}
}

// TestSignedNoModule: what is signed and is no module is told, in --json too; a broken trailer
// comes with a way out.
func TestSignedNoModule(t *testing.T) {
	t.Parallel()
	dir, pair := t.TempDir(), newKeyPair(t, t.TempDir(), "-nodes")
	hello := readFile(t, "../testdata/hello.ko")
	cut, broken := filepath.Join(dir, "cut.ko"), filepath.Join(dir, "broken.ko")
	writeFile(t, cut, string(hello[:3000]), 0o644)
	writeFile(t, broken, string(hello)+"~Module signature appended~\n", 0o644)
	for range 2 { // the second with the signature of the first below it
		log := mustRun(t, nil, program(t), "sign", "--replace", "--json", "sha256", pair.key, pair.cert, cut)
		if !strings.Contains(log, `"no_module":"it is cut: `) || !strings.Contains(log, "is no module: it is cut") {
			t.Error(log)
		}
	}
	for _, args := range [][]string{{"sign", "sha256", pair.key, pair.cert, broken}, {"sign", "--replace", "sha256", pair.key, pair.cert, broken}, {"strip", broken}} {
		if log := mustFail(t, 1, program(t), args...); !strings.Contains(log, "truncate -s -28") {
			t.Errorf("%s: no way out: %s", args[0], log)
		}
	}
	mustRun(t, nil, "truncate", "-s", "-28", broken)
	mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, broken)
	checkSigned(t, broken, "../testdata/hello.ko", "sha256", pair)
}
