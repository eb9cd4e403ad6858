package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// smallKernel is the build tree of a kernel that test/kernel/build.sh has built from Debian's
// source, with the kernel's own scripts/sign-file and certs/extract-cert.
func smallKernel(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("SIGN_FILE_KERNEL_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "sign-file/kernels")
	}
	build := filepath.Join(cache, "small-gzip/build")
	if _, err := os.Stat(build + "/certs/extract-cert"); err != nil {
		testenv.Missing(t, "a kernel's build tree (test/kernel/build.sh gzip)")
	}
	return build
}

// TestModulesInstall: a kernel's own make modules_install makes the same tree, file by file,
// with the program in the place of the kernel's.
func TestModulesInstall(t *testing.T) {
	t.Parallel()
	build := smallKernel(t)
	inTree := keyPair{"certs/signing_key.pem", "certs/signing_key.x509"}
	uncompressed := []string{"CONFIG_MODULE_COMPRESS_ALL=", "CONFIG_MODULE_COMPRESS_GZIP="}

	t.Run("compressed", func(t *testing.T) {
		checkSameInstall(t, modulesInstall(t, build, program(t), inTree, nil), modulesInstall(t, build, "", inTree, nil))
	})
	t.Run("uncompressed", func(t *testing.T) {
		want := modulesInstall(t, build, "", inTree, nil, uncompressed...)
		checkSameInstall(t, modulesInstall(t, build, program(t), inTree, nil, uncompressed...), want)

		// The one call that docs/commands.md has instead.
		root := modulesInstall(t, build, "", inTree, nil, append(uncompressed, "CONFIG_MODULE_SIG_ALL=")...)
		mustRun(t, nil, program(t), "sign", "sha256", build+"/"+inTree.key, build+"/"+inTree.cert, root+"/lib/modules")
		checkSameInstall(t, root, want)
	})
	t.Run("with KBUILD_SIGN_PIN", func(t *testing.T) {
		pair, env := newKeyPair(t, t.TempDir(), "-passout", "pass:"+passphrase), []string{"KBUILD_SIGN_PIN=" + passphrase}
		checkSameInstall(t, modulesInstall(t, build, program(t), pair, env), modulesInstall(t, build, "", pair, env))
	})
	t.Run("with a key on a token", func(t *testing.T) {
		h := newSoftHSM(t)
		h.load("vault", "rsa2048", "01")
		file := keyPair{absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.x509")}
		token := keyPair{"pkcs11:token=vault;object=rsa2048", file.cert}
		// One at a time: two processes at once make SoftHSM 2.6.1 answer CKR_GENERAL_ERROR.
		got := modulesInstall(t, build, program(t), token, append(h.env, "KBUILD_SIGN_PIN="+tokenPIN), "-j1")
		checkSameInstall(t, got, modulesInstall(t, build, "", file, nil))
	})
}

// TestCertsMakefile has the kernel's own certs/Makefile make signing_key.x509 with the program
// in the place of its extract-cert.
func TestCertsMakefile(t *testing.T) {
	t.Parallel()
	build := smallKernel(t)
	extract := func(program string) []byte {
		tree := copyTree(t, build)
		if program != "" {
			replace(t, program, tree+"/certs/extract-cert")
		}
		if err := os.Remove(tree + "/certs/signing_key.x509"); err != nil {
			t.Fatal(err)
		}
		// What scripts/Makefile.build sets before it includes the folder's Makefile.
		writeFile(t, tree+"/wrapper.mk", "src := certs\nobj := certs\nsrctree := .\nobjtree := .\nKconfig := Kconfig\n"+
			"include include/config/auto.conf\ninclude scripts/Kbuild.include\ninclude certs/Makefile\nFORCE:\nPHONY += FORCE\n.PHONY: $(PHONY)\n", 0o644)
		log := mustRun(t, nil, "make", "-C", tree, "-f", "wrapper.mk", "-o", "certs/signing_key.pem", "certs/signing_key.x509")
		if !strings.Contains(log, "certs/extract-cert ") {
			t.Errorf("make does not call extract-cert:\n%s", log)
		}
		if _, err := os.Stat(tree + "/certs/signing_key.x509"); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		return readFile(t, tree+"/certs/signing_key.x509")
	}
	want := extract("")
	if got := extract(program(t)); string(got) != string(want) {
		t.Error("certs/signing_key.x509 is another one")
	}
	if string(want) != string(readFile(t, build+"/certs/signing_key.x509")) {
		t.Error("the build made another certs/signing_key.x509: this test calls no extract-cert")
	}
}

// copyTree copies a build tree, so that it can be changed.
func copyTree(t *testing.T, build string) string {
	t.Helper()
	tree := t.TempDir()
	mustRun(t, nil, "cp", "-a", build+"/.", tree)
	return tree
}

// replace puts a link to the program in a file's place. The name in the link decides what the
// program is.
func replace(t *testing.T, program, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	symlink(t, program, path)
}

// modulesInstall runs the kernel's make modules_install with the program, or with the
// kernel's own if it is empty, and returns where it has installed.
func modulesInstall(t *testing.T, build, program string, pair keyPair, env []string, config ...string) string {
	t.Helper()
	tree, root := copyTree(t, build), t.TempDir()
	if program != "" {
		replace(t, program, tree+"/scripts/sign-file")
	}
	if filepath.IsAbs(pair.cert) {
		mustRun(t, nil, "cp", pair.cert, tree+"/certs/signing_key.x509")
	}
	args := append([]string{"-C", tree, "-j2", "INSTALL_MOD_PATH=" + root, "CONFIG_MODULE_SIG_KEY=" + pair.key}, config...)
	log := mustRun(t, env, "make", append(args, "modules_install")...)
	if found, _ := filepath.Glob(root + "/lib/modules/*/kernel"); len(found) != 1 {
		t.Fatalf("nothing is installed:\n%s", log)
	}
	// A link to the tree that was built.
	links, _ := filepath.Glob(root + "/lib/modules/*/build")
	for _, link := range links {
		os.Remove(link)
	}
	return root
}

// checkSameInstall reports files that are only in one tree, or have other bytes or modes.
func checkSameInstall(t *testing.T, got, want string) {
	t.Helper()
	list := func(root string) string {
		return mustRun(t, nil, "sh", "-c", `cd "$1" && find . -printf '%M %p %l\n' | sort && find . -name '*.ko*' -exec sha256sum {} + | sort`, "sh", root)
	}
	a, b := list(got), list(want)
	if a != b {
		t.Errorf("with ours:\n%swith the kernel's own:\n%s", a, b)
	}
	if n := strings.Count(b, ".ko"); n < 4 {
		t.Errorf("%d modules are installed, want two", n/2)
	}
}
