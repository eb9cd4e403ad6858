package test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/test/testenv"
)

// Links that somebody planted in a tree, or where the output of one goes, lead nowhere.
func TestPlantedLinks(t *testing.T) {
	for name, c := range map[string]struct {
		link  string // relative to the folder
		to    string
		flags string
		named string
	}{
		"a message":            {"tree/m.ko.p7s", "../victim", "sign -d", "tree/m.ko.p7s"},
		"a message, dangling":  {"tree/m.ko.p7s", "../made", "sign -d", "tree/m.ko.p7s"},
		"an output":            {"out/m.ko", "../victim", "sign --output-dir out", "out/m.ko"},
		"an output, dangling":  {"out/m.ko", "../made", "sign --output-dir out", "out/m.ko"},
		"an output's message":  {"out/m.ko.p7s", "../victim", "sign -d --output-dir out", "out/m.ko.p7s"},
		"a folder of outputs":  {"out/sub", "../elsewhere", "sign --output-dir out", "out/sub"},
		"a folder, dangling":   {"out/sub", "../made", "sign --output-dir out", "out/sub"},
		"a folder of messages": {"out/sub", "../elsewhere", "sign -d --output-dir out", "out/sub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t, t.TempDir(), 5000)
			for _, dir := range []string{"tree/sub", "out", "elsewhere"} {
				mkdir(t, w.path(dir))
			}
			for _, module := range []string{"tree/m.ko", "tree/sub/n.ko"} {
				writeFile(t, w.path(module), string(w.module), 0o644)
			}
			writeFile(t, w.path("victim"), "not to be touched", 0o644)
			symlinkTo(t, c.to, w.path(c.link))
			args := strings.Fields(c.flags)
			out, err := w.program(append(args, "sha256", w.key(), w.cert(), "tree")...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, c.named) {
				t.Errorf("%v, want exit status 1 and an error that names %s\n%s", err, c.named, out)
			}
			w.holds("victim", []byte("not to be touched"))
			if found, _ := os.ReadDir(w.path("elsewhere")); len(found) > 0 {
				t.Errorf("elsewhere has %v now", found)
			}
			if _, err := os.Lstat(w.path("made")); err == nil {
				t.Error("what the link named was made")
			}
			if to, err := os.Readlink(w.path(c.link)); err != nil || to != c.to {
				t.Errorf("the link leads to %q now, %v", to, err)
			}
		})
	}
}

// <module>.p7s is a name that nobody gave: the classic face follows a link of the user's
// own there, as sign-file does, and no other.
func TestForeignMessageLink(t *testing.T) {
	for _, flags := range []string{"-d", "-p"} {
		a := newAmbush(t)
		writeFile(t, a.path("victim"), "not to be touched", 0o644)
		symlinkTo(t, "victim", a.path("m.ko.p7s"))
		if err := os.Lchown(a.path("m.ko.p7s"), stranger, stranger); err != nil {
			t.Fatal(err)
		}
		a.unchanged("m.ko.p7s", flags, "m.ko")
	}
}

// A stranger's link leads to a file that others can't read: nor can they read the copy.
func TestForeignLinkStaysHidden(t *testing.T) {
	a := newAmbush(t)
	secret := filepath.Join(filepath.Dir(a.setID), "secret")
	writeFile(t, secret, "not for everybody", 0o640)
	if err := errors.Join(os.Remove(a.path("m.ko")), os.Symlink(secret, a.path("m.ko")), os.Lchown(a.path("m.ko"), stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	if out, err := a.sign("", "m.ko", "out.ko"); err != nil {
		t.Fatal(err, out)
	}
	if info, err := os.Stat(a.path("out.ko")); err != nil || info.Mode()&0o007 != 0 {
		t.Errorf("out.ko is %v, %v", info.Mode(), err)
	}
}

// verify of a directory looks at what depmod finds in it, through links too.
func TestVerifyFollowsLinks(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	verify := func() (string, error) {
		return w.program("verify", "--kernel", "6.12", "--trusted", w.cert(), "tree")
	}
	mkdir(t, w.path("tree"))
	writeFile(t, w.path("tree/good.ko"), string(w.signed), 0o644)
	symlinkTo(t, "..", w.path("tree/build"))  // to the kernel's sources
	symlinkTo(t, ".", w.path("tree/forever")) // and to where it is
	if out, err := verify(); err != nil || strings.Count(out, "verified") != 1 {
		t.Fatalf("%v %s", err, out)
	}
	symlinkTo(t, "../m.ko", w.path("tree/link.ko"))
	wantExit(t, 1, "tree/link.ko: refused", verify)
	os.Remove(w.path("tree/link.ko"))

	mkdir(t, w.path("other"))
	writeFile(t, w.path("other/bad.ko"), string(w.module), 0o644)
	symlinkTo(t, "../other", w.path("tree/linked"))
	wantExit(t, 1, "tree/linked/bad.ko: refused", verify)
	os.Remove(w.path("tree/linked"))

	symlinkTo(t, "nowhere.ko", w.path("tree/link.ko"))
	wantExit(t, 3, "tree/link.ko: ", verify)
}

// A few links make more ways through a tree than anybody can go.
func TestManyWays(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	for i := range 40 {
		mkdir(t, w.path(fmt.Sprintf("d%d", i)))
		for _, name := range []string{"a", "b"} {
			symlinkTo(t, fmt.Sprintf("../d%d", i+1), w.path(fmt.Sprintf("d%d/%s", i, name)))
		}
	}
	mkdir(t, w.path("d40"))
	writeFile(t, w.path("d40/good.ko"), string(w.signed), 0o644)
	out, err := run(t, nil, "timeout", "30", program(t), "verify", "--kernel", "6.12", "--trusted", w.cert(), w.path("d0"))
	if err != nil || strings.Count(out, "verified") != 1 {
		t.Errorf("%v %s", err, out)
	}
}

// Where a file can't be made without a name, as without /proc, it has a hidden one until
// it gets its own: one that must be free, or one that is replaced.
func TestNamedTemporaryFile(t *testing.T) {
	needRoot(t)
	w := newWorkshop(t, t.TempDir(), 5000)
	w.withoutProc(true, "sha256", w.key(), w.cert(), "m.ko", "out.ko")
	w.holds("out.ko", w.signed)
	w.withoutProc(true, "-d", "sha256", w.key(), w.cert(), "m.ko")
	w.withoutProc(true, "-p", "sha256", w.key(), w.cert(), "m.ko", "out.ko")
	w.holds("out.ko", w.signed)
	w.withoutProc(true, "sha256", w.key(), w.cert(), "m.ko")
	w.holds("m.ko", w.signed)
	w.withoutProc(true, "keygen", "--type", "ec:p256", "key.pem")
	key := readFile(t, w.path("key.pem"))
	w.withoutProc(false, "keygen", "--type", "ec:p256", "key.pem")
	w.holds("key.pem", key)
	w.withoutProc(true, "keygen", "--type", "ec:p256", "--force", "key.pem")
	w.only("m.ko", "m.ko.p7s", "out.ko", "key.pem")
}

// withoutProc runs the program where nothing is mounted at /proc.
func (w *workshop) withoutProc(works bool, args ...string) {
	w.Helper()
	out, err := run(w.T, nil, "unshare", append([]string{"-m", "sh", "-c", `umount -l /proc && cd "$0" && exec "$@"`, w.dir, program(w.T)}, args...)...)
	if (err == nil) != works {
		w.Errorf("%q: %v %s", args, err, out)
	}
}

func wantExit(t *testing.T, exit int, says string, run func() (string, error)) {
	t.Helper()
	out, err := run()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != exit || !strings.Contains(out, says) {
		t.Errorf("%v, want exit status %d and %q\n%s", err, exit, says, out)
	}
}

// In a folder that may only be appended to, nothing is left that can't be taken away.
func TestAppendOnlyFolder(t *testing.T) {
	needRoot(t)
	w := newWorkshop(t, t.TempDir(), 5000)
	writeFile(t, w.path("key.pem"), "an old key", 0o600)
	writeFile(t, w.path("s.ko"), string(w.signed), 0o644)
	value := w.path("value")
	_, message, _ := cut(w.signed)
	writeFile(t, value, string(message[len(message)-256:]), 0o644)
	before := snapshot(t, w.dir, nil)
	if out, err := run(t, nil, "chattr", "+a", w.dir); err != nil {
		testenv.Missing(t, "a filesystem with append-only folders: "+out)
	}
	defer run(t, nil, "chattr", "-a", w.dir)
	for _, args := range [][]string{
		{"sha256", w.key(), w.cert(), "m.ko"},
		{"-p", "sha256", w.key(), w.cert(), "m.ko"},
		{"sign", "sha256", w.key(), w.cert(), "."},
		{"sign", "--sync", "sha256", w.key(), w.cert(), "m.ko"},
		{"strip", "s.ko"},
		{"attach", "--hash", "sha256", "--cert", w.cert(), "--signature", value, "m.ko"},
		{"keygen", "--type", "ec:p256", "--force", "key.pem"},
		{"extract", "--data", "s.ko", "m.ko"},
	} {
		out, err := w.program(args...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "chattr +a") {
			t.Errorf("%q: %v, want exit status 1 and the reason\n%s", args, err, out)
		}
	}
	after := snapshot(t, w.dir, nil)
	delete(after, "m.ko.p7s") // -p may make a new file before it fails
	for name := range after {
		if after[name] != before[name] {
			t.Errorf("%s: before %v, after %v", name, before[name], after[name])
		}
	}
}

// A compressor that ends with success and wrote nothing, or something else: the module
// is there only once.
func TestLyingCompressor(t *testing.T) {
	keys := newWorkshop(t, t.TempDir(), 1)
	lies := map[string]string{
		"nothing":       "exit 0",
		"text":          "cat >/dev/null; echo done",
		"half":          `"$REAL" "$@" | head -c 200`,
		"another":       `cat >/dev/null; printf other | "$REAL" "$@"`,
		"the input":     "cat",
		"with more":     `"$REAL" "$@"; printf more | "$REAL" "$@"`,
		"not the input": `head -c 100 | "$REAL" "$@"`,
	}
	for suffix, tool := range map[string][]string{"xz": {"xz", "--check=crc32"}, "zst": {"zstd", "-q"}, "gz": {"gzip", "-n"}} {
		name := "m.ko." + suffix
		for lie, script := range lies {
			for verb, args := range map[string][]string{
				"sign":   {"sign", "--replace", "sha256", keys.key(), keys.cert(), name},
				"strip":  {"strip", name},
				"attach": {"attach", "--hash", "sha256", "--cert", keys.cert(), "--signature", "value", name},
			} {
				t.Run(suffix+" "+lie+" "+verb, func(t *testing.T) {
					w := newWorkshop(t, t.TempDir(), 5000)
					content := w.module
					if verb == "strip" {
						content = w.signed
					}
					_, message, _ := cut(w.signed)
					writeFile(t, w.path("value"), string(message[len(message)-256:]), 0o644)
					writeFile(t, w.path("plain"), string(content), 0o644)
					packed := mustRun(t, nil, "sh", "-c", strings.Join(tool, " ")+" -c <"+w.path("plain"))
					writeFile(t, w.path(name), packed, 0o644)
					mkdir(t, w.path("bin"))
					real, err := exec.LookPath(tool[0])
					if err != nil {
						testenv.Missing(t, tool[0])
					}
					writeFile(t, w.path("bin/"+tool[0]), "#!/bin/sh\nREAL="+real+"\n"+script+"\n", 0o755)
					out, err := run(t, []string{"PATH=" + w.path("bin") + ":" + os.Getenv("PATH")}, "env", append([]string{"-C", w.dir, program(t)}, args...)...)
					w.fails(out, err, name)
					w.holds(name, []byte(packed))
				})
			}
		}
	}
}

// What the environment says to compressors is said to others.
func TestCompressorEnvironment(t *testing.T) {
	for _, variable := range []string{"XZ_OPT=--version", "XZ_DEFAULTS=--format=raw --lzma1", "XZ_OPT=--check=crc64", "GZIP=--version", "ZSTD_CLEVEL=22", "ZSTD_NBTHREADS=200"} {
		w := newWorkshop(t, t.TempDir(), 5000)
		for suffix, tool := range map[string]string{"xz": "xz --check=crc32 --lzma2=dict=1MiB", "zst": "zstd -T0 -q", "gz": "gzip -n"} {
			writeFile(t, w.path("signed"), string(w.signed), 0o644)
			want := mustRun(t, nil, "sh", "-c", tool+" -c <"+w.path("signed"))
			name := "m.ko." + suffix
			writeFile(t, w.path(name), mustRun(t, nil, "sh", "-c", tool+" -c <"+w.path("m.ko")), 0o644)
			out, err := run(t, []string{variable}, program(t), "sign", "sha256", w.key(), w.cert(), w.path(name))
			if err != nil {
				t.Errorf("%s, %s: %v %s", variable, name, err, out)
			}
			if suffix == "zst" {
				continue // a size that is known is written, which the shell's pipe has not
			}
			w.holds(name, []byte(want))
		}
	}
}

// attach and digest see the content of a compressed module.
func TestCompressedVerbs(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	_, message, _ := cut(w.signed)
	writeFile(t, w.path("value"), string(message[len(message)-256:]), 0o644)
	for suffix, tool := range map[string]string{"xz": "xz --check=crc32 --lzma2=dict=1MiB", "zst": "zstd -q", "gz": "gzip -n"} {
		name := "m.ko." + suffix
		writeFile(t, w.path(name), mustRun(t, nil, "sh", "-c", tool+" -c <"+w.path("m.ko")), 0o644)
		sum := mustRun(t, nil, program(t), "digest", "--format", "hex", "sha256", w.path(name))
		if want := fmt.Sprintf("%x\n", sha256.Sum256(w.module)); sum != want {
			t.Errorf("digest of %s: %s, want %s", name, sum, want)
		}
		mustRun(t, nil, program(t), "attach", "--hash", "sha256", "--cert", w.cert(), "--signature", w.path("value"), w.path(name))
		if got := mustRun(t, nil, "sh", "-c", strings.Fields(tool)[0]+" -dc <"+w.path(name)); got != string(w.signed) {
			t.Errorf("%s: decompressed, it is not the signed module: %d bytes", name, len(got))
		}
	}
}

// TestFewestDescriptors: one module in place, with fewer files than the runtime would like
// to open for itself.
func TestFewestDescriptors(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	for n := 5; n <= 12; n++ {
		writeFile(t, w.path("m.ko"), string(w.module), 0o644)
		out, err := run(t, nil, "prlimit", fmt.Sprintf("--nofile=%d", n), program(t), "sha256", w.key(), w.cert(), w.path("m.ko"))
		switch got := readFile(t, w.path("m.ko")); {
		case err == nil && string(got) == string(w.signed):
		case err != nil && string(got) == string(w.module) && strings.Contains(out, "ulimit -n") && strings.Count(out, "\n") == 1:
		default:
			t.Errorf("%d descriptors: %d bytes, %v, %s", n, len(got), err, out)
		}
	}
}

// TestNoDescriptors: no command ends in the runtime's words, whose exit code would be that of a
// wrong command line.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, t.TempDir(), 5000)
	for n := 3; n <= 12; n++ {
		for _, command := range []string{"keygen --force --type ec:p256 @k", "sign --replace KEY @m.ko", "sign --replace KEY @", "verify --kernel 6.12 --trusted @k @m.ko", "inspect @m.ko", "strip @m.ko",
			"sha256 exec:/bin/true " + w.cert() + " @m.ko @d", "digest --format json sha256 @", "map sign KEY @m.ko @v", "--version", "completion bash", "extract @m.ko @x"} {
			args := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(command, "KEY", "sha256 "+w.key()+" "+w.cert()), "@", w.path("")+"/"))
			out, err := run(t, nil, "prlimit", append([]string{fmt.Sprintf("--nofile=%d", n), program(t)}, args...)...)
			if strings.Contains(out, "goroutine") || strings.Contains(out, "runtime") {
				t.Errorf("%d descriptors, %s: %v\n%.200s", n, command, err, out)
			}
		}
	}
}

// Too few descriptors for a compressor: a clear message, and the module as it was, or
// signed.
func TestFewDescriptors(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	packed := mustRun(t, nil, "sh", "-c", "xz --check=crc32 --lzma2=dict=1MiB -c <"+w.path("m.ko"))
	writeFile(t, w.path("signed"), string(w.signed), 0o644)
	signed := mustRun(t, nil, "sh", "-c", "xz --check=crc32 --lzma2=dict=1MiB -c <"+w.path("signed"))
	for n := 8; n <= 24; n++ {
		writeFile(t, w.path("m.ko.xz"), packed, 0o644)
		out, err := run(t, nil, "prlimit", fmt.Sprintf("--nofile=%d", n), program(t), "sign", "sha256", w.key(), w.cert(), w.path("m.ko.xz"))
		got := readFile(t, w.path("m.ko.xz"))
		switch {
		case err == nil && string(got) != signed:
			t.Errorf("%d descriptors: success, and %d bytes that are not the signed module", n, len(got))
		case err != nil && (string(got) != packed || !strings.Contains(out, "too many open files") && !strings.Contains(out, "ulimit -n")):
			t.Errorf("%d descriptors: %d bytes, %s", n, len(got), out)
		}
		w.only("m.ko", "m.ko.xz", "signed")
	}
}

// No kernel reads a message above 65535 bytes, which a certificate with a long name makes.
func TestLongMessage(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	config := "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n"
	for i := range 1000 {
		config += fmt.Sprintf("%d.OU=%060d\n", i, i)
	}
	writeFile(t, w.path("config"), config, 0o644)
	mustRun(t, nil, "openssl", "req", "-new", "-x509", "-key", w.key(), "-config", w.path("config"), "-out", w.path("long.pem"))
	for _, args := range [][]string{
		{"sha256", w.key(), "long.pem", "m.ko"}, {"-d", "sha256", w.key(), "long.pem", "m.ko"},
		{"sign", "sha256", w.key(), "long.pem", "m.ko"}, {"map", "sign", "sha256", w.key(), "long.pem", "m.ko", "value"},
	} {
		out, err := w.program(args...)
		w.fails(out, err, "m.ko")
		if !strings.Contains(out, "65535") {
			t.Errorf("%q: %s", args, out)
		}
		w.holds("m.ko", w.module)
		w.only("m.ko", "config", "long.pem")
	}
}

// A hole of a sparse module stays one, also at its end.
func TestSparse(t *testing.T) {
	const size = 8 << 20
	for name, at := range map[string]int64{"in the middle": size - 5, "at the end": 0, "odd": 12345} {
		w := newWorkshop(t, t.TempDir(), 5000)
		f, err := os.Create(w.path("sparse.ko"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("\x7fELF"), at); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
		before := blocks(t, w.path("sparse.ko"))
		if before > 1000 {
			testenv.Missing(t, "a filesystem with holes")
		}
		judged := w.path("judged.ko")
		mustRun(t, nil, testenv.SignFile(t), "sha256", w.key(), w.cert(), w.path("sparse.ko"), judged)
		content := readFile(t, w.path("sparse.ko"))
		for _, args := range [][]string{{"sha256", w.key(), w.cert(), "sparse.ko"}, {"strip", "sparse.ko"}, {"sign", "sha256", w.key(), w.cert(), "sparse.ko"}} {
			if out, err := w.program(args...); err != nil {
				t.Fatal(err, out)
			}
			want := readFile(t, judged)
			if args[0] == "strip" {
				want = content
			}
			w.holds("sparse.ko", want)
			if after := blocks(t, w.path("sparse.ko")); after > before+16 {
				t.Errorf("%s, %q: %d blocks, and it had %d", name, args[0], after, before)
			}
		}
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks
}

// A FIFO or a device in the module's place is not waited for.
func TestNoModule(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	mkdir(t, w.path("tree"))
	if err := unix.Mkfifo(w.path("tree/m.ko"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"sign", "sha256", w.key(), w.cert(), "tree"}, {"strip", "tree/m.ko"}, {"inspect", "tree/m.ko"}, {"digest", "sha256", "tree/m.ko"},
		{"verify", "--kernel", "6.12", "--trusted", w.cert(), "tree"},
	} {
		out, err := run(t, nil, "timeout", append([]string{"20", "env", "-C", w.dir, program(t)}, args...)...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 124 || !bytes.Contains([]byte(out), []byte("not a regular file")) {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	if info, err := os.Lstat(w.path("tree/m.ko")); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// TestLinksAreNamed: a tree of which nothing was signed is no success, and who links to a
// module is told that it was not followed.
func TestLinksAreNamed(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	farm := mkdir(t, w.path("farm"))
	symlink(t, "../m.ko", filepath.Join(farm, "m.ko"))
	writeFile(t, w.path("empty"), "", 0o644)
	key := []string{"sign", "sha256", w.key(), w.cert()}
	for what, args := range map[string][]string{"links alone": {"farm"}, "an empty list": {"--from", "empty"}, "--from /dev/null": {"--from", "/dev/null"}} {
		if out, err := w.program(append(key, args...)...); err == nil || !strings.Contains(out, "nothing was signed") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if out, err := w.program(append(append(key, "--allow-empty"), args...)...); err != nil {
			t.Errorf("%s, --allow-empty: %v\n%s", what, err, out)
		}
	}
	out, err := w.program(append(key, "--json", "farm", "m.ko")...)
	if err != nil || !strings.Contains(out, "farm/m.ko: is a link") || !strings.Contains(out, `{"file":"farm/m.ko","result":"link"}`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSignedOutside: the classic face signs what it is given, says what that is worth for a
// compressed module, and the advice brings the module back.
func TestSignedOutside(t *testing.T) {
	w := newWorkshop(t, t.TempDir(), 5000)
	packed := mustRun(t, nil, "sh", "-c", "xz --check=crc32 -c <"+w.path("m.ko"))
	writeFile(t, w.path("m.ko.xz"), packed, 0o644)
	out := mustRun(t, nil, program(t), "sha256", w.key(), w.cert(), w.path("m.ko.xz"))
	if !strings.Contains(out, "sign-file sign signs what is inside") {
		t.Errorf("no warning: %s", out)
	}
	out, err := w.program("strip", "m.ko.xz")
	command := regexp.MustCompile(`truncate -s \d+`).FindString(out)
	if err == nil || command == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	mustRun(t, nil, "sh", "-c", command+" "+w.path("m.ko.xz"))
	if string(readFile(t, w.path("m.ko.xz"))) != packed {
		t.Errorf("%s does not bring the module back", command)
	}
}

// TestLostIsTold: what the new file may not have of the old one's, the caller hears of.
func TestLostIsTold(t *testing.T) {
	testenv.Tool(t, "strace")
	w := newWorkshop(t, t.TempDir(), 5000)
	mustRun(t, nil, "setfattr", "-n", "user.label", "-v", "x", w.path("m.ko"))
	inject := []string{"-f", "-o", "/dev/null", "-e", "trace=fsetxattr", "-e", "inject=fsetxattr:error=EPERM", program(t)}
	for _, args := range [][]string{{"sha256", w.key(), w.cert(), "m.ko"}, {"sign", "--replace", "sha256", w.key(), w.cert(), "m.ko"}} {
		cmd := append(append([]string{}, inject...), args...)
		cmd[len(cmd)-1] = w.path("m.ko")
		if out := mustRun(t, nil, "strace", cmd...); !strings.Contains(out, "could not be given the old one's user.label") {
			t.Errorf("%v: %s", args, out)
		}
		mustRun(t, nil, "setfattr", "-n", "user.label", "-v", "x", w.path("m.ko"))
	}
}

// TestStandardInput: "-" is standard input where a file is only looked at.
func TestStandardInput(t *testing.T) {
	for _, command := range []string{"inspect -", "verify --kernel 6.12 --trusted=" + keys + "/rsa2048.pem -"} {
		out := mustRun(t, nil, "sh", "-c", program(t)+" "+command+" <"+golden+"/hello-rsa2048-sha256.ko")
		if !strings.Contains(out, "RSA-2048") {
			t.Errorf("%s: %s", command, out)
		}
	}
}
