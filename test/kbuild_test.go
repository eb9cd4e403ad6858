package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// Two modules: with -j the kernel's build signs them at the same time.
var modules = []string{"hello.ko", "world.ko"}

// moduleSource is the least that modpost takes for a module.
const moduleSource = `#include <linux/module.h>

static int __init %[1]s_init(void)
{
	return 0;
}

static void __exit %[1]s_exit(void)
{
}

module_init(%[1]s_init);
module_exit(%[1]s_exit);
MODULE_DESCRIPTION("a module to be signed");
MODULE_LICENSE("GPL");
`

// TestKbuild puts the program at scripts/sign-file of a kernel's build tree and
// installs modules that are built outside that tree.
func TestKbuild(t *testing.T) {
	t.Parallel()
	built := buildModules(t)
	plain := newKeyPair(t, t.TempDir(), "-nodes")

	for _, hash := range []string{"sha256", "sha512"} {
		t.Run("signs as the real sign-file does with "+hash, func(t *testing.T) {
			installed, log := installModules(t, headersTree(t, program(t), plain), built, nil, "CONFIG_MODULE_SIG_HASH="+hash)
			for _, name := range modules {
				module := filepath.Join(installed, name)
				checkCalled(t, log, hash, module)
				checkSigned(t, module, filepath.Join(built, name), hash, plain)
				if got := modinfo(t, "signer", module); got != signer {
					t.Errorf("modinfo's signer of %s is %q, not %q", name, got, signer)
				}
				if got := modinfo(t, "sig_hashalgo", module); got != hash {
					t.Errorf("modinfo's sig_hashalgo of %s is %q, not %q", name, got, hash)
				}
			}
			checkNames(t, installed, modules...)
		})
	}

	// The signature is made before the compression and must survive it.
	t.Run("signs what xz then compresses", func(t *testing.T) {
		testenv.Tool(t, "xz")
		installed, _ := installModules(t, headersTree(t, program(t), plain), built, nil,
			"CONFIG_MODULE_SIG_HASH=sha256", "CONFIG_MODULE_COMPRESS_ALL=y", "CONFIG_MODULE_COMPRESS_XZ=y")
		checkNames(t, installed, modules[0]+".xz", modules[1]+".xz")
		for _, name := range modules {
			module := filepath.Join(installed, name)
			mustRun(t, nil, "xz", "-d", module+".xz")
			checkSigned(t, module, filepath.Join(built, name), "sha256", plain)
		}
	})

	// kata-containers installs its modules this way. make has to hand the PIN down.
	t.Run("takes the passphrase of the key from KBUILD_SIGN_PIN", func(t *testing.T) {
		pair := newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase)
		env := []string{"KBUILD_SIGN_PIN=" + passphrase}
		installed, _ := installModules(t, headersTree(t, program(t), pair), built, env, "CONFIG_MODULE_SIG_HASH=sha256")
		for _, name := range modules {
			checkSigned(t, filepath.Join(installed, name), filepath.Join(built, name), "sha256", pair, env...)
		}
	})

	// Makefile.modinst says "Don't stop modules_install even if we can't sign external
	// modules": what is left must be the module as it was built.
	t.Run("leaves the module whole where the key is missing", func(t *testing.T) {
		missing := keyPair{filepath.Join(t.TempDir(), "signing_key.pem"), plain.cert}
		installed, log := installModules(t, headersTree(t, program(t), missing), built, nil, "CONFIG_MODULE_SIG_HASH=sha256")
		checkMessage(t, log, "certs/signing_key.pem")
		checkUnsigned(t, installed, built)
	})

	// Were the system's sign-file called in any of these tests, all of the above would
	// pass without our program. With a program that fails there must be no signature.
	t.Run("comes from the private tree", func(t *testing.T) {
		tree := headersTree(t, testenv.Tool(t, "false"), plain)
		installed, log := installModules(t, tree, built, nil, "CONFIG_MODULE_SIG_HASH=sha256")
		checkCalled(t, log, "sha256", filepath.Join(installed, modules[0]))
		checkUnsigned(t, installed, built)
	})
}

// buildModules builds the modules and returns their folder.
func buildModules(t *testing.T) string {
	t.Helper()
	testenv.Tool(t, "gcc")
	tree := headersTree(t, program(t), keyPair{})
	dir := t.TempDir()
	writeModules(t, dir, modules...)
	mustRun(t, nil, "make", "-C", tree, "M="+dir, "modules")
	return dir
}

// writeModules writes the sources of the modules and the Makefile that names them.
func writeModules(t *testing.T, dir string, modules ...string) {
	t.Helper()
	makefile := "obj-m :="
	for _, module := range modules {
		name := strings.TrimSuffix(module, ".ko")
		makefile += " " + name + ".o"
		writeFile(t, filepath.Join(dir, name+".c"), fmt.Sprintf(moduleSource, name), 0o644)
	}
	writeFile(t, filepath.Join(dir, "Makefile"), makefile+"\n", 0o644)
}

// installModules runs modules_install and returns the folder of the installed modules
// and the log. Configuration given to make wins over the tree's auto.conf, in every
// make below it; of two values for one name the last wins. Debian's 6.1 compresses no
// modules, its 6.12 does: here they are as they were signed, if config says nothing.
func installModules(t *testing.T, tree, built string, env []string, config ...string) (dir, log string) {
	t.Helper()
	root := t.TempDir()
	args := []string{"-C", tree, "-j4", "V=1", "M=" + built, "INSTALL_MOD_PATH=" + root,
		"CONFIG_MODULE_SIG=y", "CONFIG_MODULE_SIG_ALL=y", "CONFIG_MODULE_SIG_KEY=certs/signing_key.pem",
		"CONFIG_MODULE_COMPRESS_GZIP=", "CONFIG_MODULE_COMPRESS_XZ=", "CONFIG_MODULE_COMPRESS_ZSTD="}
	log = mustRun(t, env, "make", append(append(args, config...), "modules_install")...)
	// lib/modules/<release>/extra, and updates since Linux 6.2.
	found, _ := filepath.Glob(filepath.Join(root, "lib/modules/*/*/hello.ko*"))
	if len(found) == 0 {
		t.Fatalf("nothing is installed:\n%s", log)
	}
	return filepath.Dir(found[0]), log
}

// headers returns a build tree of Debian's linux-headers packages, the last by name.
// The part that all flavours share (linux-headers-*-common) has no auto.conf.
func headers(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/src/linux-headers-*/include/config/auto.conf")
	if len(found) == 0 {
		testenv.Missing(t, "a kernel's build tree (package linux-headers-amd64)")
	}
	return strings.TrimSuffix(slices.Max(found), "/include/config/auto.conf")
}

// headersTree is a build tree whose scripts/sign-file is the given program and whose
// certs hold the key pair, all else being links to the system's tree: scripts is a
// folder of links, for Debian's own is one link into /usr/lib/linux-kbuild-*.
// A build outside the tree writes nothing into it. Makefile.modinst calls
// "scripts/sign-file" from the build tree (-C), while the other scripts are read where
// the source is: Debian's Makefile includes /usr/src/linux-headers-*-common/Makefile
// by its full name.
func headersTree(t *testing.T, program string, pair keyPair) string {
	t.Helper()
	headers, tree := headers(t), t.TempDir()
	linkAll(t, headers, tree, "scripts")
	linkAll(t, filepath.Join(headers, "scripts"), mkdir(t, filepath.Join(tree, "scripts")), "sign-file")
	symlink(t, program, filepath.Join(tree, "scripts/sign-file"))
	certs := mkdir(t, filepath.Join(tree, "certs"))
	symlink(t, pair.key, filepath.Join(certs, "signing_key.pem"))
	symlink(t, pair.cert, filepath.Join(certs, "signing_key.x509"))
	return tree
}

// linkAll makes links in the folder to of all that is in from, but for one name.
func linkAll(t *testing.T, from, to, except string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != except {
			symlink(t, filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()))
		}
	}
}

// symlink links name to target; an empty target makes no link.
func symlink(t *testing.T, target, name string) {
	t.Helper()
	if target == "" {
		return
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// checkCalled reports a log without the call of sign-file. It is Makefile.modinst's
// cmd_sign: always four operands, the key quoted because of the ; in a PKCS#11 URI.
// Whether the paths are relative differs between kernels.
func checkCalled(t *testing.T, log, hash, module string) {
	t.Helper()
	call := regexp.MustCompile(`scripts/sign-file ` + hash +
		` "\S*certs/signing_key\.pem" \S*certs/signing_key\.x509 ` + regexp.QuoteMeta(module) + `\s`)
	if !call.MatchString(log) {
		t.Errorf("the log does not show %s:\n%s", call, log)
	}
}

// checkUnsigned reports what is not exactly the modules as they were built.
func checkUnsigned(t *testing.T, installed, built string) {
	t.Helper()
	for _, name := range modules {
		checkSameBytes(t, filepath.Join(installed, name), filepath.Join(built, name))
	}
	checkNames(t, installed, modules...)
}

// checkNames reports a folder that has not exactly these files, in order: a module
// that is gone, or a temporary file that stayed.
func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has %q, not %q", dir, got, want)
	}
}
