package test

import (
	"os"
	"testing"

	"sign-file/test/testenv"
)

// TestInstall: make install puts what was built where a packager says, builds nothing, and
// make uninstall leaves nothing.
func TestInstall(t *testing.T) {
	testenv.Tool(t, "make")
	src, root := t.TempDir(), t.TempDir()
	mustRun(t, nil, "cp", "../Makefile", "../sign-file.1", src)
	at := func(target string) (string, error) {
		// Without Go: it may not be needed.
		return run(t, nil, "make", "-C", src, target, "GO=false", "DESTDIR="+root, "PREFIX=/usr", "bindir=/usr/sbin")
	}
	if out, err := at("install"); err == nil {
		t.Errorf("installed what was not built:\n%s", out)
	}
	mustRun(t, nil, "cp", program(t), src+"/sign-file")
	if out, err := at("install"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustRun(t, nil, root+"/usr/sbin/sign-file", "--version")
	for _, path := range []string{"/usr/sbin/kmodsign", "/usr/sbin/extract-cert", "/usr/share/man/man1/sign-file.1"} {
		if _, err := os.Stat(root + path); err != nil {
			t.Error(err)
		}
	}
	if out, err := at("uninstall"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := mustRun(t, nil, "find", root, "!", "-type", "d"); left != "" {
		t.Errorf("uninstall leaves\n%s", left)
	}
}
