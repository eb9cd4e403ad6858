// Package packages holds the packages of packaging/build against the tools that install
// them. It takes minutes and root: make test-packages.
package packages

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// run runs a command and ends the test if it fails.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, name), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cloned is a clone of the last commit, in a folder of that name.
func cloned(t *testing.T, folder string) string {
	t.Helper()
	if os.Getenv("SIGN_FILE_TEST_PACKAGES") == "" {
		t.Skip("SIGN_FILE_TEST_PACKAGES is not set: make test-packages")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), folder)
	run(t, "", nil, "git", "-c", "safe.directory=*", "clone", "-q", "--shared", root, clone)
	return clone
}

// built makes the packages of the last commit in a clone, in a folder of that name, and
// returns where they are.
func built(t *testing.T, folder string, env []string, architectures ...string) string {
	t.Helper()
	clone := cloned(t, folder)
	run(t, clone, env, "bash", append([]string{"packaging/build", "dist"}, architectures...)...)
	return filepath.Join(clone, "dist")
}

// only is the one file that the pattern means.
func only(t *testing.T, pattern string) string {
	t.Helper()
	found, _ := filepath.Glob(pattern)
	if len(found) != 1 {
		t.Fatalf("%s: %q", pattern, found)
	}
	return found[0]
}

// TestPackages builds once, for all the judges.
func TestPackages(t *testing.T) {
	dist := built(t, "a", nil)
	t.Run("lintian finds no error", func(t *testing.T) {
		found, _ := filepath.Glob(dist + "/*.deb")
		out := run(t, "", nil, "lintian", append([]string{"--allow-root", "--fail-on", "error"}, found...)...)
		t.Log(out)
	})
	t.Run("the checksums are right", func(t *testing.T) { run(t, dist, nil, "sha256sum", "--quiet", "-c", "SHA256SUMS") })
	t.Run("no link leads nowhere", func(t *testing.T) { checkLinks(t, dist) })
	t.Run("each has what it is made of and all licences", func(t *testing.T) { checkContents(t, dist) })
	t.Run("a clean Debian has nothing left of it", func(t *testing.T) { installDeb(t, dist) })
	t.Run("rpm has nothing left of it", func(t *testing.T) { installRPM(t, dist) })
	t.Run("arm64 signs the same bytes", func(t *testing.T) { runARM64(t, dist) })
	t.Run("Alpine's has no shared library", func(t *testing.T) {
		root := t.TempDir()
		run(t, "", nil, "tar", "--warning=no-unknown-keyword", "-C", root, "-xzf", only(t, dist+"/sign-file-static_*_x86_64.apk"))
		checkSigns(t, "", root+"/usr/bin/sign-file")
		if out := run(t, "", nil, "file", root+"/usr/bin/sign-file"); !strings.Contains(out, "statically linked") {
			t.Error(out)
		}
	})
}

// TestReproducible: another user, with modules elsewhere, nothing in Go's cache and settings
// of his own, makes the same bytes in another folder. What had been built there stays.
func TestReproducible(t *testing.T) {
	first := built(t, "a", nil, "amd64")
	if out := run(t, filepath.Dir(first), nil, "git", "status", "--porcelain", "--ignored"); out != "!! dist/\n" {
		t.Errorf("packaging/build leaves in the source\n%s", out)
	}
	sums := func(dist string) string { return run(t, dist, nil, "cat", "SHA256SUMS") }
	one, other := sums(first), sums(built(t, "somewhere else", anotherUser(t), "amd64"))
	if one != other {
		t.Errorf("one user makes\n%sand another\n%s", one, other)
	}
}

// anotherUser is the environment of somebody who builds for this processor, with the flags
// of a distribution. The modules come from this machine's, and not over the network.
func anotherUser(t *testing.T) []string {
	t.Helper()
	home, where := t.TempDir(), strings.Fields(run(t, "../..", nil, "go", "env", "GOMODCACHE", "GOCACHE"))
	run(t, "", []string{"HOME=" + home, "GOENV="}, "go", "env", "-w", "GOAMD64=v2", "CGO_CFLAGS=-O1", "GOFLAGS=-modcacherw")
	return []string{
		"HOME=" + home, "GOENV=", "GOMODCACHE=" + home + "/modules", "GOPROXY=file://" + where[0] + "/cache/download", "GOSUMDB=off",
		"GOCACHE=" + where[1], "BUILD_GOCACHE=" + home + "/built", "GOFLAGS=-modcacherw", "GOAMD64=v3", "GOEXPERIMENT=nodwarf5",
		"CGO_CFLAGS=-O3 -march=native", "CGO_LDFLAGS=-Wl,-z,now", "CFLAGS=-O3", "LDFLAGS=-Wl,-z,relro", "BUILDMODE=pie", "CC=false",
		"MAKEFLAGS= -- LDFLAGS=-w PREFIX=/opt", "PREFIX=/opt", "bindir=/usr/sbin", "DESTDIR=" + home,
		"TAR_OPTIONS=--mode=0700", "GZIP=-1", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8",
	}
}

// checkLinks unpacks each package of the folder.
func checkLinks(t *testing.T, dist string) {
	for pattern, unpack := range map[string]string{
		"*.deb": `dpkg-deb -x "$1" .`, "*.rpm": `rpm2cpio "$1" | cpio --quiet -idm`,
		"*.apk": `tar --warning=no-unknown-keyword -xzf "$1"`, "*.tar.gz": `tar -xzf "$1"`,
	} {
		found, _ := filepath.Glob(filepath.Join(dist, pattern))
		if len(found) == 0 {
			t.Errorf("no %s", pattern)
		}
		for _, file := range found {
			t.Run(filepath.Base(file), func(t *testing.T) {
				root := t.TempDir()
				run(t, root, nil, "sh", "-c", unpack, "sh", file)
				testenv.CheckLinks(t, root)
			})
		}
	}
}

// TestTarball: the release's source builds without network, git and what Go has cached, and
// what it makes says the version. It makes packages too. SHA256SUMS has it, and nothing of
// another version.
func TestTarball(t *testing.T) {
	clone, dir := cloned(t, "a"), t.TempDir()
	run(t, dir, nil, "touch", "sign-file-0.0.1.tar.gz", "sign-file_0.0.1-1_amd64.deb")
	run(t, clone, nil, "bash", "packaging/tarball", dir)
	run(t, dir, nil, "rm", "sign-file-0.0.1.tar.gz", "sign-file_0.0.1-1_amd64.deb")
	run(t, dir, nil, "sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS")
	again := t.TempDir()
	run(t, clone, nil, "bash", "packaging/tarball", again)
	tarball := only(t, dir+"/*.tar.gz")
	first, _ := os.ReadFile(tarball)
	second, _ := os.ReadFile(only(t, again+"/*.tar.gz"))
	if !bytes.Equal(first, second) {
		t.Error("two tarballs of one commit differ")
	}
	run(t, dir, nil, "tar", "--no-same-owner", "-xf", tarball)
	source := strings.TrimSuffix(tarball, ".tar.gz")
	run(t, source, []string{"GOPROXY=off", "GOFLAGS=", "GOMODCACHE=" + t.TempDir()}, "make")
	run(t, source, []string{"GOFLAGS="}, "make", "lint")
	version := strings.TrimPrefix(filepath.Base(source), "sign-file-")
	if out := run(t, source, nil, source+"/sign-file", "--version"); !strings.Contains(out, version+"\n") {
		t.Errorf("built of %s, it says\n%s", filepath.Base(tarball), out)
	}
	run(t, source, []string{"GOFLAGS="}, "make", "packages", "ARCHS=amd64")
	run(t, dir, nil, "cp", filepath.Base(tarball), source+"/dist")
	run(t, source, nil, "bash", "-c", `GO=go; . packaging/common; sums dist`)
	if sums := run(t, source+"/dist", nil, "cat", "SHA256SUMS"); strings.Count(sums, "\n") != 10 || !strings.Contains(sums, filepath.Base(tarball)) {
		t.Errorf("the checksums of a release for one architecture are\n%s", sums)
	}
}

// TestTarballRefused: an archive would lack what is not committed, and out of an archive there is
// none: both are said.
func TestTarballRefused(t *testing.T) {
	clone := cloned(t, "a")
	refused := func(want string) {
		t.Helper()
		cmd := exec.Command("bash", "packaging/tarball", "dist")
		cmd.Dir = clone
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, and %q is missing in\n%s", err, want, out)
		}
	}
	run(t, clone, nil, "sh", "-c", "echo >> README.md")
	refused("README.md")
	run(t, clone, nil, "sh", "-c", "rm -rf .git && printf '1.0\nabc\n0\n' > .version")
	refused("none that git reads")
}

// debianRules is what the documentation has as all of debian/rules.
func debianRules(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/distribution.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```make\n")
	rules, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/distribution.md has no debian/rules")
	}
	return rules
}

// TestDebhelper: dh, with the compilers' flags that it exports, builds a Debian package of
// the release's source without a network.
func TestDebhelper(t *testing.T) {
	dir := t.TempDir()
	testenv.Tool(t, "dh")
	run(t, cloned(t, "a"), nil, "bash", "packaging/tarball", dir)
	run(t, dir, nil, "tar", "--no-same-owner", "-xf", only(t, dir+"/*.tar.gz"))
	source := strings.TrimSuffix(only(t, dir+"/*.tar.gz"), ".tar.gz")
	for name, content := range map[string]string{
		"control": "Source: sign-file\nMaintainer: n <n@example.org>\nBuild-Depends: debhelper-compat (= 13)\n\n" +
			"Package: sign-file\nArchitecture: any\nDepends: ${shlibs:Depends}\nDescription: signs\n",
		"changelog": "sign-file (1-1) unstable; urgency=low\n\n  * It.\n\n -- n <n@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n",
		"rules":     debianRules(t),
	} {
		path := filepath.Join(source, "debian", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cache := "GOCACHE=" + strings.TrimSpace(run(t, source, nil, "go", "env", "GOCACHE"))
	run(t, source, []string{"GOPROXY=off", "GOFLAGS=", cache}, "dpkg-buildpackage", "-d", "-b", "-us", "-uc")
	root := t.TempDir()
	run(t, "", nil, "dpkg-deb", "-x", only(t, dir+"/sign-file_1-1_*.deb"), root)
	checkSigns(t, "", root+"/usr/bin/sign-file")
	testenv.CheckLinks(t, root)
}

// checkContents looks at the licences and the list of components of each archive.
func checkContents(t *testing.T, dist string) {
	for _, name := range []string{"sign-file", "sign-file-static"} {
		for _, arch := range []string{"amd64", "arm64"} {
			archive := only(t, fmt.Sprintf("%s/%s-[0-9]*-linux-%s.tar.gz", dist, name, arch))
			root := t.TempDir()
			run(t, "", nil, "tar", "-C", root, "--strip-components=1", "-xf", archive)
			doc := filepath.Join(root, "share/doc", name)
			modules := run(t, "", nil, "go", "version", "-m", root+"/bin/sign-file")
			for _, m := range regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(modules, -1) {
				run(t, doc, nil, "grep", "-q", regexp.QuoteMeta(m[1]+"@"+m[2]), "sign-file.cdx.json")
				run(t, doc, nil, "test", "-s", "LICENSES/"+strings.ReplaceAll(m[1], "/", "_")+".txt")
			}
			run(t, doc, nil, "test", "-s", "LICENSES/go.txt")
		}
	}
}

// sbsigntool is a package that has a kmodsign and its manual page, as Debian 14's and
// Ubuntu's have.
const sbsigntool = `Package: sbsigntool
Version: 0.9.4
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: another kmodsign
`

// installDeb installs in a new root, beside another kmodsign, and removes it again.
func installDeb(t *testing.T, dist string) {
	testenv.Tool(t, "mmdebstrap")
	root := filepath.Join(t.TempDir(), "root")
	// From where this machine has its own packages.
	mirrors := strings.Fields(run(t, "", nil, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main", "Codename: bookworm"))
	if len(mirrors) == 0 {
		testenv.Missing(t, "a mirror of Debian 12 among apt's sources")
	}
	run(t, "", nil, "mmdebstrap", "--quiet", "--variant=essential", "bookworm", root, mirrors[0])
	other := t.TempDir()
	const page = "/usr/share/man/man1/kmodsign.1.gz"
	for name, content := range map[string]string{"DEBIAN/control": sbsigntool, "usr/bin/kmodsign": "#!/bin/sh\necho theirs\n", page: "their page\n"} {
		path := filepath.Join(other, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "", nil, "dpkg-deb", "--root-owner-group", "-b", other, root+"/tmp/sbsigntool.deb")
	inside := func(args ...string) string {
		return run(t, "", []string{"LC_ALL=C"}, "chroot", append([]string{root}, args...)...)
	}
	inside("dpkg", "-i", "/tmp/sbsigntool.deb")
	files := func() string {
		return run(t, root, nil, "sh", "-c", "find . -xdev ! -path './var/log/*' ! -path './var/lib/dpkg/*' ! -path './var/cache/*' -printf '%M %u %p %l\n' | sort")
	}
	before := files()
	for _, name := range []string{"sign-file", "sign-file-static"} {
		deb := only(t, dist+"/"+name+"_*_amd64.deb")
		run(t, "", nil, "cp", deb, root+"/tmp/package.deb")
		inside("dpkg", "-i", "/tmp/package.deb")
		checkSigns(t, root, "/usr/bin/sign-file")
		if out := inside("sh", "-c", "kmodsign 2>&1; true"); !strings.Contains(out, "Usage: kmodsign") {
			t.Errorf("kmodsign is not %s's: %s", name, out)
		}
		if out := inside("sh", "-c", "zcat "+page+" 2>/dev/null || cat "+page); out == "their page\n" {
			t.Errorf("the manual page of kmodsign is not %s's", name)
		}
		inside("dpkg", "-i", "/tmp/package.deb") // an upgrade
		inside("dpkg", "-i", "/tmp/sbsigntool.deb")
		inside("dpkg", "--audit")
		inside("dpkg", "-P", name)
		if name == "sign-file" {
			checkForeignDiversion(t, inside)
		}
		run(t, "", nil, "rm", root+"/tmp/package.deb")
		if after := files(); after != before {
			t.Errorf("%s leaves traces:\n%s", name, difference(t, before, after))
		}
		if out := inside("kmodsign"); out != "theirs\n" {
			t.Errorf("the other kmodsign says %q", out)
		}
		if out := inside("cat", page); out != "their page\n" {
			t.Errorf("the other manual page is %q", out)
		}
	}
}

// checkForeignDiversion: a diversion of the administrator's stays, and does not keep the
// package from coming or going.
func checkForeignDiversion(t *testing.T, inside func(args ...string) string) {
	t.Helper()
	inside("dpkg-divert", "--local", "--rename", "--divert", "/usr/bin/kmodsign.mine", "--add", "/usr/bin/kmodsign")
	inside("dpkg", "-r", "sbsigntool")
	inside("dpkg", "-i", "/tmp/package.deb")
	inside("dpkg", "-P", "sign-file")
	inside("dpkg", "-i", "/tmp/sbsigntool.deb")
	if owner := inside("dpkg-divert", "--listpackage", "/usr/bin/kmodsign"); owner != "LOCAL\n" {
		t.Errorf("the administrator's diversion is %q's", owner)
	}
	inside("dpkg-divert", "--rename", "--remove", "/usr/bin/kmodsign")
}

// difference is what diff says.
func difference(t *testing.T, a, b string) string {
	dir := t.TempDir()
	os.WriteFile(dir+"/before", []byte(a), 0o644)
	os.WriteFile(dir+"/after", []byte(b), 0o644)
	out, _ := exec.Command("diff", dir+"/before", dir+"/after").Output()
	return string(out)
}

// installRPM leaves out what the package depends on: this is no Fedora.
func installRPM(t *testing.T, dist string) {
	for _, name := range []string{"sign-file", "sign-file-static"} {
		root := t.TempDir()
		rpm := func(args ...string) {
			run(t, "", nil, "rpm", append([]string{"--root", root, "--dbpath", "/db"}, args...)...)
		}
		rpm("-i", "--nodeps", only(t, dist+"/"+name+"-[0-9]*.x86_64.rpm"))
		rpm("-V", "--nodeps", name)
		checkSigns(t, "", root+"/usr/bin/sign-file")
		rpm("-e", name)
		if left := run(t, root, nil, "find", ".", "!", "-type", "d", "!", "-path", "./db/*"); left != "" {
			t.Errorf("%s leaves\n%s", name, left)
		}
		if left := run(t, root, nil, "find", ".", "-path", "*/doc/*"); left != "" {
			t.Errorf("%s leaves\n%s", name, left)
		}
	}
}

// runARM64 runs both builds emulated, the one with tokens by the loader and on the C library
// of Debian's cross compiler. With qemu's option -L the folder "/" would be another to the program.
func runARM64(t *testing.T, dist string) {
	const library = "/usr/aarch64-linux-gnu/lib"
	for name, loader := range map[string][]string{"sign-file": {library + "/ld-linux-aarch64.so.1", "--library-path", library}, "sign-file-static": nil} {
		root := t.TempDir()
		run(t, "", nil, "dpkg-deb", "-x", only(t, dist+"/"+name+"_*_arm64.deb"), root)
		program := append([]string{testenv.Tool(t, "qemu-aarch64-static")}, loader...)
		checkSigns(t, "", append(program, root+"/usr/bin/sign-file")...)
	}
}

// checkSigns signs a module, below root if there is one, and compares it with what the
// real sign-file made of it.
func checkSigns(t *testing.T, root string, program ...string) {
	t.Helper()
	dir := t.TempDir()
	inside := dir
	if root != "" {
		inside = "/tmp/signs"
		dir = root + inside
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		program = append([]string{"chroot", root}, program...)
	}
	for _, file := range []string{"hello.ko", "keys/rsa2048.key", "keys/rsa2048.x509"} {
		run(t, "", nil, "cp", "../../testdata/"+file, dir)
	}
	call := append(program, "sha256", inside+"/rsa2048.key", inside+"/rsa2048.x509", inside+"/hello.ko")
	run(t, "", nil, call[0], call[1:]...)
	got, err := os.ReadFile(dir + "/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../testdata/golden/hello-rsa2048-sha256.ko")
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s signs other bytes than the real sign-file", strings.Join(program, " "))
	}
	version := append(program, "--version")
	out := run(t, "", nil, version[0], version[1:]...)
	for _, want := range []string{"commit: ", "built with: go", "keys on PKCS#11 tokens: ", "RSA engine: "} {
		if !strings.Contains(out, want) {
			t.Errorf("--version does not say %q:\n%s", want, out)
		}
	}
}
