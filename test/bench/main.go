// Command bench runs the real sign-file and ours side by side on the same work
// and prints time, CPU and memory as ratios. Absolute times drift with whatever
// else the machine does; ratios of interleaved runs do less.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// bench is what all rows work with.
type bench struct {
	ours, theirs string // the binaries
	keys         string // folder with NAME.key and NAME.pem
	dir          string // for modules and output
	factor       int    // how many times the rounds of a short run
}

func main() {
	var b bench
	flag.StringVar(&b.ours, "ours", "./sign-file", "the binary to measure")
	flag.StringVar(&b.theirs, "theirs", "", "the kernel's sign-file (default: the newest linux-kbuild package's)")
	flag.StringVar(&b.keys, "keys", "testdata/keys", "folder with NAME.key and NAME.pem")
	flag.IntVar(&b.factor, "factor", 1, "multiply the rounds")
	flag.Parse()
	if err := b.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(out io.Writer) (err error) {
	if b.theirs == "" {
		found, _ := filepath.Glob("/usr/lib/linux-kbuild-*/scripts/sign-file")
		if len(found) == 0 {
			return errors.New("no sign-file to compare with: install linux-kbuild-6.1")
		}
		b.theirs = slices.Max(found)
	}
	if b.dir, err = os.MkdirTemp("", "sign-file-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.head(out); err != nil {
		return err
	}
	if b.ours, err = b.install(); err != nil {
		return err
	}
	all, err := b.contests()
	if err != nil {
		return err
	}
	if err := runAll(out, all); err != nil {
		return err
	}
	if err := b.less(out, all, "avx2", "as on machines without AVX-512 IFMA"); err != nil {
		return err
	}
	if err := b.less(out, all, "std", "which has crypto/rsa sign"); err != nil {
		return err
	}
	if err := b.newer(out, all); err != nil {
		return err
	}
	if err := b.signatures(out); err != nil {
		return err
	}
	if err := b.token(out); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return nil
}

// install is install(1): how much of a file is mapped at once depends on how it was
// written. What a linker has just written takes a fifth longer to start.
func (b *bench) install() (string, error) {
	path := filepath.Join(b.dir, "sign-file")
	if out, err := exec.Command("install", "-m", "0755", b.ours, path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("install: %w: %s", err, out)
	}
	return path, nil
}

func (b *bench) contests() ([]contest, error) {
	files, err := b.oneFile()
	if err != nil {
		return nil, err
	}
	trees, err := b.tree()
	return append(files, trees...), err
}

func runAll(out io.Writer, all []contest) error {
	fmt.Fprintln(out, "| work | wall | CPU | theirs, ms (min) | ours, ms (min) | theirs, RSS MB | ours, RSS MB |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	for _, c := range all {
		if err := c.run(out); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// less signs with less than the processor has.
func (b *bench) less(out io.Writer, all []contest, engine, where string) error {
	fmt.Fprintf(out, "\nThe same with `SIGN_FILE_RSA=%s`, %s:\n\n", engine, where)
	var again []contest
	for _, c := range all {
		if c.signs && strings.Contains(c.name, "RSA") {
			c.ours.env = []string{"SIGN_FILE_RSA=" + engine}
			again = append(again, c)
		}
	}
	return runAll(out, again)
}

// newer is against the sign-file that tools/debian-tools has unpacked, with its OpenSSL.
func (b *bench) newer(out io.Writer, all []contest) error {
	tools := os.Getenv("SIGN_FILE_NEWER_TOOLS")
	if tools == "" {
		fmt.Fprintf(out, "\nA newer sign-file was not measured: tools/debian-tools fetches one, and SIGN_FILE_NEWER_TOOLS names its folder bin.\n")
		return nil
	}
	root := filepath.Join(filepath.Dir(tools), "root")
	loaders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/ld-linux*.so.*"))
	found, _ := filepath.Glob(filepath.Join(root, "usr/lib/linux-kbuild-*/scripts/sign-file"))
	if len(loaders) == 0 || len(found) == 0 {
		return fmt.Errorf("no sign-file below %s", root)
	}
	version, err := exec.Command(filepath.Join(tools, "openssl"), "version").Output()
	if err != nil {
		return fmt.Errorf("openssl: %w", err)
	}
	name, _ := strings.CutPrefix(slices.Max(found), root)
	fmt.Fprintf(out, "\nAgainst the newer %s with %s:\n\n", name, strings.TrimSpace(string(version)))
	program := []string{loaders[0], "--library-path", filepath.Dir(loaders[0]), slices.Max(found)}
	var again []contest
	for _, c := range all {
		at := slices.Index(c.theirs.args, b.theirs)
		if c.signs && at >= 0 {
			c.theirs.args = slices.Replace(slices.Clone(c.theirs.args), at, at+1, program...)
			again = append(again, c)
		}
	}
	return runAll(out, again)
}

func (b *bench) head(out io.Writer) error {
	openssl, err := exec.Command("openssl", "version").Output()
	if err != nil {
		return fmt.Errorf("openssl: %w", err)
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	cpu := "unknown processor"
	if found := regexp.MustCompile(`(?m)^model name\s*: (.*)`).FindSubmatch(info); found != nil {
		cpu = string(found[1])
	}
	fmt.Fprintf(out, "# How fast\n\nOurs divided by theirs, medians of interleaved runs: below 1 is faster. `make bench` wrote this on\n"+
		"%s, %d cores; %s; theirs is %s with %s.\nMilliseconds are for each file, the median and the least. The thousand modules are a sample of Debian's kernel.\n\n"+
		"![Time, ours divided by theirs](pictures/bench.svg)\n\n",
		cpu, runtime.NumCPU(), runtime.Version(), b.theirs, strings.TrimSpace(string(openssl)))
	return nil
}

// operands are what precedes the module on both command lines.
func (b *bench) operands(hash, key string) []string {
	return []string{hash, filepath.Join(b.keys, key+".key"), filepath.Join(b.keys, key+".pem")}
}
