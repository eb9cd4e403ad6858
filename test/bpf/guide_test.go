package bpf

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/bpf"
	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/test/bpf/trial"
	"sign-file/test/testenv"
	"sign-file/test/vm"
)

// commands are the indented lines of a part of docs/bpf.md.
func commands(t *testing.T, from, to string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/bpf.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(page), "\n"+from)
	part, _, ended := strings.Cut(part, "\n"+to)
	if !found || !ended {
		t.Fatalf("docs/bpf.md has nothing from %q to %q", from, to)
	}
	var lines strings.Builder
	for line := range strings.Lines(part) {
		if command, indented := strings.CutPrefix(line, "    "); indented {
			lines.WriteString(command)
		}
	}
	return lines.String()
}

const (
	drop = 1 // XDP_DROP
	pass = 2 // XDP_PASS
)

// packet is the least of one from 192.0.2.x.
func packet(last byte) []byte {
	p := make([]byte, 64)
	p[12], p[14], p[23] = 8, 0x45, 17
	copy(p[26:], []byte{192, 0, 2, last})
	return p
}

// TestGuide does what docs/bpf.md says, from the keys to the packets, on each kernel.
func TestGuide(t *testing.T) {
	kernels := vm.Kernels(t)
	for _, tool := range []string{"bash", "clang", "gcc", "openssl"} {
		testenv.Tool(t, tool)
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(bin, "sign-file"), "sign-file")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, k := range kernels {
		rules, err := kernel.OfConfig(k.Config())
		if err != nil {
			t.Fatal(err)
		}
		scheme := bpf.SchemeOf(rules)
		if scheme == 0 {
			continue
		}
		t.Run(k.Series, func(t *testing.T) {
			g := &guide{T: t, kernel: k, scheme: scheme, tools: tools(scheme)}
			if g.tools == "" {
				t.Skipf(noTools, scheme)
			}
			g.env = []string{"PATH=" + bin + ":" + g.tools + "/bin:/usr/bin:/bin", "INCLUDE=" + g.tools + "/include", "KERNEL=" + rules.Release(),
				"SOURCE=" + absolute(t, "../.."), "HOME=" + t.TempDir(), "LC_ALL=C"}
			g.follow()
		})
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type guide struct {
	*testing.T
	kernel vm.Kernel
	scheme bpf.Scheme
	tools  string
	env    []string
}

func (g *guide) run(dir, script string) (string, error) {
	cmd := exec.Command("bash", "-euxo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, g.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// follow runs the page's commands, and boots a machine that has the certificate in db.
func (g *guide) follow() {
	dir := g.TempDir()
	building := commands(g.T, "## A signed program", "On the machine")
	if g.scheme == bpf.Instructions {
		building = g.asOf618(building)
	}
	if out, err := g.run(dir, building); err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
	dir = filepath.Join(dir, "policy")
	remote := commands(g.T, "    sign-file bpf digest", "### A policy")
	if out, err := g.run(dir, "sign-file bpf digest policy.lskel.h > policy.digest\n"+remote+
		"\nsign-file bpf verify --kernel \"$KERNEL\" --trusted cert.x509 policy.lskel.h"); err != nil {
		g.Errorf("%v\n%s", err, out)
	}
	cert, err := certificate.FromFile(filepath.Join(dir, "cert.x509"))
	if err != nil {
		g.Fatal(err)
	}
	program := read(g, filepath.Join(dir, "load"))
	const pin = "/sys/fs/bpf/filter"
	platform, own, found := strings.Cut(commands(g.T, "On the machine", "`ip link"), "\n")
	if !found || !strings.HasPrefix(platform, "./load 2") || !strings.Contains(own, "keyctl") {
		g.Fatalf("the page has other commands: %q, %q", platform, own)
	}
	shell := func(script string) []string { return []string{"sh", "-e", "-c", script} }
	trials := []trial.Trial{
		{Name: "the platform keyring", Program: "busybox", Arguments: shell(platform)},
		{Name: "a keyring of one's own", Program: "busybox", Arguments: shell(own)},
		{Name: "another address, which is not signed", Program: "load", Arguments: []string{"2", pin, "0xc0000209"}},
		{Name: notTrusted, Program: "load", Arguments: []string{"0", pin}},
	}
	for i := range trials {
		trials[i].Pin, trials[i].Packets = pin, [][]byte{packet(1), packet(2), packet(9)}
	}
	files := append(g.shell(), vm.File{Name: "load", Data: program}, vm.File{Name: "cert.x509", Data: read(g, filepath.Join(dir, "cert.x509"))})
	g.check(trial.Job{Trials: trials}, files, cert.Raw)
}

// notTrusted is the trial whose keyring does not have the certificate.
const notTrusted = "the builtin keyring"

// shell is what the machine needs to run the page's commands.
func (g *guide) shell() []vm.File {
	files := []vm.File{
		{Name: "busybox", Data: read(g, testenv.Tool(g, "busybox"))},
		{Name: "keyctl", Data: []byte("#!/busybox sh\nexec /loader --library-path / /keyctl.bin \"$@\"\n")},
	}
	keyctl := testenv.Tool(g, "keyctl")
	files = append(files, vm.File{Name: "keyctl.bin", Data: read(g, keyctl)})
	output, err := exec.Command(testenv.Tool(g, "ldd"), keyctl).Output()
	if err != nil {
		g.Fatal(err)
	}
	for _, word := range strings.Fields(string(output)) {
		name := filepath.Base(word)
		if strings.HasPrefix(name, "ld-linux") {
			name = "loader"
		}
		if strings.HasPrefix(word, "/") {
			files = append(files, vm.File{Name: name, Data: read(g, word)})
		}
	}
	return files
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asOf618 has the loader made as bpftool of Linux 6.18 did, which Debian does not have any
// more: see skeleton.
func (g *guide) asOf618(building string) string {
	edited := filepath.Join(g.TempDir(), "edited")
	before, after, found := strings.Cut(building, "sign-file bpf sign")
	if !found {
		g.Fatal("the page signs nothing")
	}
	if out, err := g.run(filepath.Dir(edited), before+"cp policy.lskel.h "+edited); err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(edited, editSkeleton(g, read(g, edited)), 0o600); err != nil {
		g.Fatal(err)
	}
	return before + "cp " + edited + " policy.lskel.h\nsign-file bpf sign" + after
}

func (g *guide) check(job trial.Job, files []vm.File, db []byte) {
	var packed bytes.Buffer
	if err := gob.NewEncoder(&packed).Encode(job); err != nil {
		g.Fatal(err)
	}
	reports := vm.Boot(g, g.kernel, vm.Options{
		Init: "sign-file/test/bpf/init", DB: [][]byte{db},
		Files: append(files, vm.File{Name: trial.File, Data: packed.Bytes()}),
	})
	if len(reports) != len(job.Trials) {
		g.Fatalf("%d answers", len(reports))
	}
	for i, t := range job.Trials {
		var r trial.Result
		if err := json.Unmarshal(reports[i], &r); err != nil {
			g.Fatal(err)
		}
		if t.Name == notTrusted {
			if !strings.Contains(r.Output, "Required key not available") {
				g.Errorf("%s: %q", t.Name, r.Output)
			}
			continue
		}
		if fmt.Sprint(r.Actions) != fmt.Sprint([]uint32{drop, pass, pass}) {
			g.Errorf("%s: actions %v, output %q", t.Name, r.Actions, r.Output)
		}
	}
}
