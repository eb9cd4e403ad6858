package test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lskel is a skeleton that bpftool has made, in a folder of its own.
func lskel(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.lskel.h")
	writeFile(t, path, string(readFile(t, "../testdata/bpf/"+name+".lskel.h")), 0o640)
	return path
}

// exitStatus is that of a command that has failed, -1 if it was not run.
func exitStatus(err error) int {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

const bpfKeys = "../testdata/keys/"

// TestBPFSign: of a skeleton that was signed with a throwaway key comes the one that
// bpftool makes with the real key, in place, beside, through a pipe and by two steps.
func TestBPFSign(t *testing.T) {
	for _, series := range []string{"6.18", "7.3"} {
		t.Run(series, func(t *testing.T) {
			t.Parallel()
			want := "../testdata/bpf/allowlist-" + series + "-rsa4096.lskel.h"
			by := []string{"sha256", bpfKeys + "rsa4096.key", bpfKeys + "rsa4096.x509"}
			sign := func(flags ...string) {
				t.Helper()
				mustRun(t, nil, program(t), append(append([]string{"bpf", "sign"}, by...), flags...)...)
			}
			place := lskel(t, "allowlist-"+series+"-rsa2048")
			sign(place)
			checkSameBytes(t, place, want)
			if info, err := os.Stat(place); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			sign("--kernel", series, place)
			checkSameBytes(t, place, want)

			throwaway := lskel(t, "allowlist-"+series+"-rsa2048")
			beside := throwaway + ".signed"
			sign(throwaway, beside)
			checkSameBytes(t, beside, want)
			checkSameBytes(t, throwaway, "../testdata/bpf/allowlist-"+series+"-rsa2048.lskel.h")
			link := throwaway + ".link"
			if err := os.Symlink("x.lskel.h", link); err != nil {
				t.Fatal(err)
			}
			sign(link) // which becomes a file, as with modules
			checkSameBytes(t, link, want)
			checkSameBytes(t, throwaway, "../testdata/bpf/allowlist-"+series+"-rsa2048.lskel.h")

			throwaway = lskel(t, "allowlist-"+series+"-rsa2048")
			out := mustRun(t, nil, "sh", "-c", `exec "$0" bpf sign sha256 "$1.key" "$1.x509" - <"$2" >"$2.piped"`, program(t), bpfKeys+"rsa4096", throwaway)
			if out != "" {
				t.Error(out)
			}
			checkSameBytes(t, throwaway+".piped", want)

			remote := lskel(t, "allowlist-"+series+"-rsa2048")
			writeFile(t, remote+".digest", mustRun(t, nil, program(t), "bpf", "digest", remote), 0o600)
			mustRun(t, nil, "openssl", "pkeyutl", "-sign", "-inkey", by[1], "-pkeyopt", "digest:sha256", "-in", remote+".digest", "-out", remote+".sig")
			mustRun(t, nil, program(t), "bpf", "attach", "--signature", remote+".sig", "--cert", by[2], remote)
			checkSameBytes(t, remote, want)
		})
	}
}

// TestBPFExtract: the message is one of sign-file -d over the payload, by OpenSSL too, and
// a bare loader gets the same one.
func TestBPFExtract(t *testing.T) {
	for _, series := range []string{"6.18", "7.3"} {
		file := lskel(t, "allowlist-"+series+"-rsa2048")
		part := func(name string) string {
			mustRun(t, nil, program(t), "bpf", "extract", "--"+name, file, file+"."+name)
			return file + "." + name
		}
		payload, message, insns, data := part("payload"), part("signature"), part("insns"), part("data")
		mustRun(t, nil, "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", message, "-content", payload,
			"-CAfile", bpfKeys+"rsa2048.pem", "-certfile", bpfKeys+"rsa2048.pem", "-purpose", "any", "-out", os.DevNull)
		mustRun(t, nil, program(t), "-d", "-k", "sha256", bpfKeys+"rsa2048.key", bpfKeys+"rsa2048.pem", payload)
		checkSameBytes(t, payload+".p7s", message)

		bare := []string{"--insns", insns, "--data", data}
		mustRun(t, nil, program(t), append([]string{"bpf", "sign", "sha256", bpfKeys + "rsa2048.key", bpfKeys + "rsa2048.pem", file + ".p7s"}, bare...)...)
		checkSameBytes(t, file+".p7s", message)
		kernel := map[string]string{"6.18": "7.2", "7.3": "7.3"}[series]
		mustRun(t, nil, program(t), append([]string{"bpf", "verify", "--kernel", kernel, "--trusted", bpfKeys + "rsa2048.pem", "--signature", message}, bare...)...)
	}
}

// TestBPFVerify: exit codes, and what the object of --json has.
func TestBPFVerify(t *testing.T) {
	old, new := lskel(t, "allowlist-6.18-rsa2048"), lskel(t, "gate-7.3")
	for _, test := range []struct {
		file, kernel, trusted string
		status                int
		says                  string
	}{
		{old, "7.2", "rsa2048", 0, ""},
		{old, "7.2", "p256", 1, "ENOKEY"},
		{old, "6.18.15", "rsa2048", 1, "reads the field excl"},
		{old, "6.18", "rsa2048", 3, "not decided"},
		{old, "7.3", "rsa2048", 1, "a signature for Linux 6.18 to 7.2 (the instructions alone)"},
		{new, "7.3", "rsa2048", 0, ""},
		{new, "6.18.15", "rsa2048", 1, "a signature for Linux 7.3 and later (the instructions and the map)"},
		{new, "6.12", "rsa2048", 1, "EINVAL"},
		{"../testdata/bpf/allowlist-unsigned.lskel.h", "7.3", "rsa2048", 3, "is not signed"},
		{"../testdata/hello.ko", "7.3", "rsa2048", 3, "an ELF object"},
		{"../testdata/missing.h", "7.3", "rsa2048", 3, "no such file"},
	} {
		out, err := run(t, nil, program(t), "bpf", "verify", "--json", "--kernel", test.kernel, "--trusted", bpfKeys+test.trusted+".x509", test.file)
		status := 0
		if err != nil {
			status = exitStatus(err)
		}
		if status != test.status || !strings.Contains(out, test.says) {
			t.Errorf("%s for %s: exit %d, want %d and %q\n%s", test.file, test.kernel, status, test.status, test.says, out)
		}
		var report struct {
			File     string `json:"file"`
			Accepted *bool  `json:"accepted"`
		}
		line := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
		if err := json.Unmarshal([]byte(line), &report); err != nil || report.File != test.file || report.Accepted == nil || *report.Accepted != (test.status == 0) {
			t.Errorf("%s for %s: %v\n%s", test.file, test.kernel, err, out)
		}
	}
}

// TestBPFInspect: what scripts read of it.
func TestBPFInspect(t *testing.T) {
	for name, want := range map[string][2]any{"allowlist-6.18-rsa2048": {"6.18", 1488.0}, "allowlist-7.3-rsa4096": {"7.3", 6088.0}} {
		var report map[string]any
		if err := json.Unmarshal([]byte(mustRun(t, nil, program(t), "bpf", "inspect", "--json", lskel(t, name))), &report); err != nil {
			t.Fatal(err)
		}
		if report["scheme"] != want[0] || report["payload_size"] != want[1] || report["excl_prog_hash_matches"] != true || report["excl_prog_hash"] != report["instructions_hash"] {
			t.Errorf("%s: %v", name, report)
		}
		signature, _ := report["signature"].(map[string]any)
		if signers, _ := signature["signers"].([]any); len(signers) != 1 {
			t.Errorf("%s: %v", name, signature)
		}
	}
}

// TestBPFRefuses: what can't be signed is left as it is.
func TestBPFRefuses(t *testing.T) {
	key, cert := bpfKeys+"rsa2048.key", bpfKeys+"rsa2048.x509"
	for _, test := range []struct {
		name, skeleton string
		flags          []string
		status         int
		says           string
	}{
		{"other scheme", "allowlist-6.18-rsa2048", []string{"--kernel", "7.3"}, 1, "would not run there"},
		{"would not cover the data", "allowlist-7.3-rsa2048", []string{"--kernel", "6.18"}, 1, "would not cover its data"},
		{"kernel without signatures", "allowlist-7.3-rsa2048", []string{"--kernel", "6.12"}, 2, "from 6.18 on"},
		{"no kernel", "allowlist-7.3-rsa2048", []string{"--kernel", "x"}, 2, "not a kernel release"},
		{"unsigned", "allowlist-unsigned", nil, 1, "bpftool gen skeleton -L -S"},
		{"a skeleton as a bare loader", "allowlist-7.3-rsa2048", []string{"--insns", "../testdata/bpf/allowlist-7.3-rsa2048.lskel.h"}, 1, "name it without --insns"},
		{"data alone", "allowlist-7.3-rsa2048", []string{"--data", cert}, 2, "--data wants --insns"},
		{"hash", "allowlist-7.3-rsa2048", nil, 1, "unknown"},
	} {
		file := lskel(t, test.skeleton)
		hash := "sha256"
		if test.name == "hash" {
			hash = "sha257"
		}
		args := append([]string{"bpf", "sign", hash, key, cert, file}, test.flags...)
		out, err := run(t, nil, program(t), args...)
		if err == nil || exitStatus(err) != test.status || !strings.Contains(out, test.says) {
			t.Errorf("%s: %v, want exit %d and %q\n%s", test.name, err, test.status, test.says, out)
		}
		checkSameBytes(t, file, "../testdata/bpf/"+test.skeleton+".lskel.h")
		left, _ := filepath.Glob(filepath.Dir(file) + "/*")
		if len(left) != 1 {
			t.Errorf("%s: left over: %v", test.name, left)
		}
	}
	// The certificate of another key, and an output that would replace the key.
	file := lskel(t, "allowlist-7.3-rsa2048")
	if out, err := run(t, nil, program(t), "bpf", "sign", "sha256", key, bpfKeys+"rsa4096.x509", file); err == nil {
		t.Errorf("signed with another key than the certificate's\n%s", out)
	}
	copied := filepath.Join(t.TempDir(), "key")
	writeFile(t, copied, string(readFile(t, key)), 0o600)
	if out, err := run(t, nil, program(t), "bpf", "sign", "sha256", copied, cert, file, copied); err == nil {
		t.Errorf("the key was overwritten\n%s", out)
	}
	checkSameBytes(t, copied, key)
}

// TestBPFWordForWord: a header that is not bpftool's is neither signed nor verified, and says
// where it differs.
func TestBPFWordForWord(t *testing.T) {
	key, cert := bpfKeys+"rsa2048.key", bpfKeys+"rsa2048.x509"
	for says, change := range map[string]func(string) string{
		"line 3: bpftool writes __ALLOWLIST_SKEL_H__ here": func(s string) string { return strings.ReplaceAll(s, "__ALLOWLIST_SKEL_H__", "return") },
		"line 1: bpftool ends lines without a carriage":    func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"nothing behind the last #endif":                   func(s string) string { return s + "/* */\n" },
		`bpftool writes "static inline int" here`: func(s string) string {
			return strings.Replace(s, "\nstatic inline int\n", "\n/\\\n*\nstatic inline int\n", 1)
		},
	} {
		file := lskel(t, "allowlist-7.3-rsa2048")
		changed := change(string(readFile(t, file)))
		writeFile(t, file, changed, 0o600)
		if out, err := run(t, nil, program(t), "bpf", "sign", "sha256", key, cert, file); err == nil || exitStatus(err) != 1 || !strings.Contains(out, says) {
			t.Errorf("%s: signed: %v\n%s", says, err, out)
		}
		if out, err := run(t, nil, program(t), "bpf", "verify", "--kernel", "7.3", "--trusted", cert, file); err == nil || exitStatus(err) != 3 || !strings.Contains(out, says) {
			t.Errorf("%s: verified: %v\n%s", says, err, out)
		}
		if string(readFile(t, file)) != changed {
			t.Errorf("%s: the file was changed", says)
		}
	}
}

// TestBPFHost: who signs or verifies a loader of bpftool 7.7 is told what it leaves open.
func TestBPFHost(t *testing.T) {
	key, cert := bpfKeys+"rsa2048.key", bpfKeys+"rsa2048.x509"
	for name, told := range map[string]bool{"kinds-7.7": true, "kinds-6.18": false, "kinds-7.3": false} {
		file := lskel(t, name)
		kernel := map[string]string{"kinds-7.7": "6.18.15", "kinds-6.18": "7.2", "kinds-7.3": "7.3"}[name]
		for _, args := range [][]string{{"sign", "sha256", key, cert, file}, {"verify", "--kernel", kernel, "--trusted", cert, file}, {"inspect", file}} {
			out := mustRun(t, nil, program(t), append([]string{"bpf"}, args...)...)
			if strings.Contains(out, "values of global variables") != told {
				t.Errorf("%s: %s says %s", name, args[0], out)
			}
		}
	}
}

// TestBPFToken: a key on a token signs to the same bytes.
func TestBPFToken(t *testing.T) {
	h := newSoftHSM(t)
	h.load("vault", "rsa4096", "01")
	file := lskel(t, "allowlist-7.3-rsa2048")
	mustRun(t, h.withPIN(), program(t), "bpf", "sign", "sha256", "pkcs11:token=vault;object=rsa4096", bpfKeys+"rsa4096.x509", file)
	checkSameBytes(t, file, "../testdata/bpf/allowlist-7.3-rsa4096.lskel.h")
}

// TestBPFKeepsInputs: no output takes an input's place, nor another program's skeleton.
func TestBPFKeepsInputs(t *testing.T) {
	dir := t.TempDir()
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.x509")
	a, b := string(readFile(t, "../testdata/bpf/allowlist-7.3-rsa2048.lskel.h")), string(readFile(t, "../testdata/bpf/gate-7.3.lskel.h"))
	writeFile(t, dir+"/a.h", a, 0o644)
	writeFile(t, dir+"/b.h", b, 0o644)
	bpf := func(args ...string) (string, error) {
		return run(t, nil, "env", append([]string{"-C", dir, program(t), "bpf"}, args...)...)
	}
	for part, file := range map[string]string{"--insns": "i", "--data": "d"} {
		if out, err := bpf("extract", part, "a.h", file); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	mustRun(t, nil, "ln", "-s", "a.h", dir+"/link")
	before := mustRun(t, nil, "sh", "-c", "sha256sum "+dir+"/*")
	for what, args := range map[string][]string{
		"two skeletons":    {"sign", "sha256", key, cert, "a.h", "b.h"},
		"instructions":     {"sign", "--insns", "i", "--data", "d", "sha256", key, cert, "i"},
		"data":             {"sign", "--insns", "i", "--data", "d", "sha256", key, cert, "d"},
		"extract":          {"extract", "a.h", "a.h"},
		"extract, a link":  {"extract", "--data", "a.h", "link"},
		"without data":     {"sign", "--insns", "i", "sha256", key, cert, "out"},
		"an empty kernel":  {"sign", "--kernel", "", "sha256", key, cert, "a.h", "out"},
		"verify, as empty": {"verify", "--kernel", "", "--trusted", cert, "a.h"},
		"an object":        {"sign", "sha256", key, cert, absolute(t, "../testdata/hello.ko"), "out"},
	} {
		if out, err := bpf(args...); err == nil {
			t.Errorf("%s: %s", what, out)
		}
	}
	if after := mustRun(t, nil, "sh", "-c", "sha256sum "+dir+"/*"); after != before {
		t.Errorf("changed:\n%s%s", before, after)
	}
	if out, err := bpf("sign", "sha256", key, cert, "a.h", "c.h"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := bpf("sign", "sha256", key, cert, "a.h", "c.h"); err != nil {
		t.Errorf("again: %v\n%s", err, out)
	}
}
