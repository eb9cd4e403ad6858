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

// packages has the Debian package of each judge. .ci/packages lists them all.
var packages = map[string]string{
	"bpftool":             "bpftool",
	"busybox":             "busybox-static",
	"bzip2":               "bzip2",
	"chattr":              "e2fsprogs",
	"clang":               "clang",
	"clang++":             "clang",
	"debugfs":             "e2fsprogs",
	"depmod":              "kmod",
	"dh":                  "debhelper",
	"dkms":                "dkms",
	"dpkg-buildpackage":   "dpkg-dev",
	"fish":                "fish",
	"g++":                 "g++",
	"gcc":                 "gcc",
	"getfacl":             "acl",
	"getfattr":            "attr",
	"jq":                  "jq",
	"keyctl":              "keyutils",
	"kmod":                "kmod",
	"ldd":                 "libc-bin",
	"libsofthsm2.so":      "softhsm2",
	"lintian":             "lintian",
	"losetup":             "mount",
	"lz4":                 "lz4",
	"make":                "make",
	"man":                 "man-db",
	"mkfs.ext3":           "e2fsprogs",
	"mkfs.ext4":           "e2fsprogs",
	"mmdebstrap":          "mmdebstrap",
	"modinfo":             "kmod",
	"mount":               "mount",
	"openssl":             "openssl",
	"p11-kit":             "p11-kit",
	"pkcs11-tool":         "opensc",
	"prlimit":             "util-linux",
	"qemu-aarch64-static": "qemu-user-static",
	"qemu-x86_64-static":  "qemu-user-static",
	"qemu-system-x86_64":  "qemu-system-x86",
	"rpm":                 "rpm",
	"rpmbuild":            "rpm",
	"setfacl":             "acl",
	"setfattr":            "attr",
	"setpriv":             "util-linux",
	"softhsm2-util":       "softhsm2",
	"strace":              "strace",
	"time":                "time",
	"umount":              "mount",
	"unshare":             "util-linux",
	"xxd":                 "xxd",
	"xz":                  "xz-utils",
	"zsh":                 "zsh",
	"zstd":                "zstd",
}

// Missing ends the test because what it needs is not on this machine: a judge's name,
// or a phrase that names its Debian package as "(package NAME)" or the script that
// makes it. test/run collects these reasons.
func Missing(t testing.TB, what string) {
	t.Helper()
	if name := packages[what]; name != "" {
		what += " (package " + name + ")"
	}
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
func SignFile(t testing.TB) string { t.Helper(); return kbuildTool(t, "scripts/sign-file") }

// ExtractCert is like SignFile, for the kernel's extract-cert.
func ExtractCert(t testing.TB) string { t.Helper(); return kbuildTool(t, "certs/extract-cert") }

func kbuildTool(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/linux-kbuild-*/" + name)
	if len(found) == 0 {
		Missing(t, "the kernel's "+filepath.Base(name)+" (package linux-kbuild-6.1)")
	}
	sort.Strings(found)
	return found[len(found)-1]
}

// newerTools is the variable that names the folder bin which tools/debian-tools made.
const newerTools = "SIGN_FILE_NEWER_TOOLS"

const howToGetNewerTools = "tools/debian-tools DIR trixie,trixie-backports fetches it, and then " + newerTools + "=DIR/bin"

// NewOpenSSL returns the path of an openssl that knows ML-DSA: 3.5 or later. Not
// every Debian has one: even CI fails without it only if the variable promises one.
func NewOpenSSL(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(newerTools); dir != "" {
		return promised(t, dir, "openssl")
	}
	path := Tool(t, "openssl")
	if exec.Command(path, "genpkey", "-algorithm", "ML-DSA-44", "-out", os.DevNull).Run() != nil {
		t.Skipf("OpenSSL 3.5 or later is missing: %s", howToGetNewerTools)
	}
	return path
}

// NewSignFile returns the path of a sign-file of Linux 7.0 or later, linked with an
// OpenSSL that knows ML-DSA.
func NewSignFile(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(newerTools)
	if dir == "" {
		t.Skipf("a sign-file that knows ML-DSA is missing: %s", howToGetNewerTools)
	}
	return promised(t, dir, "sign-file")
}

func promised(t testing.TB, dir, name string) string {
	t.Helper()
	path, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		t.Fatalf("%s promises it: %v", newerTools, err)
	}
	return path
}
