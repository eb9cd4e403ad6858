package kernel

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/internal/compressed"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/test/kernel/vector"
	"sign-file/test/testenv"
	"sign-file/test/vm"
)

// TestDecompress loads compressed modules, signed by the program alone and in the
// kernel's build, into kernels that decompress by themselves what Debian's do not.
func TestDecompress(t *testing.T) {
	for _, format := range []struct{ name, suffix, tool string }{
		{"gzip", ".ko.gz", "gzip"},
		{"zstd", ".ko.zst", "zstd"},
	} {
		t.Run(format.name, func(t *testing.T) {
			kernel := vm.Small(t, format.name)
			testenv.Tool(t, format.tool)
			i := installation{T: t, kernel: kernel, suffix: format.suffix, program: buildProgram(t)}
			b := i.bench()
			i.ask(b)
			b.boot()
		})
	}
}

// installation is a small kernel with what installs its modules.
type installation struct {
	*testing.T
	kernel  vm.Kernel
	suffix  string
	program string
}

func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sign-file")
	command(t, nil, "go", "build", "-o", path, "sign-file")
	return path
}

// bench trusts what is built into the kernel: the key that its build made, and the
// test key rsa2048.
func (i installation) bench() *bench {
	ring := &kernel.Ring{}
	if _, err := trust.Load(ring, i.kernel.ELF()); err != nil {
		i.Fatal(err)
	}
	judge := kernel.NewJudge(rulesOf(i.T, i.kernel.Config()), ring, kernel.Module)
	if !judge.Kernel().Enforce {
		i.Fatal("the kernel loads unsigned modules: it is to have MODULE_SIG_FORCE")
	}
	return &bench{T: i.T, kernel: i.kernel, enforced: judge}
}

// ask puts the modules of each installation to the kernel.
func (i installation) ask(b *bench) {
	certs, signFile := i.kernel.Build()+"/certs/", i.kernel.Build()+"/scripts/sign-file"
	buildKey := keyPair{certs + "signing_key.pem", certs + "signing_key.x509"}
	unsigned, want := i.install(i.program, "CONFIG_MODULE_SIG_ALL="), i.install(signFile)

	kbuild := i.install(i.program)
	i.same("by modules_install", kbuild, want)
	i.load(b, "by modules_install", kbuild, true)
	tool := i.sign(unsigned, os.Getenv("PATH"), buildKey)
	i.same("signed afterwards", tool, want)
	i.load(b, "signed afterwards", tool, true)
	here := i.sign(unsigned, "", buildKey)
	i.differ(here, want)
	i.load(b, "compressed in Go", here, true)

	large := i.changed(unsigned, func(module []byte) []byte { return append(module, noise()...) })
	var trusted modules
	for with, path := range map[string]string{", tool": os.Getenv("PATH"), ", Go": ""} {
		trusted = i.sign(unsigned, path, testPair(i.T, "rsa2048"))
		i.load(b, "trusted"+with, trusted, true)
		i.load(b, "unknown key"+with, i.sign(unsigned, path, testPair(i.T, "rsa3072")), false)
		i.load(b, "large"+with, i.sign(large, path, testPair(i.T, "rsa2048")), true)
	}
	for name, module := range trusted {
		b.loadContainers(i.suffix, i.inside(name, module))
		break
	}
	i.load(b, "unsigned", unsigned, false)
	i.load(b, "flipped", i.changed(kbuild, flip), false)
}

// noise is repeated from farther back than gzip's window reaches, and not zstd's.
func noise() []byte {
	var b [4 << 20]byte
	rand.NewChaCha8([32]byte{}).Read(b[:])
	return append(b[:], b[:]...)
}

// flip changes one bit of what is signed.
func flip(module []byte) []byte {
	module[len(module)/2] ^= 1
	return module
}

// keyPair is two files.
type keyPair struct{ key, cert string }

func testPair(t *testing.T, name string) keyPair {
	t.Helper()
	path, err := filepath.Abs("../../testdata/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{path + ".key", path + ".x509"}
}

// modules are compressed modules by their names.
type modules map[string][]byte

// install returns what make modules_install installs, with a sign-file in the place
// of the kernel's.
func (i installation) install(signFile string, config ...string) modules {
	i.Helper()
	tree, root := i.TempDir(), i.TempDir()
	command(i.T, nil, "cp", "-a", i.kernel.Build()+"/.", tree)
	inPlace := filepath.Join(tree, "scripts/sign-file")
	if err := os.Remove(inPlace); err != nil {
		i.Fatal(err)
	}
	if err := os.Symlink(signFile, inPlace); err != nil {
		i.Fatal(err)
	}
	// Nothing of a make that runs this test, above all not its MAKEFLAGS.
	env := []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	arguments := append([]string{"-C", tree, "-j2", "INSTALL_MOD_PATH=" + root}, config...)
	command(i.T, env, "make", append(arguments, "modules_install")...)
	return i.read(root)
}

// sign returns what the program makes of modules, with the tools that are in path.
func (i installation) sign(unsigned modules, path string, pair keyPair) modules {
	i.Helper()
	dir := i.TempDir()
	for name, data := range unsigned {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			i.Fatal(err)
		}
	}
	command(i.T, []string{"PATH=" + path}, i.program, "sign", "sha256", pair.key, pair.cert, dir)
	return i.read(dir)
}

// read returns all modules below a directory.
func (i installation) read(dir string) modules {
	i.Helper()
	found := modules{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, i.suffix) {
			found[filepath.Base(path)] = read(i.T, path)
		}
		return err
	})
	if err != nil || len(found) != 2 {
		i.Fatalf("%d modules %s in %s, not two: %v", len(found), i.suffix, dir, err)
	}
	return found
}

// same holds modules against what the kernel's sign-file and its build's tool made.
func (i installation) same(what string, got, want modules) {
	i.Helper()
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			i.Errorf("%s, %s has not the bytes of the kernel's build", what, name)
		}
	}
}

// differ makes sure that modules with the same content were not compressed by the tool.
func (i installation) differ(got, want modules) {
	i.Helper()
	for name := range want {
		if bytes.Equal(got[name], want[name]) {
			i.Errorf("the tool compressed %s, though it was not in PATH", name)
		}
		if !bytes.Equal(i.inside(name, got[name]), i.inside(name, want[name])) {
			i.Errorf("compressed in Go, %s has another content", name)
		}
	}
}

// load asks the kernel about modules, and says before what the answer has to be.
func (i installation) load(b *bench, what string, files modules, loads bool) {
	i.Helper()
	for _, name := range sorted(files) {
		v := vector.Vector{Name: what + ": " + name, Kind: vector.Module, Data: files[name], Flags: moduleCompressed}
		t := trial{Vector: v, judge: b.enforced, inside: i.inside(name, files[name])}
		verdict, err := t.foretell()
		if err != nil {
			i.Fatal(err)
		}
		if (verdict.LoadErrno == 0) != loads {
			i.Errorf("%s: keyring says %v", v.Name, verdict.LoadErrno)
		}
		b.trials = append(b.trials, t)
	}
}

// changed returns modules that are compressed again after a change.
func (i installation) changed(files modules, change func([]byte) []byte) modules {
	i.Helper()
	changed := modules{}
	for name, file := range files {
		changed[name] = compress(i.T, change(i.inside(name, file)), i.suffix)
	}
	return changed
}

func (i installation) inside(name string, file []byte) []byte {
	i.Helper()
	format, ok := compressed.Of(name)
	if !ok {
		i.Fatalf("%s is not compressed", name)
	}
	var module bytes.Buffer
	if err := format.Decompress(i.Context(), &module, bytes.NewReader(file)); err != nil {
		i.Fatalf("%s: %v", name, err)
	}
	return module.Bytes()
}

// command runs a program and returns its standard output. Without env it has the test's.
func command(t *testing.T, env []string, name string, arguments ...string) string {
	t.Helper()
	var output, complaint bytes.Buffer
	cmd := exec.Command(testenv.Tool(t, name), arguments...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &output, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, &output, &complaint)
	}
	return output.String()
}
