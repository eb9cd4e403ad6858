package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = `module example

go 1.21
`

const tests = `package example

import "testing"

func TestGood(t *testing.T) { t.Log("all is well") }

func TestSkipped(t *testing.T) {
	t.Run("first", func(t *testing.T) { t.Skip("xz (package xz-utils) is missing") })
	t.Run("second", func(t *testing.T) { t.Skip("xz (package xz-utils) is missing") })
	t.Run("third", func(t *testing.T) { t.SkipNow() })
}
`

const failing = `package example

import "testing"

func TestBad(t *testing.T) {
	t.Run("inner", func(t *testing.T) { t.Error("boom") })
}

func TestPanic(t *testing.T) { panic("bang") }
`

// runIn runs the tests of a module that has these files.
func runIn(t *testing.T, dir string, files map[string]string) (string, error) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	err := run(&out, dir, []string{"./..."})
	return out.String(), err
}

// A cached result tells of its skipped tests too.
func TestSkips(t *testing.T) {
	dir := t.TempDir()
	for _, cached := range []bool{false, true} {
		out, err := runIn(t, dir, map[string]string{"go.mod": module, "good_test.go": tests})
		if err != nil {
			t.Fatal(err, out)
		}
		if cached != strings.Contains(out, "(cached)") {
			t.Fatalf("not what the test is about:\n%s", out)
		}
		for _, line := range []string{"    2  xz (package xz-utils) is missing\n", "    1  no reason given\n", "  apt-get install xz-utils\n"} {
			if !strings.Contains(out, line) {
				t.Errorf("no line %q in:\n%s", line, out)
			}
		}
		if strings.Contains(out, "all is well") || strings.Contains(out, "===") || strings.Contains(out, "PASS") {
			t.Errorf("more than go test prints:\n%s", out)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, want := range map[string][]string{
		failing:              {"--- FAIL: TestBad", "boom", "bang", "FAIL\texample"},
		"package example\n{": {"bad_test.go:2:1", "FAIL\texample"},
	} {
		out, err := runIn(t, t.TempDir(), map[string]string{"go.mod": module, "good_test.go": tests, "bad_test.go": name})
		if err == nil {
			t.Errorf("no error from:\n%s", out)
		}
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in:\n%s", text, out)
			}
		}
		if strings.Contains(out, "all is well") {
			t.Errorf("a good test is shown:\n%s", out)
		}
	}
}
