package test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sign-file/test/testenv"
)

// twoPass is a tree that is signed by somebody who sees digests only.
type twoPass struct {
	*testing.T
	dir  string
	key  string // name of the test key
	hash string
}

// newTwoPass makes a tree of real modules, some compressed, one signed already.
func newTwoPass(t *testing.T, key, hash string) *twoPass {
	t.Helper()
	p := &twoPass{t, t.TempDir(), key, hash}
	hello := string(readFile(t, "../testdata/hello.ko"))
	for i, name := range []string{"tree/a.ko", "tree/sub/b.ko", "tree/sub/c.ko", "tree/d.ko", "tree/odd name.ko"} {
		mkdir(t, filepath.Dir(p.path(name)))
		writeFile(t, p.path(name), hello+strings.Repeat("x", i), 0o644)
	}
	mustRun(t, nil, "xz", "--check=crc32", p.path("tree/sub/c.ko"))
	mustRun(t, nil, "zstd", "-q", "--rm", p.path("tree/d.ko"))
	return p
}

func (p *twoPass) path(name string) string { return filepath.Join(p.dir, name) }

func (p *twoPass) program(args ...string) (string, error) {
	return run(p.T, nil, "env", append([]string{"-C", p.dir, program(p.T)}, args...)...)
}

func (p *twoPass) pair() (key, cert string) {
	return absolute(p.T, keys+"/"+p.key+".key"), absolute(p.T, keys+"/"+p.key+".pem")
}

// digests is the first pass.
func (p *twoPass) digests(flags ...string) []map[string]any {
	p.Helper()
	args := append([]string{"-C", p.dir, program(p.T), "digest", "--format", "json"}, flags...)
	cmd := exec.Command("env", append(args, p.hash, "tree")...)
	out, err := cmd.Output()
	if err != nil {
		p.Fatalf("digest: %v\n%s", err, out)
	}
	var lines []map[string]any
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		line := map[string]any{}
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			p.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// sign is the signing side: OpenSSL with the digests.
func (p *twoPass) sign(lines []map[string]any) {
	p.Helper()
	key, _ := p.pair()
	for _, line := range lines {
		sum, err := hex.DecodeString(line["digest"].(string))
		if err != nil {
			p.Fatal(err)
		}
		writeFile(p.T, p.path("sum"), string(sum), 0o600)
		mustRun(p.T, nil, "openssl", "pkeyutl", "-sign", "-inkey", key, "-pkeyopt", "digest:"+p.hash, "-in", p.path("sum"), "-out", p.path("sig"))
		line["signature"] = base64.StdEncoding.EncodeToString(readFile(p.T, p.path("sig")))
	}
}

// attach is the second pass.
func (p *twoPass) attach(lines []map[string]any, flags ...string) (string, error) {
	p.Helper()
	var text bytes.Buffer
	for _, line := range lines {
		if err := json.NewEncoder(&text).Encode(line); err != nil {
			p.Fatal(err)
		}
	}
	writeFile(p.T, p.path("signatures"), text.String(), 0o600)
	_, cert := p.pair()
	return p.program(append([]string{"attach", "--signatures", "signatures", "--cert", cert}, flags...)...)
}

func (p *twoPass) content() map[string]string {
	p.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(p.path("tree"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[path] = string(readFile(p.T, path))
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return all
}

// TestTwoPasses: what comes of two passes is what direct signing makes, and for RSA the
// same bytes. Messages of a first machine, attached on a second, too.
func TestTwoPasses(t *testing.T) {
	for key, hash := range map[string]string{"rsa2048": "sha256", "p384": "sha384"} {
		p := newTwoPass(t, key, hash)
		unsigned := p.content()
		lines := p.digests()
		if one := p.digests("--jobs", "1"); fmt.Sprint(one) != fmt.Sprint(lines) || len(lines) != 5 {
			t.Errorf("the order or number of %d lines depends on --jobs", len(lines))
		}
		for _, line := range lines {
			if !strings.HasPrefix(line["file"].(string), "tree/") || line["hash"] != hash || line["size"].(float64) < 5248 {
				t.Errorf("a line %v", line)
			}
		}
		p.sign(lines)
		slices.Reverse(lines) // the signing side answers in any order
		if out, err := p.attach(lines, "tree"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		two := p.content()
		reset := func() {
			for path, content := range unsigned {
				writeFile(t, path, content, 0o644)
			}
		}
		_, cert := p.pair()
		if out, status := verify(t, "--trusted="+cert, p.path("tree")); status != 0 {
			t.Errorf("%s: exit %d\n%s", key, status, out)
		}
		reset()
		private, _ := p.pair()
		mustRun(t, nil, program(t), "sign", hash, private, cert, p.path("tree"))
		direct := p.content()
		if key == "rsa2048" && fmt.Sprint(two) != fmt.Sprint(direct) {
			t.Error("two passes and one make different trees")
		}
		reset()
		mustRun(t, nil, program(t), "sign", "-d", "--output-dir", p.path("messages"), hash, private, cert, p.path("tree"))
		if out, err := p.program("attach", "--from-p7s", "--p7s-dir", "messages", "--cert", cert, "tree"); err != nil {
			t.Errorf("--from-p7s: %v\n%s", err, out)
		}
		if third := p.content(); key == "rsa2048" && fmt.Sprint(third) != fmt.Sprint(direct) {
			t.Error("messages and direct signing make different trees")
		}
		if out, status := verify(t, "--trusted="+cert, p.path("tree")); status != 0 {
			t.Errorf("%s, --from-p7s: exit %d\n%s", key, status, out)
		}
	}
}

// TestTwoPassesRecipe runs the lines of the page as they stand there.
func TestTwoPassesRecipe(t *testing.T) {
	for _, tool := range []string{"jq", "xxd", "bash"} {
		testenv.Tool(t, tool)
	}
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	script := strings.NewReplacer("sign-file ", program(t)+" ", "key.pem", key, "cert.pem", cert, "verify ", "verify --kernel 6.12 ").Replace(docsSection(t, "## Whole trees in two passes", "\nThe tree is"))
	out := mustRun(t, nil, "env", "-C", p.dir, "bash", "-e", "-o", "pipefail", "-c", script)
	if strings.Count(out, ": verified: ") != 5 {
		t.Errorf("%s\n%s", script, out)
	}
}

// TestTwoPassesRefuse: whatever the signing side answers, a module is signed rightly or not
// at all, and each failure names its module.
func TestTwoPassesRefuse(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(p *twoPass, lines []map[string]any) []map[string]any
		says  string
	}{
		"changed since": {func(p *twoPass, lines []map[string]any) []map[string]any {
			writeFile(p.T, p.path("tree/a.ko"), string(readFile(p.T, "../testdata/hello.ko"))+"changed", 0o644)
			return lines
		}, "changed since its digest was taken"},
		"another's signature": {func(_ *twoPass, lines []map[string]any) []map[string]any {
			lines[0]["signature"] = lines[1]["signature"]
			return lines
		}, "the right key has signed another file"},
		"another key's signature": {func(p *twoPass, lines []map[string]any) []map[string]any {
			other := newKeyPair(p.T, p.T.TempDir(), "-nodes")
			sum, _ := hex.DecodeString(lines[0]["digest"].(string))
			writeFile(p.T, p.path("sum"), string(sum), 0o600)
			mustRun(p.T, nil, "openssl", "pkeyutl", "-sign", "-inkey", other.key, "-pkeyopt", "digest:sha256", "-in", p.path("sum"), "-out", p.path("sig"))
			lines[0]["signature"] = base64.StdEncoding.EncodeToString(readFile(p.T, p.path("sig")))
			return lines
		}, "another key has signed"},
		"a line missing": {func(_ *twoPass, lines []map[string]any) []map[string]any { return lines[1:] }, "no line has its signature"},
		"a line too many": {func(_ *twoPass, lines []map[string]any) []map[string]any {
			lines[0]["file"] = "tree/gone.ko"
			return lines
		}, "not among the files named"},
		"two lines": {func(_ *twoPass, lines []map[string]any) []map[string]any { return append(lines, lines[0]) }, "has two lines"},
		"no signature": {func(_ *twoPass, lines []map[string]any) []map[string]any {
			delete(lines[0], "signature")
			return lines
		}, "has no signature"},
		"hexadecimal": {func(_ *twoPass, lines []map[string]any) []map[string]any {
			raw, _ := base64.StdEncoding.DecodeString(lines[0]["signature"].(string))
			lines[0]["signature"] = base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(raw)))
			return lines
		}, "hexadecimal text"},
		"another hash": {func(_ *twoPass, lines []map[string]any) []map[string]any {
			lines[0]["hash"] = "sha512"
			return lines
		}, "tree/a.ko"},
	} {
		p := newTwoPass(t, "rsa2048", "sha256")
		lines := p.digests()
		p.sign(lines)
		lines = c.spoil(p, lines)
		before := readFile(t, p.path("tree/a.ko"))
		out, err := p.attach(lines, "tree")
		if err == nil || !strings.Contains(out, c.says) || !strings.Contains(out, "tree/a.ko: ") && what != "a line too many" {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if !bytes.Equal(readFile(t, p.path("tree/a.ko")), before) {
			t.Errorf("%s: the module was changed", what)
		}
		if !bytes.HasSuffix(readFile(t, p.path("tree/sub/b.ko")), []byte("~Module signature appended~\n")) {
			t.Errorf("%s: another module was not signed", what)
		}
	}
}

// TestTwoPassesRoot: the second machine has the tree elsewhere, and no line leads out of it.
func TestTwoPassesRoot(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	lines := p.digests()
	p.sign(lines)
	mkdir(t, p.path("other"))
	if err := os.Rename(p.path("tree"), p.path("other/tree")); err != nil {
		t.Fatal(err)
	}
	if out, err := p.attach(lines, "--root", "other", "--output-dir", "out"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	lines[0]["file"] = "../signatures"
	if out, err := p.attach(lines[:1], "--root", "other"); err == nil || !strings.Contains(out, "leads out") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSigningSideChooses: who answers names the modules, and that is all: of those that the
// caller has named, by whatever spelling, and with the hash that was asked for.
func TestSigningSideChooses(t *testing.T) {
	fresh := func() (*twoPass, []map[string]any) {
		p := newTwoPass(t, "rsa2048", "sha256")
		lines := p.digests()
		p.sign(lines)
		return p, lines
	}
	refused := func(what, says string, p *twoPass, lines []map[string]any, flags ...string) {
		t.Helper()
		before := fmt.Sprint(p.content())
		out, err := p.attach(lines, flags...)
		if err == nil || !strings.Contains(out, says) || fmt.Sprint(p.content()) != before {
			t.Errorf("%s: %v, want %q\n%s", what, err, says, out)
		}
	}
	p, lines := fresh()
	refused("no path", "no path", p, lines)
	refused("another hash", "--hash wants sha512", p, lines, "--hash", "sha512", "tree")
	refused("elsewhere", "--root says", p, lines, "--root", "tree")
	refused("no such root", "nowhere", p, lines, "--root", "nowhere")

	mkdir(t, p.path("links"))
	mustRun(t, nil, "ln", "-s", p.path("tree"), p.path("links/tree"))
	refused("by way of a link", "is not followed", p, lines, "--root", "links")

	again := maps.Clone(lines[0])
	again["file"] = "./" + strings.Replace(again["file"].(string), "/", "//", 1)
	refused("two spellings", "has two lines", p, []map[string]any{lines[0], again}, "--root", ".")

	if out, err := p.attach(lines, "--root", ".", "--output-dir", "out"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, line := range lines {
		if _, err := os.Stat(p.path("out/" + line["file"].(string))); err != nil {
			t.Error(err)
		}
	}
	if out, err := p.attach(lines[:2], p.path("tree/.")); err == nil || !strings.Contains(out, "2 signed, 0 skipped, 3 failed") {
		t.Errorf("by an absolute path: %v\n%s", err, out)
	}
	if out, err := p.attach(lines[2:], "--unsigned-only", "tree"); err != nil || !strings.Contains(out, "3 signed, 2 skipped, 0 failed") {
		t.Errorf("the rest: %v\n%s", err, out)
	}
	if out, err := p.attach(nil, "--unsigned-only", "tree"); err != nil || !strings.Contains(out, "0 signed, 5 skipped, 0 failed") {
		t.Errorf("nothing left: %v\n%s", err, out)
	}
}

// TestMessagesOfOthers: of messages and modules, none is passed over.
func TestMessagesOfOthers(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	mustRun(t, nil, program(t), "sign", "-d", "--output-dir", p.path("messages"), "sha256", key, cert, p.path("tree"))
	os.Remove(p.path("tree/a.ko"))
	os.Remove(p.path("messages/sub/b.ko.p7s"))
	out, err := p.program("attach", "--from-p7s", "--p7s-dir", "messages", "--cert", cert, "tree")
	for _, says := range []string{"messages/a.ko.p7s: a message, and its module", "sub/b.ko.p7s: no such file", "3 signed, 0 skipped, 2 failed"} {
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%v, want %q\n%s", err, says, out)
		}
	}
}

// TestMessageWithAttributes: openssl cms -sign makes them unless it is told otherwise.
func TestMessageWithAttributes(t *testing.T) {
	dir := t.TempDir()
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	for flag, good := range map[string]bool{"-noattr": true, "-nosmimecap": false} {
		writeFile(t, dir+"/a.ko", string(readFile(t, "../testdata/hello.ko")), 0o644)
		mustRun(t, nil, "openssl", "cms", "-sign", "-binary", flag, "-nocerts", "-md", "sha256", "-in", dir+"/a.ko", "-signer", cert, "-inkey", key, "-outform", "DER", "-out", dir+"/a.ko.p7s")
		out, err := run(t, nil, program(t), "attach", "--from-p7s", "--cert", cert, dir+"/a.ko")
		if (err == nil) != good || !good && !strings.Contains(out, "-noattr") {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
}

// TestSize: what size says is what the kernel's sign-file adds, or the most of it.
func TestSize(t *testing.T) {
	for _, name := range []string{"rsa2048", "rsa4096", "p256", "p384", "p521"} {
		for _, flags := range [][]string{nil, {"-k"}} {
			args := append(append([]string{"size"}, flags...), "sha256", keys+"/"+name+".pem")
			var said int
			if _, err := fmt.Sscan(mustRun(t, nil, program(t), args...), &said); err != nil {
				t.Fatal(err)
			}
			most := 0
			for range map[bool]int{true: 1, false: 40}[strings.HasPrefix(name, "rsa")] {
				dest := filepath.Join(t.TempDir(), "dest")
				mustRun(t, nil, testenv.SignFile(t), append(append([]string{}, flags...), "sha256", keys+"/"+name+".key", keys+"/"+name+".pem", "../testdata/hello.ko", dest)...)
				most = max(most, len(readFile(t, dest))-5248)
			}
			if strings.HasPrefix(name, "rsa") && said != most || said < most || said > most+5 {
				t.Errorf("%s %v: %d, and the real one adds up to %d", name, flags, said, most)
			}
		}
	}
}

// TestDetachedMessage: a message alone, of a value that was made elsewhere, is what the
// kernel's sign-file -d writes.
func TestDetachedMessage(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/root.hash", strings.Repeat("0123456789abcdef", 4), 0o644) // as veritysetup prints it, without a line end
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	mustRun(t, nil, "sh", "-c", "cd "+dir+" && "+program(t)+" digest sha256 root.hash > sum && openssl pkeyutl -sign -inkey "+key+" -pkeyopt digest:sha256 -in sum -out sig")
	mustRun(t, nil, program(t), "attach", "--detached", "--signature", dir+"/sig", "--cert", cert, "--hash", "sha256", dir+"/root.hash")
	ours := readFile(t, dir+"/root.hash.p7s")
	mustRun(t, nil, program(t), "-d", "sha256", key, cert, dir+"/root.hash")
	if !bytes.Equal(ours, readFile(t, dir+"/root.hash.p7s")) {
		t.Error("the message is not that of signing directly")
	}
	// What dm-verity and systemd read is OpenSSL's as well.
	mustRun(t, nil, "openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", dir+"/root.hash.p7s", "-content", dir+"/root.hash", "-certfile", cert, "-noverify", "-out", "/dev/null")
}

// TestVerityRecipes runs the recipes of the page with the tools that they are for. A message
// is fs-verity's own but for the NULL parameters of its hash: the signature value is the same.
func TestVerityRecipes(t *testing.T) {
	for _, tool := range []string{"veritysetup", "fsverity", "xxd"} {
		testenv.Tool(t, tool)
	}
	dir := t.TempDir()
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	writeFile(t, dir+"/data", strings.Repeat("data", 1<<18), 0o644)
	out := mustRun(t, nil, "veritysetup", "format", dir+"/data", dir+"/hashes")
	_, roothash, _ := strings.Cut(out, "Root hash:")
	section := docsSection(t, "## A message alone", "\n## ")
	script := strings.NewReplacer("sign-file ", program(t)+" ", "key.pem", key, "cert.pem", cert).Replace(section)
	script = "roothash=" + strings.Fields(roothash)[0] + "\nsigned() { openssl pkeyutl -sign -inkey " + key + " -pkeyopt digest:sha256 -in digest -out signature; }\n" +
		strings.Replace(script, program(t)+" attach", "signed; cp verity.roothash.p7s first; "+program(t)+" attach", 1) + "\ncmp first verity.roothash.p7s\n"
	mustRun(t, nil, "env", "-C", dir, "bash", "-e", "-o", "pipefail", "-c", script)
	for _, name := range []string{"verity.roothash", "data.verity"} {
		mustRun(t, nil, "openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", dir+"/"+name+".p7s", "-content", dir+"/"+name, "-certfile", cert, "-noverify", "-out", "/dev/null")
	}
	mustRun(t, nil, "fsverity", "sign", dir+"/data", dir+"/theirs", "--key="+key, "--cert="+cert)
	ours, theirs := readFile(t, dir+"/data.verity.p7s"), readFile(t, dir+"/theirs")
	if !bytes.HasSuffix(ours, theirs[len(theirs)-256:]) {
		t.Error("fsverity makes another signature value")
	}
}

// docsSection returns the indented lines of a section of the page on remote signing.
func docsSection(t *testing.T, from, to string) string {
	t.Helper()
	_, section, _ := strings.Cut(string(readFile(t, "../docs/remote-signing.md")), from)
	section, _, _ = strings.Cut(section, to)
	var lines []string
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, code)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no lines below %q", from)
	}
	return strings.Join(lines, "")
}

// TestTwoPassTree holds real modules, some of them compressed, that two passes sign against
// what the real sign-file makes of each. The second pass is ended while it waits for an
// answer, then at random moments, and then finished.
func TestTwoPassTree(t *testing.T) {
	unsigned := newTree(t, treeSize())
	pair := keyPair{absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.x509")}
	want := unsigned.judged(t, "sha256", pair)
	packed := compressSome(t, unsigned)
	list, err := exec.Command(program(t), "digest", "--format", "json", "sha256", unsigned.dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := signLines(t, string(list), pair.key)
	if len(answers) != len(unsigned.modules) {
		t.Fatalf("%d digests of %d modules", len(answers), len(unsigned.modules))
	}
	old := unsigned.content(t)

	slices.Reverse(answers)
	attach := exec.Command(program(t), "attach", "--quiet", "--signatures", "-", "--cert", pair.cert, unsigned.dir)
	lines, err := attach.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attach.Start(); err != nil {
		t.Fatal(err)
	}
	for _, answer := range answers[:len(answers)-1] {
		io.WriteString(lines, answer)
	}
	time.Sleep(100 * time.Millisecond)
	attach.Process.Signal(syscall.SIGTERM) // while the last answer is waited for
	if err := attach.Wait(); err == nil {
		t.Error("half of the answers were enough")
	}
	if !maps.EqualFunc(old, unsigned.content(t), bytes.Equal) {
		t.Error("a module was changed before the answers were complete")
	}

	file := filepath.Join(t.TempDir(), "signatures")
	writeFile(t, file, strings.Join(answers, ""), 0o600)
	command := []string{program(t), "attach", "--quiet", "--signatures", file, "--cert", pair.cert, unsigned.dir}
	for round := range 6 {
		end := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2]
		killAfter(t, rand.N(time.Duration(len(answers))*200*time.Microsecond), end, command[0], command[1:]...)
		for name := range unsigned.content(t) {
			if end == syscall.SIGKILL && strings.HasPrefix(filepath.Base(name), ".sign-file-") {
				os.Remove(unsigned.path(name))
			}
		}
	}
	mustRun(t, nil, command[0], append([]string{"attach", "--unsigned-only"}, command[2:]...)...)
	for name, path := range packed {
		mustRun(t, nil, "xz", "-d", path)
		if !bytes.Equal(readFile(t, unsigned.path(name)), readFile(t, want.path(name))) {
			t.Errorf("%s: another content", name)
		}
	}
	checkSameTree(t, unsigned, want)
}

// compressSome compresses every tenth module of a tree, as kernel builds do.
func compressSome(t *testing.T, r moduleTree) map[string]string {
	packed := map[string]string{}
	for i, name := range r.modules {
		if i%10 == 0 {
			mustRun(t, nil, "xz", "-0", "--check=crc32", r.path(name))
			packed[name] = r.path(name) + ".xz"
		}
	}
	return packed
}

// signLines is a signing side that is faster than a process for each digest.
func signLines(t *testing.T, list, key string) (answers []string) {
	t.Helper()
	block, _ := pem.Decode(readFile(t, key))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		var answer map[string]any
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Fatal(err)
		}
		sum, err := hex.DecodeString(answer["digest"].(string))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := parsed.(crypto.Signer).Sign(nil, sum, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		answer["signature"] = signature // base64 in JSON
		encoded, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, string(encoded)+"\n")
	}
	return answers
}

// TestTwoPassValues: a folder of data becomes map values in two passes, byte for byte those
// of signing directly, and the data stays.
func TestTwoPassValues(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	data := map[string]string{"policy/a": "allow\n", "policy/sub/b.conf": "deny\n", "policy/sub/odd name": strings.Repeat("x", 300)}
	for name, content := range data {
		mkdir(t, filepath.Dir(p.path(name)))
		writeFile(t, p.path(name), content, 0o644)
	}
	list := mustRun(t, nil, "env", "-C", p.dir, program(t), "digest", "--format", "json", "--any-file", "sha256", "policy")
	answers := signLines(t, list, key)
	if len(answers) != len(data) {
		t.Fatalf("%d digests\n%s", len(answers), list)
	}
	writeFile(t, p.path("signatures"), strings.Join(answers, ""), 0o600)
	attach := func(flags ...string) (string, error) {
		return p.program(append([]string{"map", "attach", "--signatures", "signatures", "--cert", cert, "--hash", "sha256"}, flags...)...)
	}
	if out, err := attach("--value-size", "1024", "--output-dir", "values", "policy"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := attach("--value-size", "1024", "--output-dir", "rooted", "--root", "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, content := range data {
		mustRun(t, nil, program(t), "map", "sign", "--value-size", "1024", "sha256", key, cert, p.path(name), p.path("direct"))
		mustRun(t, nil, "cmp", p.path("direct"), p.path("values/"+strings.TrimPrefix(name, "policy/")))
		mustRun(t, nil, "cmp", p.path("direct"), p.path("rooted/"+name))
		if string(readFile(t, p.path(name))) != content {
			t.Errorf("%s: the data was changed", name)
		}
	}

	writeFile(t, p.path("policy/a"), "allow all\n", 0o644)
	writeFile(t, p.path("policy/c"), "new\n", 0o644)
	for what, c := range map[string]struct {
		says  []string
		flags []string
	}{
		"changed and new":   {[]string{"policy/a: ", "changed since its digest", "policy/c: no line has its signature", "2 signed, 0 skipped, 2 failed"}, []string{"--output-dir", "again", "policy"}},
		"no folder to go":   {[]string{"no --output-dir"}, []string{"policy"}},
		"a value too small": {[]string{"policy/sub/b.conf: the value needs"}, []string{"--output-dir", "small", "--value-size", "64", "policy"}},
		"two of one name":   {[]string{"is written from"}, []string{"--output-dir", "flat", "policy/a", "tree/a.ko", "policy/../policy/sub/../a", "values/a"}},
	} {
		out, err := attach(c.flags...)
		for _, says := range c.says {
			if err == nil || !strings.Contains(out, says) {
				t.Errorf("%s: %v, want %q\n%s", what, err, says, out)
			}
		}
	}
	if _, err := os.Stat(p.path("again/a")); err == nil {
		t.Error("a value of changed data was written")
	}
}

// TestMessagesAcrossCompression: messages are about the content, and one machine may compress
// what the other has not.
func TestMessagesAcrossCompression(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	mustRun(t, nil, program(t), "sign", "-d", "--output-dir", p.path("messages"), "sha256", key, cert, p.path("tree"))
	mustRun(t, nil, "xz", "-d", p.path("tree/sub/c.ko.xz"))
	mustRun(t, nil, "xz", "--check=crc32", p.path("tree/a.ko"))
	mustRun(t, nil, "sh", "-c", "cd "+p.dir+" && find tree -name '*.ko*' > list")
	if out, err := p.program("attach", "--from-p7s", "--p7s-dir", "messages", "--root", "tree", "--cert", cert, "--from", "list"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, status := verify(t, "--trusted="+cert, p.path("tree")); status != 0 || strings.Count(out, ": verified: ") != 5 {
		t.Errorf("exit %d\n%s", status, out)
	}
}

// TestMessageWarnings: a message of a hash that kernels refuse is attached and told, and one
// that lies beside no module is told.
func TestMessageWarnings(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "md5")
	key, cert := p.pair()
	mustRun(t, nil, program(t), "sign", "-d", "md5", key, cert, p.path("tree"))
	writeFile(t, p.path("tree/gone.ko.p7s"), "message", 0o644)
	writeFile(t, p.path("tree/other.p7s"), "of something that is no module", 0o644)
	out, err := p.program("attach", "--from-p7s", "--cert", cert, "tree")
	if err == nil || strings.Count(out, "signature with md5") != 1 || !strings.Contains(out, "gone.ko.p7s: a message, and its module") || !strings.Contains(out, "5 signed, 0 skipped, 1 failed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestMuNeedsHash: mu says nothing of the hash, so the signing side may not choose it.
func TestMuNeedsHash(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, nil, program(t), "keygen", "--type", "ml-dsa-65", dir+"/key.pem", dir+"/cert.pem")
	writeFile(t, dir+"/a.ko", string(readFile(t, "../testdata/hello.ko")), 0o644)
	line := map[string]any{"file": dir + "/a.ko", "hash": "sha1", "mu": strings.Repeat("00", 64), "signature": base64.StdEncoding.EncodeToString(make([]byte, 3309))}
	text, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/signatures", string(text)+"\n", 0o600)
	out, err := run(t, nil, program(t), "attach", "--signatures", dir+"/signatures", "--cert", dir+"/cert.pem", dir+"/a.ko")
	if err == nil || !strings.Contains(out, "--hash says which") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLinesAhead: a helper may gather many questions into one call of its service, whatever
// --jobs is.
func TestLinesAhead(t *testing.T) {
	dir := t.TempDir()
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	const many = 24
	mkdir(t, dir+"/tree")
	for i := range many {
		writeFile(t, fmt.Sprintf("%s/tree/%d.ko", dir, i), string(readFile(t, "../testdata/hello.ko"))+strings.Repeat("x", i), 0o644)
	}
	writeFile(t, dir+"/bulk", fmt.Sprintf(`#!/bin/bash
		for ((i = 0; i < %d; i++)); do
			read -r -t 20 hash digest[i] || { echo "only $i questions" >&2; exit 1; }
		done
		for each in "${digest[@]}"; do
			xxd -r -p <<<"$each" | openssl pkeyutl -sign -inkey %s -pkeyopt "digest:$hash" | base64 -w0; echo
		done
	`, many, key), 0o700)
	mustRun(t, nil, program(t), "sign", "--jobs", "1", "sha256", "exec-lines:"+dir+"/bulk", cert, dir+"/tree")
	if out, status := verify(t, "--trusted="+cert, dir+"/tree"); status != 0 || strings.Count(out, ": verified: ") != many {
		t.Errorf("exit %d\n%s", status, out)
	}
}

// TestTwoBuilds: whoever builds the same modules and has the published messages gets the same
// bytes as whoever has the key.
func TestTwoBuilds(t *testing.T) {
	first, second := newTree(t, treeSize()), newTree(t, treeSize())
	pair := keyPair{absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.x509")}
	want := first.judged(t, "sha256", pair)
	messages := t.TempDir()
	mustRun(t, nil, program(t), "sign", "-d", "--output-dir", messages, "sha256", pair.key, pair.cert, first.dir)
	packed := compressSome(t, second)
	mustRun(t, nil, program(t), "attach", "--from-p7s", "--p7s-dir", messages, "--cert", pair.cert, second.dir)
	for _, path := range packed {
		mustRun(t, nil, "xz", "-d", path)
	}
	checkSameTree(t, second, want)
}

// TestDataAsItIs: of map data neither the name nor a trailer means anything, and it outlives
// its value.
func TestDataAsItIs(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	mkdir(t, p.path("data"))
	hello := string(readFile(t, "../testdata/hello.ko"))
	mustRun(t, nil, program(t), "sha256", key, cert, "../testdata/hello.ko", p.path("data/signed"))
	writeFile(t, p.path("data/a.ko.xz"), "no xz at all", 0o644)
	writeFile(t, p.path("data/b.ko"), hello, 0o644)
	mustRun(t, nil, "xz", p.path("data/b.ko"))
	list := mustRun(t, nil, "env", "-C", p.dir, program(t), "digest", "--format", "json", "--any-file", "sha256", "data")
	writeFile(t, p.path("signatures"), strings.Join(signLines(t, list, key), ""), 0o600)
	attach := []string{"map", "attach", "--signatures", "signatures", "--cert", cert, "--output-dir"}
	before := mustRun(t, nil, "sh", "-c", "sha256sum "+p.path("data")+"/*")
	for _, same := range []string{"data", "./x/../data"} {
		mkdir(t, p.path("x"))
		if out, err := p.program(append(attach, same, "data")...); err == nil || !strings.Contains(out, "is one of the files named") {
			t.Errorf("%s: %v\n%s", same, err, out)
		}
	}
	if out, err := p.program(append(attach, "values", "data")...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if after := mustRun(t, nil, "sh", "-c", "sha256sum "+p.path("data")+"/*"); after != before {
		t.Errorf("the data was changed: %s, before %s", after, before)
	}
	for _, name := range []string{"signed", "a.ko.xz", "b.ko.xz"} {
		mustRun(t, nil, program(t), "map", "sign", "sha256", key, cert, p.path("data/"+name), p.path("direct"))
		mustRun(t, nil, "cmp", p.path("direct"), p.path("values/"+name))
	}
	if out := mustRun(t, nil, program(t), "map", "verify", "--kernel", "6.12", "--trusted", cert, p.path("values")); strings.Count(out, ": verified: ") != 3 {
		t.Error(out)
	}
	if out, err := run(t, nil, program(t), "digest", "--format", "json", "sha256", p.path("x")); err == nil || !strings.Contains(out, "--any-file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLinesAcrossCompression: a module may be compressed between the two passes.
func TestLinesAcrossCompression(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	_, cert := p.pair()
	lines := p.digests()
	p.sign(lines)
	mustRun(t, nil, "xz", "-d", p.path("tree/sub/c.ko.xz"))
	mustRun(t, nil, "xz", "--check=crc32", p.path("tree/a.ko"))
	if out, err := p.attach(lines, "tree"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, status := verify(t, "--trusted="+cert, p.path("tree")); status != 0 || strings.Count(out, ": verified: ") != 5 {
		t.Errorf("exit %d\n%s", status, out)
	}
}

// TestMessagesSay: flags that have no meaning are refused, and what fails names its message.
func TestMessagesSay(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	mustRun(t, nil, program(t), "sign", "-d", "--output-dir", p.path("messages"), "sha256", key, cert, p.path("tree"))
	mustRun(t, nil, "cp", p.path("messages/a.ko.p7s"), p.path("messages/d.ko.p7s")) // beside d.ko.zst.p7s
	mustRun(t, nil, "cp", p.path("messages/a.ko.p7s"), p.path("messages/sub/b.ko.p7s"))
	for _, c := range []struct{ flags, says string }{
		{"--hash sha512 tree", "made already"},
		{"-k tree", "made already"},
		{"--root tree tree", "--root goes with --p7s-dir"},
		{"--p7s-dir messages tree/sub", "--root say what folders"},
		{"--p7s-dir messages tree", "messages/d.ko.p7s: a message, and its module"},
		{"--p7s-dir messages --unsigned-only tree", "messages/sub/b.ko.p7s)"},
	} {
		out, err := p.program(append([]string{"attach", "--from-p7s", "--cert", cert}, strings.Fields(c.flags)...)...)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v, want %q\n%s", c.flags, err, c.says, out)
		}
	}
}

// TestLinesTell: what a helper says on standard error is told with its refusal.
func TestLinesTell(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a.ko", string(readFile(t, "../testdata/hello.ko")), 0o644)
	for script, says := range map[string]string{
		"read -r x; echo token expired, run login >&2; sleep 0.1; echo error; sleep 1": "token expired, run login",
		"read -r x; echo no such key >&2; sleep 0.1; echo; sleep 1":                    "no such key",
		"read -r x; echo AAAA; sleep 1":                                                "in the order of the lines",
	} {
		writeFile(t, dir+"/helper", "#!/bin/sh\n"+script+"\n", 0o700)
		out, err := run(t, nil, program(t), "sign", "sha256", "exec-lines:"+dir+"/helper", absolute(t, keys+"/rsa2048.pem"), dir+"/a.ko")
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}

// TestValuesInterrupted: a signal leaves old values or new ones, and no other file.
func TestValuesInterrupted(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	key, cert := p.pair()
	mkdir(t, p.path("data"))
	mkdir(t, p.path("values"))
	const many = 200
	for i := range many {
		name := fmt.Sprint(i)
		writeFile(t, p.path("data/"+name), strings.Repeat(name, 1000), 0o644)
		writeFile(t, p.path("values/"+name), "old", 0o644)
	}
	list := mustRun(t, nil, "env", "-C", p.dir, program(t), "digest", "--format", "json", "--any-file", "sha256", "data")
	writeFile(t, p.path("signatures"), strings.Join(signLines(t, list, key), ""), 0o600)
	for round := range 20 {
		killAfter(t, rand.N(60*time.Millisecond), []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[round%2], "env", "-C", p.dir, program(t),
			"map", "attach", "--signatures", "signatures", "--cert", cert, "--output-dir", "values", "data")
		entries, err := os.ReadDir(p.path("values"))
		if err != nil || len(entries) != many {
			t.Fatalf("%d files, want %d: %v", len(entries), many, err)
		}
	}
}

// TestOddData: what is no regular file is told, since a policy that drops out unseen is gone.
func TestOddData(t *testing.T) {
	p := newTwoPass(t, "rsa2048", "sha256")
	mkdir(t, p.path("data"))
	writeFile(t, p.path("data/a"), "policy", 0o644)
	mustRun(t, nil, "sh", "-c", "cd "+p.path("data")+" && mkfifo fifo && ln -s a link")
	out, err := p.program("digest", "--format", "json", "--any-file", "sha256", "data")
	if err == nil || !strings.Contains(out, "data/fifo: not a regular file") || !strings.Contains(out, "data/link: is a link") {
		t.Errorf("%v\n%s", err, out)
	}
}
