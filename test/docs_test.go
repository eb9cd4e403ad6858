package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestDocumentedFlags: docs/ has every flag that a command's --help lists.
func TestDocumentedFlags(t *testing.T) {
	var docs strings.Builder
	pages, _ := filepath.Glob("../docs/*.md")
	for _, page := range pages {
		docs.Write(readFile(t, page))
	}
	flag := regexp.MustCompile(`(?m)^   (--?[a-z0-9-]+)(?: [A-Za-z]+)?(?:, (--?[a-z]+))?`)
	for _, command := range allCommands(t) {
		_, options, found := strings.Cut(mustRun(t, nil, program(t), append(strings.Fields(command), "--help")...), "OPTIONS:")
		flags := flag.FindAllStringSubmatch(options, -1)
		if !found {
			t.Errorf("%s --help lists no flags", command)
		}
		for _, m := range flags {
			if m[1] != "--help" && !regexp.MustCompile("[`\\[ |]"+m[1]+"[]`| \\\\]").MatchString(docs.String()) {
				t.Errorf("docs/ lacks %s of %s", m[1], command)
			}
		}
	}
}

// allCommands are the commands that --help lists, and those below them: "map gate create".
func allCommands(t *testing.T) []string {
	t.Helper()
	listed := regexp.MustCompile(`(?m)^   ([a-z][a-z-]*)  +`)
	var below func(words []string) []string
	below = func(words []string) []string {
		_, list, found := strings.Cut(mustRun(t, nil, program(t), append(words, "--help")...), "COMMANDS:")
		if !found {
			return []string{strings.Join(words, " ")}
		}
		list, _, _ = strings.Cut(list, "OPTIONS:")
		var all []string
		for _, m := range listed.FindAllStringSubmatch(list, -1) {
			all = append(all, below(append(slices.Clone(words), m[1]))...)
		}
		return all
	}
	return below(nil)
}

// manual makes the manual pages and returns their folder.
func manual(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "-C", "..", "run", "-tags", "urfave_cli_no_docs", "./tools/manual", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestManual: the manual pages have every command with every flag, and man finds nothing
// wrong with them.
func TestManual(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "man")
	var all strings.Builder
	pages, _ := filepath.Glob(filepath.Join(manual(t), "*.1"))
	for _, page := range pages {
		out := mustRun(t, []string{"MANWIDTH=5000", "MAN_KEEP_FORMATTING="}, "man", "--warnings", "-E", "ascii", "-l", page)
		all.WriteString(out)
		if strings.Contains(out, "warning:") {
			t.Errorf("man says of %s:\n%s", filepath.Base(page), out)
		}
	}
	spaces := regexp.MustCompile(`\s+`)
	text := spaces.ReplaceAllString(all.String(), " ")
	term := regexp.MustCompile(`(?m)^   (--?[a-z0-9-]+)(?: [A-Za-z]+)?.*?  +(\S.*)`)
	for _, command := range allCommands(t) {
		if !strings.Contains(text, "sign-file "+command+" ") {
			t.Errorf("no page has the synopsis of %s", command)
		}
		_, options, _ := strings.Cut(mustRun(t, nil, program(t), append(strings.Fields(command), "--help")...), "OPTIONS:")
		for _, m := range term.FindAllStringSubmatch(options, -1) {
			if m[1] != "--help" && !regexp.MustCompile(`[ ,]`+m[1]+`[ ,]`).MatchString(text) {
				t.Errorf("no page has %s of %s", m[1], command)
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

// TestPictures: the pictures are those of their source.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "-C", "..", "run", "./tools/pictures", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run(t, nil, "diff", "-r", dir, "../docs/pictures"); err != nil {
		t.Errorf("make pictures makes others:\n%s", out)
	}
}

// TestLinks: what the documents link to is there, and the heading too.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	pages, _ := filepath.Glob("../docs/*.md")
	roots, _ := filepath.Glob("../*.md")
	for _, page := range append(pages, roots...) {
		for _, m := range link.FindAllSubmatch(readFile(t, page), -1) {
			to := page
			if len(m[1]) > 0 {
				to = filepath.Join(filepath.Dir(page), string(m[1]))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if len(m[2]) > 0 && !hasHeading(string(readFile(t, to)), string(m[2][1:])) {
				t.Errorf("%s: no heading of %s is #%s", page, to, m[2][1:])
			}
		}
	}
}

// hasHeading says whether one of a page's headings has that name in an address.
func hasHeading(page, name string) bool {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		if strings.ReplaceAll(regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(heading[1]), ""), " ", "-") == name {
			return true
		}
	}
	return false
}

// TestJudgedKernel: on the pages for those who build for other machines, verify judges as the
// kernel that is meant.
func TestJudgedKernel(t *testing.T) {
	for _, page := range []string{"distribution.md", "images.md", "kernel-builder.md", "remote-signing.md"} {
		found := false
		for line := range strings.Lines(string(readFile(t, "../docs/"+page))) {
			if !strings.HasPrefix(strings.TrimSpace(line), "sign-file verify ") {
				continue
			}
			found = true
			if !strings.Contains(line, "--kernel ") && !strings.Contains(line, "--config ") {
				t.Errorf("docs/%s judges as the build machine: %s", page, line)
			}
		}
		if !found {
			t.Errorf("docs/%s verifies nothing", page)
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
