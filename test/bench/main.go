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
	for _, rows := range []func() ([]contest, error){b.oneFile, b.tree} {
		contests, err := rows()
		if err != nil {
			return err
		}
		for _, c := range contests {
			if err := c.run(out); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	if err := b.token(out); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return nil
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
		"%s, %d cores; %s; theirs is %s with %s.\nMilliseconds are for each file. The thousand modules are a sample of Debian's kernel.\n\n",
		cpu, runtime.NumCPU(), runtime.Version(), b.theirs, strings.TrimSpace(string(openssl)))
	fmt.Fprintln(out, "| work | wall | CPU | theirs, ms | ours, ms | theirs, RSS MB | ours, RSS MB |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	return nil
}

// operands are what precedes the module on both command lines.
func (b *bench) operands(hash, key string) []string {
	return []string{hash, filepath.Join(b.keys, key+".key"), filepath.Join(b.keys, key+".pem")}
}
