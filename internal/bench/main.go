// Command bench runs the real sign-file and ours side by side on the same work
// and prints time, CPU and memory as ratios. Absolute times drift with whatever
// else the machine does; ratios of interleaved runs do not.
package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// work is one row of the table.
type work struct {
	name      string
	key, hash string
	size      int64 // of the module, in bytes
	rounds    int
}

var table = []work{
	{"200 KB module, RSA-4096, sha512", "rsa4096", "sha512", 200 << 10, 100},
	{"200 KB module, RSA-2048, sha256", "rsa2048", "sha256", 200 << 10, 100},
	{"200 KB module, P-384, sha384", "p384", "sha384", 200 << 10, 100},
	{"300 MB module, RSA-4096, sha512", "rsa4096", "sha512", 300 << 20, 7},
}

func main() {
	ours := flag.String("ours", "./sign-file", "the binary to measure")
	theirs := flag.String("theirs", "", "the kernel's sign-file (default: the newest linux-kbuild package's)")
	keys := flag.String("keys", "testdata/keys", "folder with NAME.key and NAME.pem")
	flag.Parse()
	if err := run(*ours, *theirs, *keys, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ours, theirs, keys string, out io.Writer) error {
	if theirs == "" {
		found, _ := filepath.Glob("/usr/lib/linux-kbuild-*/scripts/sign-file")
		if len(found) == 0 {
			return errors.New("no sign-file to compare with: install linux-kbuild-6.1")
		}
		theirs = slices.Max(found)
	}
	dir, err := os.MkdirTemp("", "sign-file-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "%s against %s; wall and CPU are ours divided by theirs, medians of interleaved pairs\n\n", ours, theirs)
	fmt.Fprintln(out, "| work | wall | CPU | theirs, ms | ours, ms | theirs, RSS MB | ours, RSS MB |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	for _, w := range table {
		module := filepath.Join(dir, "module.ko")
		if err := makeModule(module, w.size); err != nil {
			return err
		}
		args := []string{w.hash, filepath.Join(keys, w.key+".key"), filepath.Join(keys, w.key+".pem"), module, filepath.Join(dir, "out.ko")}
		if err := compare(out, w, ours, theirs, args); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// makeModule writes random bytes: to hash and copy, a module is no more.
func makeModule(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

// sample is one run of one binary.
type sample struct{ wall, cpu time.Duration }

func compare(out io.Writer, w work, ours, theirs string, args []string) error {
	binaries := [2]string{theirs, ours}
	var samples [2][]sample
	for round := range w.rounds {
		for turn := range binaries {
			i := (turn + round) % 2 // who goes first alternates
			s, err := once(binaries[i], args)
			if err != nil {
				return err
			}
			samples[i] = append(samples[i], s)
		}
	}
	var rss [2]float64
	for i, binary := range binaries {
		kilobytes, err := peakMemory(binary, args)
		if err != nil {
			return err
		}
		rss[i] = float64(kilobytes) / 1024
	}
	wall, cpu := ratios(samples)
	fmt.Fprintf(out, "| %s | %.2f | %.2f | %.1f | %.1f | %.1f | %.1f |\n", w.name, wall, cpu,
		medianWall(samples[0]), medianWall(samples[1]), rss[0], rss[1])
	return nil
}

func once(binary string, args []string) (sample, error) {
	// A file that is there already would be truncated by the one and kept until
	// the end by the other, which needs twice the page cache.
	if err := os.RemoveAll(args[len(args)-1]); err != nil {
		return sample{}, err
	}
	cmd := exec.Command(binary, args...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return sample{}, err
	}
	return sample{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// peakMemory asks time(1), which is small itself: the kernel counts the memory of
// the process that starts another towards the other's maximum.
func peakMemory(binary string, args []string) (kilobytes int, err error) {
	cmd := exec.Command("time", append([]string{"-f", "%M", binary}, args...)...)
	report, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("time (package time): %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(report)))
}

func ratios(samples [2][]sample) (wall, cpu float64) {
	var walls, cpus []float64
	for i, theirs := range samples[0] {
		walls = append(walls, float64(samples[1][i].wall)/float64(theirs.wall))
		cpus = append(cpus, float64(samples[1][i].cpu)/float64(theirs.cpu))
	}
	return median(walls), median(cpus)
}

func medianWall(samples []sample) float64 {
	var walls []float64
	for _, s := range samples {
		walls = append(walls, float64(s.wall)/float64(time.Millisecond))
	}
	return median(walls)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
