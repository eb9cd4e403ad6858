package test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestInstall: make install puts what was built where a packager says, builds nothing, and
// everybody can read it, whatever the umask; make uninstall leaves nothing but what is
// others'.
func TestInstall(t *testing.T) {
	testenv.Tool(t, "make")
	src, root := t.TempDir(), t.TempDir()
	for _, path := range []string{"Makefile", "LICENSE", "LICENSES", "NEWS.md", "SECURITY.md", "docs", "examples", "packaging", "testdata/vectors", "gate/reader", "gate/testdata/signed/flows.bpf.c",
		"bpf/example", "man", "internal/cli/completion"} {
		mustRun(t, nil, "sh", "-c", `cd .. && cp -r --parents "$1" "$2"`, "sh", path, src)
	}
	at := func(target string) (string, error) {
		// Without Go: it may not be needed.
		return run(t, nil, "sh", "-c", `umask 077; exec make "$@"`, "make", "-C", src, target, "GO=false", "DESTDIR="+root, "PREFIX=/usr", "bindir=/usr/sbin")
	}
	if out, err := at("install"); err == nil {
		t.Errorf("installed what was not built:\n%s", out)
	}
	mustRun(t, nil, "cp", program(t), src+"/sign-file")
	mustRun(t, nil, "cp", "-rT", manual(t), src+"/man/pages")
	others := []string{root + "/usr/share/man/man1/sign-file-other.1", root + "/usr/share/doc/sign-file/other", root + "/usr/share/doc/sign-file/examples/other"}
	for _, path := range others {
		mustRun(t, nil, "install", "-D", "-m", "0644", "/dev/null", path)
	}
	if out, err := at("install"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustRun(t, nil, root+"/usr/sbin/sign-file", "--version")
	for _, path := range []string{"/usr/sbin/kmodsign", "/usr/sbin/extract-cert", "/usr/share/man/man1/sign-file.1",
		"/usr/share/man/man1/extract-cert.1", "/usr/share/bash-completion/completions/kmodsign", "/usr/include/sign_file_gate.h",
		"/usr/share/sign-file/debhelper/sign-modules.mk", "/usr/share/doc/sign-file/packaging/debhelper/sign-modules.mk"} {
		if _, err := os.Stat(root + path); err != nil {
			t.Error(err)
		}
	}
	if hidden := mustRun(t, nil, "find", root, "-mindepth", "1", "!", "-perm", "-0444", "-o", "-type", "d", "!", "-perm", "-0755"); hidden != "" {
		t.Errorf("not everybody can read\n%s", hidden)
	}
	if info, err := os.Stat(root + "/usr/share/sign-file/rpm/brp-sign-modules"); err != nil || info.Mode() != 0o755 {
		t.Errorf("rpmbuild can't run brp-sign-modules: %v", err)
	}
	if conf := readFile(t, root+"/usr/share/sign-file/dkms/sign-file.conf"); !bytes.Contains(conf, []byte("sign_file=/usr/sbin/sign-file\n")) {
		t.Errorf("DKMS would call another program:\n%s", conf)
	}
	testenv.CheckLinks(t, root)
	checkOwnPaths(t, src)
	for _, variable := range []string{"docdir=", "docdir=/usr/share/doc of all", "DESTDIR=" + root + " x"} {
		if out, err := run(t, nil, "make", "-C", src, "uninstall", variable); err == nil {
			t.Errorf("uninstalled with %s:\n%s", variable, out)
		}
	}
	// Another program's by now.
	os.Remove(root + "/usr/sbin/kmodsign")
	writeFile(t, root+"/usr/sbin/kmodsign", "", 0o755)
	others = append(others, root+"/usr/sbin/kmodsign")
	if out, err := at("uninstall"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	left := strings.Fields(mustRun(t, nil, "find", root, "!", "-type", "d"))
	slices.Sort(left)
	slices.Sort(others)
	if !slices.Equal(left, others) {
		t.Errorf("uninstall leaves\n%q, not\n%q", left, others)
	}
	for _, path := range []string{"/usr/share/sign-file", "/usr/share/doc/sign-file/docs", "/usr/share/doc/sign-file/testdata"} {
		if _, err := os.Stat(root + path); err == nil {
			t.Errorf("uninstall leaves %s", path)
		}
	}
}

// checkOwnPaths: installed elsewhere than a package's files, none of the files names a
// package's folders.
func checkOwnPaths(t *testing.T, src string) {
	t.Helper()
	root := t.TempDir()
	mustRun(t, nil, "make", "-C", src, "install", "GO=false", "DESTDIR="+root, "PREFIX=/usr/local")
	if out, _ := run(t, nil, "grep", "-rIE", "/usr/(share/(doc/)?|bin/)sign-file", root); out != "" {
		t.Errorf("these name what is not there:\n%s", out)
	}
	for file, want := range map[string]string{
		"/usr/local/share/doc/sign-file/docs/drivers.md": "cp /usr/local/share/sign-file/dkms/sign-file.conf ",
		"/usr/local/share/doc/sign-file/docs/bpf.md":     "/usr/local/share/doc/sign-file}",
		"/usr/local/share/man/man1/sign-file.1":          "/usr/local/share/doc/sign-file",
	} {
		if !strings.Contains(string(readFile(t, root+file)), want) {
			t.Errorf("%s does not name %s", file, want)
		}
	}
}
