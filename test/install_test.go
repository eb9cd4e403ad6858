package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestInstall: make install puts what was built where a packager says, builds nothing, and
// make uninstall leaves nothing.
func TestInstall(t *testing.T) {
	testenv.Tool(t, "make")
	src, root := t.TempDir(), t.TempDir()
	mkdir(t, src+"/man")
	for _, path := range []string{"Makefile", "LICENSE", "LICENSES", "NEWS.md", "SECURITY.md", "docs", "examples", "packaging", "testdata/vectors", "gate/reader", "internal/cli/completion"} {
		mustRun(t, nil, "sh", "-c", `cd .. && cp -r --parents "$1" "$2"`, "sh", path, src)
	}
	at := func(target string) (string, error) {
		// Without Go: it may not be needed.
		return run(t, nil, "make", "-C", src, target, "GO=false", "DESTDIR="+root, "PREFIX=/usr", "bindir=/usr/sbin")
	}
	if out, err := at("install"); err == nil {
		t.Errorf("installed what was not built:\n%s", out)
	}
	mustRun(t, nil, "cp", program(t), src+"/sign-file")
	mustRun(t, nil, "cp", "-r", manual(t), src+"/man/pages")
	if out, err := at("install"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustRun(t, nil, root+"/usr/sbin/sign-file", "--version")
	for _, path := range []string{"/usr/sbin/kmodsign", "/usr/sbin/extract-cert", "/usr/share/man/man1/sign-file.1",
		"/usr/share/man/man1/extract-cert.1", "/usr/share/bash-completion/completions/kmodsign", "/usr/include/sign_file_gate.h"} {
		if _, err := os.Stat(root + path); err != nil {
			t.Error(err)
		}
	}
	checkInstalledLinks(t, root)
	if out, err := at("uninstall"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := mustRun(t, nil, "find", root, "!", "-type", "d"); left != "" {
		t.Errorf("uninstall leaves\n%s", left)
	}
}

// checkInstalledLinks reports links, of documents and of the file system, to what is not
// installed.
func checkInstalledLinks(t *testing.T, root string) {
	t.Helper()
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)|(?:src|srcset)="([^":]+)"`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		for _, m := range link.FindAllSubmatch(readFile(t, path), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), string(m[1])+string(m[3]))); err != nil {
				t.Errorf("%s links to what is not installed: %v", strings.TrimPrefix(path, root), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
