package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedFlags: docs/ has every flag that a command's --help lists.
func TestDocumentedFlags(t *testing.T) {
	var docs strings.Builder
	pages, _ := filepath.Glob("../docs/*.md")
	for _, page := range pages {
		docs.Write(readFile(t, page))
	}
	flag := regexp.MustCompile(`(?m)^   (--?[a-z0-9-]+)(?: [A-Za-z]+)?(?:, (--?[a-z]+))?`)
	for _, command := range []string{
		"sign", "verify", "inspect", "strip", "extract", "digest", "attach", "keygen", "explain", "size",
		"map sign", "map wrap", "map attach", "map verify", "map inspect", "map size", "map extract",
		"map gate create", "map gate load", "map gate list", "map gate show", "map gate remove",
		"bpf sign", "bpf verify", "bpf inspect", "bpf digest", "bpf attach", "bpf extract",
	} {
		_, options, found := strings.Cut(mustRun(t, nil, program(t), append(strings.Fields(command), "--help")...), "OPTIONS:")
		flags := flag.FindAllStringSubmatch(options, -1)
		if !found || len(flags) == 0 {
			t.Errorf("%s --help lists no flags", command)
		}
		for _, m := range flags {
			if m[1] != "--help" && !regexp.MustCompile("[`\\[ |]"+m[1]+"[]`| \\\\]").MatchString(docs.String()) {
				t.Errorf("docs/ lacks %s of %s", m[1], command)
			}
		}
	}
}

// TestManual: the manual page has every command, and every subcommand of the groups.
func TestManual(t *testing.T) {
	page := strings.ReplaceAll(string(readFile(t, "../sign-file.1")), "\\-", "-")
	commands := regexp.MustCompile(`(?m)^   ([a-z]+)  +`)
	for _, group := range []string{"", "map", "map gate", "bpf"} {
		_, list, _ := strings.Cut(mustRun(t, nil, program(t), append(strings.Fields(group), "--help")...), "COMMANDS:")
		found := commands.FindAllStringSubmatch(list, -1)
		if len(found) == 0 {
			t.Errorf("%s --help lists no commands", group)
		}
		for _, m := range found {
			if !regexp.MustCompile(`(?m)^\.BR? .*` + group + `.*\b` + m[1] + `\b`).MatchString(page) {
				t.Errorf("sign-file.1 lacks %s %s", group, m[1])
			}
		}
	}
}

// TestGoVersion: README asks for the Go that go.mod asks for.
func TestGoVersion(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindSubmatch(readFile(t, "../go.mod"))
	if version == nil || !strings.Contains(string(readFile(t, "../README.md")), "needs Go "+string(version[1])) {
		t.Errorf("README does not say that the program needs Go %s", version)
	}
}

// TestLinks: what the documents link to is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages, _ := filepath.Glob("../docs/*.md")
	roots, _ := filepath.Glob("../*.md")
	for _, page := range append(pages, roots...) {
		for _, m := range link.FindAllSubmatch(readFile(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), string(m[1]))); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// TestSecurityTests: each row of docs/security.md names a test that is there.
func TestSecurityTests(t *testing.T) {
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`")
	var tests strings.Builder
	for _, pattern := range []string{"../*/*_test.go", "../*/*/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			tests.Write(readFile(t, file))
		}
	}
	rows := named.FindAllSubmatch(readFile(t, "../docs/security.md"), -1)
	for _, m := range rows {
		if !strings.Contains(tests.String(), "func "+string(m[1])+"(") {
			t.Errorf("no test %s", m[1])
		}
	}
	if len(rows) < 20 {
		t.Errorf("%d tests are named, want more", len(rows))
	}
}
