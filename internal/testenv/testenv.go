// Package testenv finds the judges that the tests hold the program against:
// the real sign-file, OpenSSL, kmod, a compiler. A judge that is missing skips
// the test on a contributor's machine and fails it where CI=true, so that a
// green CI run never hides a check that did not happen.
package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
)

// Missing ends the test because what it needs is not on this machine.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing, and CI must have it", what)
	}
	t.Skipf("%s is missing", what)
}

// Tool returns the path of the named program.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// modinfo, depmod and losetup live where a plain user's PATH does not look.
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if path, err = exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path
			}
		}
		Missing(t, name)
	}
	return path
}

// SignFile returns the path of the kernel's own sign-file, the newest that
// Debian's linux-kbuild packages have installed.
func SignFile(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/linux-kbuild-*/scripts/sign-file")
	if len(found) == 0 {
		Missing(t, "the kernel's sign-file (package linux-kbuild-6.1)")
	}
	sort.Strings(found)
	return found[len(found)-1]
}
