package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// runnable are the documents whose indented lines are all run, block after block, in a folder
// that has what they name.
var runnable = []string{
	"README.md", "docs/secure-boot.md", "docs/drivers.md", "docs/kernel-builder.md", "docs/images.md",
	"docs/distribution.md", "docs/releases.md", "docs/go.md", "docs/map-value.md", "docs/rejected.md",
}

// machine stands for what a test must not do to the machine, or can't: it takes the calls of
// these documents and no others. make builds nothing of this source here: that its target
// exists is checked.
const machine = `#!/bin/bash
set -eu
repo=%REPO%
case ${0##*/} in
uname) [ "$*" = -r ] && echo '%RELEASE%' ;;
mokutil) [ "$1" = --import ] && openssl x509 -inform DER -in "$2" -noout ;;
reboot) ;;
dmesg) echo 'Loading of unsigned module is rejected' ;;
insmod) grep -q 'Module signature appended' "$1" ;;
bpftool) all=$*; [ "$all" != "${all#map update name my_map key hex 00 00 00 00 value hex }" ] && [ $# -eq $((12 + 1024)) ] ;;
docker) [ "$1 $2" = 'build -f' ] && [ -e "$repo/$3" ] ;;
make)
	case "$*" in
	*modules*) PATH=${PATH#*:} exec make "$@" ;;
	*) PATH=${PATH#*:} exec make -n -C "$repo" "$@" ;;
	esac ;;
try.sh) [ -x "$repo/try.sh" ] ;;
esac
`

// TestDocs runs the documents. Lines that begin with $ are followed by what they print.
func TestDocs(t *testing.T) {
	t.Parallel()
	for _, page := range runnable {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			dir, env := sandbox(t, page)
			blocks := indented(string(readFile(t, "../"+page)))
			if len(blocks) == 0 {
				t.Error("nothing to run")
			}
			for _, block := range blocks {
				if strings.HasPrefix(block, "$ ") {
					checkTranscript(t, dir, env, block)
					continue
				}
				if strings.HasPrefix(block, "sign-file verify hello.ko") {
					block = strings.Replace(block, "hello.ko", "hello.ko && exit 1 || true", 1) // it is not signed yet
				}
				if out, err := run(t, env, "bash", "-e", "-o", "pipefail", "-c", `cd "$1"; eval "$2"`, "bash", dir, elsewhere(t, block)); err != nil {
					t.Fatalf("%v\n%s\n%s", err, block, out)
				}
			}
		})
	}
}

// indented are the blocks of lines that are indented by four spaces, and not fenced.
func indented(text string) (blocks []string) {
	var block []string
	fenced := false
	for _, line := range append(strings.Split(text, "\n"), "") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if code, ok := strings.CutPrefix(line, "    "); ok && !fenced {
			block = append(block, code)
			continue
		}
		if len(block) > 0 {
			blocks = append(blocks, strings.Join(block, "\n"))
		}
		block = nil
	}
	return blocks
}

// elsewhere has a block use the sandbox for what belongs to the machine.
func elsewhere(t *testing.T, block string) string {
	t.Helper()
	lines := strings.Split(block, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "build=") {
			continue
		}
		lines[i] = strings.NewReplacer(
			" /lib/modules/", " $PWD/root/lib/modules/",
			"/usr/share/sign-file", absolute(t, "../packaging"),
			" /etc/", " $PWD/etc/",
			"/var/lib/dkms/mok.pub", "cert.x509",
			"./try.sh", "try.sh",
		).Replace(line)
	}
	return strings.Join(lines, "\n")
}

// sandbox makes a folder with what the page names, and the environment to run it in.
func sandbox(t *testing.T, page string) (dir string, env []string) {
	t.Helper()
	bin, release := t.TempDir(), strings.TrimPrefix(filepath.Base(headers(t)), "linux-headers-")
	symlink(t, program(t), bin+"/sign-file")
	stub := strings.NewReplacer("%REPO%", absolute(t, ".."), "%RELEASE%", release).Replace(machine)
	for _, name := range []string{"uname", "mokutil", "reboot", "insmod", "dmesg", "bpftool", "docker", "make", "try.sh"} {
		writeFile(t, bin+"/"+name, stub, 0o755)
	}
	dir = mkdir(t, filepath.Join(t.TempDir(), "dir"))
	env = []string{"HOME=" + bin, "GOFLAGS=", "GOPATH=" + bin + "/go", "PATH=" + bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "INSTALL_MOD_PATH=" + dir + "/root"}
	if page == "docs/kernel-builder.md" {
		dir = copyTree(t, smallKernel(t))
		mustRun(t, nil, "cp", filepath.Dir(smallKernel(t))+"/vmlinux", dir)
		mustRun(t, nil, "cp", filepath.Dir(smallKernel(t))+"/config", dir+"/.config")
		// One block installs where another has.
		return dir, env[:4]
	}
	pair := newKeyPair(t, dir, "-nodes")
	for from, to := range map[string]string{
		pair.key: "key.pem", pair.cert: "cert.x509", "../testdata/value.bin": "data", "../testdata/hello.ko": "hello.ko",
		"../testdata/golden/hello-rsa2048-sha256.ko": "signed.ko", "../testdata/keys/rsa4096.x509": "other.x509",
		"../testdata/vectors/values/p256-sha256": "p256-sha256",
	} {
		mustRun(t, nil, "cp", from, dir+"/"+to)
	}
	mustRun(t, nil, "openssl", "x509", "-inform", "DER", "-in", pair.cert, "-out", dir+"/cert.pem")
	for _, folder := range []string{"tree/lib/modules/6.1", "build/lib/modules/6.1", "image/usr/lib/modules/6.1", "root/lib/modules/" + release + "/updates/dkms", "deb/lib/modules/6.1", "deb/DEBIAN", "etc/dkms/framework.conf.d", "etc/rpm"} {
		mustRun(t, nil, "mkdir", "-p", dir+"/"+folder)
		if strings.Contains(folder, "modules") {
			mustRun(t, nil, "cp", "../testdata/hello.ko", dir+"/"+folder)
		}
	}
	mustRun(t, nil, program(t), "sign", "sha256", pair.key, pair.cert, dir+"/root/lib/modules")
	writeFile(t, dir+"/deb/DEBIAN/control", controlFile, 0o644)
	for _, boot := range []string{"deb/boot", "image/boot"} {
		writeFile(t, mkdir(t, dir+"/"+boot)+"/config-6.1", kernelConfig, 0o644)
	}
	mustRun(t, nil, "dpkg-deb", "-b", "--root-owner-group", dir+"/deb", dir+"/linux-image.deb")
	mustRun(t, nil, "sh", "-c", `cd "$1" && sha256sum data > SHA256SUMS`, "sh", dir)
	switch page {
	case "docs/drivers.md":
		testenv.Tool(t, "gcc")
		writeModules(t, dir, "hello.ko")
		os.Remove(dir + "/hello.ko")
	case "README.md":
		// It makes its own key.
		os.Remove(dir + "/key.pem")
		os.Remove(dir + "/cert.x509")
	case "docs/go.md":
		writeFile(t, dir+"/go.mod", "module example\n\ngo 1.26\n", 0o644)
	case "docs/distribution.md":
		os.RemoveAll(dir + "/tree") // dpkg-deb makes it
	}
	return dir, env
}

// kernelConfig is what verify asks of a kernel's configuration.
const kernelConfig = "# Linux/x86 6.1.100 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_SYSTEM_TRUSTED_KEYRING=y\nCONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\n"

// controlFile is the least that a Debian package has.
const controlFile = "Package: linux-image\nVersion: 1\nArchitecture: amd64\nMaintainer: n <n@example.org>\nDescription: modules\n"

// checkTranscript runs the lines that begin with $, and compares what they print.
func checkTranscript(t *testing.T, dir string, env []string, block string) {
	t.Helper()
	command, want, _ := strings.Cut(strings.TrimPrefix(block, "$ "), "\n")
	out, _ := run(t, env, "bash", "-c", `cd "$1"; eval "$2"`, "bash", dir, command)
	if strings.TrimRight(out, "\n") != strings.TrimRight(want, "\n") {
		t.Errorf("%s prints\n%s\nand the page shows\n%s", command, out, want)
	}
}
