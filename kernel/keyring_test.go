package kernel_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/test/testenv"
)

const marker = "~Module signature appended~\n"

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t testing.TB, name string) []byte { return read(t, "../testdata/golden/"+name) }

// module puts a message behind data with a trailer, laid out by hand.
func module(data, message []byte) []byte {
	info := []byte{0, 0, 2, 0, 0, 0, 0, 0}
	info = binary.BigEndian.AppendUint32(info, uint32(len(message)))
	return bytes.Join([][]byte{data, message, info, []byte(marker)}, nil)
}

func certificates(t testing.TB, paths ...string) []*certificate.Certificate {
	t.Helper()
	var all []*certificate.Certificate
	for _, path := range paths {
		c, err := certificate.First(read(t, path))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// judge is a kernel that trusts some certificates.
func judge(t testing.TB, rules string, usage kernel.Usage, trusted ...string) *kernel.Judge {
	t.Helper()
	var ring kernel.Ring
	ring.Add(certificates(t, trusted...)...)
	return newJudge(t, rules, usage, &ring)
}

func newJudge(t testing.TB, rules string, usage kernel.Usage, ring *kernel.Ring) *kernel.Judge {
	t.Helper()
	k, err := kernel.Of(rules)
	if err != nil {
		t.Fatal(err)
	}
	return kernel.NewJudge(k, ring, usage)
}

// trusting is a judge by rules that no release has.
func trusting(t testing.TB, rules *kernel.Kernel, usage kernel.Usage, trusted ...string) *kernel.Judge {
	t.Helper()
	var ring kernel.Ring
	ring.Add(certificates(t, trusted...)...)
	return kernel.NewJudge(rules, &ring, usage)
}

func onModule(t testing.TB, j *kernel.Judge, file []byte) *kernel.Verdict {
	t.Helper()
	v, err := j.Module(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func onMessage(t testing.TB, j *kernel.Judge, message, data []byte) *kernel.Verdict {
	t.Helper()
	v, err := j.Message(message, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check compares a verdict with the errno that the kernel returned; 0 is accepted.
func check(t testing.TB, v *kernel.Verdict, want syscall.Errno) {
	t.Helper()
	if v.Accepted != (want == 0) || v.Errno != want {
		t.Errorf("accepted %v, %s from %s (%s); want errno %d", v.Accepted, v.Name(), v.Func, v.Reason, want)
	}
}

// openssl runs the tool in a folder.
func openssl(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "openssl"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

// key is the path of a test key or its certificate.
func key(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../testdata/keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// signCMS has OpenSSL sign data and returns the message. Options may name signers.
func signCMS(t testing.TB, data []byte, options ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	openssl(t, dir, append([]string{"cms", "-sign", "-binary", "-md", "sha256", "-in", "data", "-outform", "DER", "-out", "p7"}, options...)...)
	return read(t, filepath.Join(dir, "p7"))
}

// by are the options that name a signer.
func by(t testing.TB, name string) []string {
	t.Helper()
	return []string{"-signer", key(t, name+".pem"), "-inkey", key(t, name+".key")}
}
