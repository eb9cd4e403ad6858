package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestVersion: a checkout, an archive that git makes of it and a release's tarball, which
// have no repository, know their version and commit, and so does what make builds of them.
func TestVersion(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "git")
	src := mkdir(t, filepath.Join(t.TempDir(), "src"))
	git := func(args ...string) string {
		return mustRun(t, []string{"HOME=" + src}, "git", append([]string{"-C", src, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
	}
	mustRun(t, nil, "cp", "../tools/version", mkdir(t, filepath.Join(src, "tools")))
	mustRun(t, nil, "cp", "../.gitattributes", src)
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	commit := strings.TrimSpace(git("rev-parse", "HEAD"))
	ask := func(dir string, args ...string) string {
		return strings.TrimSpace(mustRun(t, nil, filepath.Join(dir, "tools/version"), args...))
	}
	if got, want := ask(src), "0.1-1-g"+commit[:12]; got != want {
		t.Errorf("a checkout without a tag has version %q, not %q", got, want)
	}
	// A copy has every file with another time, and the same content.
	mustRun(t, nil, "touch", "-d", "2001-01-01", filepath.Join(src, "tools/version"))
	mustRun(t, nil, "touch", "-d", "2001-01-01", filepath.Join(src, ".gitattributes"))
	if got := ask(src, "--commit"); got != commit {
		t.Errorf("a copied checkout is of commit %q, not %q", got, commit)
	}
	attributes := readFile(t, filepath.Join(src, ".gitattributes"))
	writeFile(t, filepath.Join(src, ".gitattributes"), string(attributes)+"# changed\n", 0o644)
	if got := ask(src, "--commit"); got != commit+"-dirty" {
		t.Errorf("a changed checkout is of commit %q", got)
	}
	writeFile(t, filepath.Join(src, ".gitattributes"), string(attributes), 0o644)
	git("tag", "v0.9.1")
	git("commit", "-q", "--allow-empty", "-m", "two")
	commit = strings.TrimSpace(git("rev-parse", "HEAD"))
	if got, want := ask(src), "0.9.1-1-g"+commit[:12]; got != want {
		t.Errorf("a commit after a tag has version %q, not %q", got, want)
	}
	// Copied, as to a container, the files are others to git's index, and say the same; git may
	// not write there.
	for _, content := range []string{"", "# changed\n"} {
		copied := filepath.Join(t.TempDir(), "copied")
		mustRun(t, nil, "cp", "-r", src, copied)
		want := "0.9.1-1-g" + commit[:12]
		if content != "" {
			mustRun(t, nil, "sh", "-c", `printf %s "$1" >> "$2"/.gitattributes`, "sh", content, copied)
			want += "-dirty"
		}
		mustRun(t, nil, "touch", "-d", "2001-01-01", copied+"/tools/version")
		index := readFile(t, copied+"/.git/index")
		if got := ask(copied); got != want {
			t.Errorf("a copy with the change %q has version %q, not %q", content, got, want)
		}
		if !bytes.Equal(readFile(t, copied+"/.git/index"), index) {
			t.Error("tools/version writes git's index")
		}
	}
	// Git reads no repository of another owner's. The build goes on, but says so.
	foreign := []string{"GIT_TEST_ASSUME_DIFFERENT_OWNER=1", "HOME=" + src}
	if out := mustRun(t, foreign, filepath.Join(src, "tools/version")); !strings.HasSuffix(out, "unknown\n") || !strings.Contains(out, "safe.directory") {
		t.Errorf("of another owner's checkout, tools/version says only %q", out)
	}
	if out := mustRun(t, foreign, filepath.Join(src, "tools/version"), "--commit"); out != "unknown\n" {
		t.Errorf("the commit of another owner's checkout is %q", out)
	}
	tree := mkdir(t, filepath.Join(t.TempDir(), "archive"))
	git("archive", "-o", tree+".tar", "HEAD")
	mustRun(t, nil, "tar", "-C", tree, "-xf", tree+".tar")
	if got, want := ask(tree), "0.9.1-1-g"+commit[:12]; got != want {
		t.Errorf("git's archive has version %q, not %q", got, want)
	}
	if got := ask(tree, "--commit"); got != commit {
		t.Errorf("git's archive is of commit %q, not %q", got, commit)
	}
	writeFile(t, filepath.Join(tree, ".version"), "0.9.2\nabc\n1700000000\n", 0o644)
	if got := ask(tree) + " " + ask(tree, "--commit") + " " + ask(tree, "--date"); got != "0.9.2 abc 1700000000" {
		t.Errorf("a tarball has version, commit and date %q", got)
	}
	// A tag or a file that would run commands in make's.
	for _, hostile := range []string{"1';touch${IFS}x;'", "1$(touch x)", "a/b", ""} {
		writeFile(t, filepath.Join(tree, ".version"), hostile+"\nabc\n1700000000\n", 0o644)
		if out, err := run(t, nil, filepath.Join(tree, "tools/version")); err == nil {
			t.Errorf("a tarball has version %q", out)
		}
	}
	// What make hands to the linker is what the program says.
	if os.Getenv(binaryVariable) != "" {
		return
	}
	log := mustRun(t, nil, "make", "-C", "..", "-n", "build", "VERSION=1.2", "COMMIT=abc", "LDFLAGS=-w")
	// Packaging tools have a C linker's flags in the environment.
	if log := mustRun(t, []string{"LDFLAGS=-Wl,-z,relro", "BUILDMODE=x"}, "make", "-C", "..", "-n", "build"); strings.Contains(log, "relro") || strings.Contains(log, "buildmode=x") {
		t.Errorf("make takes the C linker's flags of the environment:\n%s", log)
	}
	if out, err := run(t, nil, "make", "-C", "..", "build", "VERSION=1'2", "GO=true"); err == nil || !strings.Contains(out, "VERSION") {
		t.Errorf("make takes any version: %v\n%s", err, out)
	}
	for _, want := range []string{"-w -X", "cli.release=1.2 ", "cli.commit=abc'"} {
		if !strings.Contains(log, want) {
			t.Errorf("make does not call Go with %q:\n%s", want, log)
		}
	}
}
