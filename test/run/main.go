// Command run is go test, with a list at the end of the tests that were skipped, and
// why: go test itself shows none of them without -v.
//
//	go run ./test/run [flags of go test] [packages]
//
// It reads go test -json, which repeats what a cached test has printed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Stdout, ".", os.Args[1:]); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) { // go test has said the rest
			fmt.Fprintln(os.Stderr, "go test:", err)
		}
		os.Exit(1)
	}
}

func run(out io.Writer, dir string, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := &report{out: out, outputs: map[test][]string{}, skips: map[string]int{}}
	r.read(output)
	err = cmd.Wait()
	r.printSkips()
	return err
}

// event is a line of go test -json (go doc test2json, and of go build -json).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

type test struct{ pkg, name string }

// report prints what go test prints without -json and -v.
type report struct {
	out     io.Writer
	order   []test // with output, and neither passed nor skipped so far
	outputs map[test][]string
	skips   map[string]int // reason: how many tests
}

func (r *report) read(input io.Reader) {
	lines := bufio.NewReader(input)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			r.out.Write(line)
			continue
		}
		r.add(e)
	}
}

func (r *report) add(e event) {
	t := test{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		if !isProgress(e.Output) {
			if r.outputs[t] == nil {
				r.order = append(r.order, t)
			}
			r.outputs[t] = append(r.outputs[t], e.Output)
		}
	case e.Test != "" && e.Action == "pass":
		r.drop(t)
	case e.Test != "" && e.Action == "skip":
		r.skips[reason(r.outputs[t])]++
		r.drop(t)
	case e.Test == "" && (e.Action == "pass" || e.Action == "skip" || e.Action == "fail"):
		r.endPackage(t)
	}
}

func (r *report) drop(t test) {
	delete(r.outputs, t)
	r.order = slices.DeleteFunc(r.order, func(other test) bool { return other == t })
}

// endPackage prints what failed or did not end, and then the package's own lines.
func (r *report) endPackage(pkg test) {
	for _, t := range slices.Clone(r.order) {
		if t.pkg == pkg.pkg && t != pkg {
			fmt.Fprint(r.out, strings.Join(r.outputs[t], ""))
			r.drop(t)
		}
	}
	for _, line := range r.outputs[pkg] {
		if line != "PASS\n" {
			fmt.Fprint(r.out, line)
		}
	}
	r.drop(pkg)
}

// isProgress recognizes the lines that only -v prints.
func isProgress(line string) bool {
	return strings.HasPrefix(line, "=== ")
}

// logged is a line of testing.T's Log, and of Skip.
var logged = regexp.MustCompile(`^\s*\S+\.go:\d+: (.+)\n?$`)

// reason is what the test logged last, in one line.
func reason(output []string) string {
	why := "no reason given"
	for _, line := range output {
		if m := logged.FindStringSubmatch(line); m != nil {
			why = m[1]
		}
	}
	return why
}

// debian is how package testenv names the Debian package of what is missing.
var debian = regexp.MustCompile(`\(package ([^ )]+)\)`)

func (r *report) printSkips() {
	if len(r.skips) == 0 {
		return
	}
	fmt.Fprintln(r.out, "\nSkipped tests, and why:")
	packages := map[string]bool{}
	for _, why := range slices.Sorted(maps.Keys(r.skips)) {
		fmt.Fprintf(r.out, "%5d  %s\n", r.skips[why], why)
		if m := debian.FindStringSubmatch(why); m != nil {
			packages[m[1]] = true
		}
	}
	if len(packages) > 0 {
		fmt.Fprintln(r.out, "\nTo run more of them:\n  apt-get install", strings.Join(slices.Sorted(maps.Keys(packages)), " "))
	}
}
