package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	golden = "../testdata/golden"
	keys   = "../testdata/keys"
)

// verify runs the program and returns its standard output and exit status.
func verify(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program(t), append([]string{"verify", "--kernel", "6.12"}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestVerifyStatus: 0 all accepted, 1 something refused, 2 usage, 3 not decided.
func TestVerifyStatus(t *testing.T) {
	trusted := "--trusted=" + keys + "/rsa2048.pem"
	good, other := golden+"/hello-rsa2048-sha256.ko", golden+"/hello-rsa4096-sha512.ko"
	missing, empty := filepath.Join(t.TempDir(), "missing.ko"), t.TempDir()
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{trusted, good}, 0},
		{[]string{trusted, good, other}, 1},
		{[]string{trusted, "../testdata/hello.ko"}, 1},
		{[]string{trusted, "--enforce", other}, 1},
		{[]string{trusted, missing}, 3},
		{[]string{trusted, empty}, 3},
		{[]string{trusted, missing, other}, 1},
		{[]string{trusted, other, missing}, 1},
		{[]string{"--trusted", missing, good}, 3},
		{[]string{trusted}, 2},
		{[]string{trusted, "--keyring", "platform", good}, 2},
		{[]string{trusted, "--usage", "bpf", "--keyring", "attic", good}, 2},
		{[]string{trusted, "--usage", "bpf", "--keyring", "platform", good}, 0},
		{[]string{trusted, "--usage", "kexec", good}, 0},
		{[]string{trusted, "--usage", "ima", good}, 0},
		{[]string{trusted, "--usage", "kexec", "../testdata/hello.ko"}, 1},
		{[]string{trusted, "--kernel", "5.10", good}, 2},
		{[]string{trusted, "--kernel", "six", good}, 2},
		{[]string{trusted, "--usage", "toast", good}, 2},
		{[]string{trusted, "--jobs", "0", good}, 2},
		{[]string{trusted, "--blacklist", good, good}, 3},
		{[]string{trusted, "--usage", "firmware", good}, 1},
		{[]string{trusted, "--usage", "bpf", good}, 0},
	} {
		if out, status := verify(t, c.args...); status != c.want {
			t.Errorf("%v: exit status %d, want %d\n%s", c.args, status, c.want, out)
		}
	}
}

// TestVerifyTree: a directory's modules are reported in order however many jobs
// there are, and --quiet prints what is refused alone.
func TestVerifyTree(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile(golden + "/hello-rsa2048-sha256.ko")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		file := filepath.Join(mkdir(t, filepath.Join(dir, fmt.Sprint(i%7))), fmt.Sprintf("m%02d.ko", i))
		writeFile(t, file, string(good), 0o644)
		if i == 30 {
			good[0] ^= 0xff
		}
	}
	trusted := "--trusted=" + keys + "/rsa2048.pem"
	one, status := verify(t, trusted, "--jobs", "1", dir)
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if many, _ := verify(t, trusted, "--jobs", "16", dir); many != one {
		t.Errorf("16 jobs print\n%s\nand one\n%s", many, one)
	}
	if n := strings.Count(one, "\n"); n != 60 {
		t.Errorf("%d lines, want 60", n)
	}
	refused, _ := verify(t, trusted, "--quiet", dir)
	if n := strings.Count(refused, ": refused: "); n != 29 || strings.Count(refused, "\n") != n {
		t.Errorf("--quiet prints\n%s\nwant the 29 that are refused", refused)
	}
}

// TestVerifyJSON: the fields are those that the documentation names.
func TestVerifyJSON(t *testing.T) {
	page, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "Each object of `--json`, for `verify`")
	table, _, _ = strings.Cut(table, "\n## ")
	trusted := "--trusted=" + keys + "/rsa2048.pem"
	out, _ := verify(t, trusted, "--json", golden+"/hello-rsa2048-sha256.ko", "../testdata/hello.ko", filepath.Join(t.TempDir(), "missing.ko"))
	enforced, _ := verify(t, trusted, "--json", "--enforce", golden+"/hello-rsa4096-sha512.ko")
	var objects []map[string]any
	for line := range strings.Lines(out + enforced) {
		object := map[string]any{}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		objects = append(objects, object)
		for _, field := range slices.Sorted(maps.Keys(object)) {
			if !strings.Contains(table, "`"+field+"`") {
				t.Errorf("the table in docs/commands.md lacks %s", field)
			}
		}
	}
	if len(objects) != 4 {
		t.Fatalf("%d objects, want 4:\n%s%s", len(objects), out, enforced)
	}
	for file, want := range map[string]map[string]any{
		"hello-rsa2048-sha256.ko": {"accepted": true, "loads": true, "data_size": 5248.0, "kernel": "6.12"},
		"hello.ko":                {"accepted": false, "loads": true, "taints": true, "errno": "ENODATA", "errno_number": 61.0, "function": "module_sig_check"},
		"hello-rsa4096-sha512.ko": {
			"accepted": false, "loads": false, "errno": "ENOKEY", "function": "pkcs7_validate_trust",
			"load_errno": "EKEYREJECTED", "load_errno_number": 129.0, "log": "Loading of module with unavailable key is rejected",
		},
		"missing.ko": {"accepted": false},
	} {
		i := slices.IndexFunc(objects, func(o map[string]any) bool { return filepath.Base(o["file"].(string)) == file })
		for field, value := range want {
			if got := objects[i][field]; got != value {
				t.Errorf("%s: %s is %v, want %v", file, field, got, value)
			}
		}
		if file == "missing.ko" && objects[i]["error"] == nil {
			t.Error("no error for a file that is missing")
		}
	}
}
