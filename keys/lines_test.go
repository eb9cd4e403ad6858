package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sign-file/keys"
	"sign-file/test/testenv"
)

// helper writes a program that answers lines, and opens a key that it signs with.
func helper(t *testing.T, script string) keys.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "helper")
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := keys.Open(t.Context(), "exec-lines:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { key.Close() })
	return key
}

func sign(key keys.Key, ctx context.Context, data string) ([]byte, error) {
	sum := sha256.Sum256([]byte(data))
	return key.(keys.ContextSigner).SignContext(ctx, nil, sum[:], crypto.SHA256)
}

// TestLines: one process for all, and each caller gets the answer to its own question.
func TestLines(t *testing.T) {
	testenv.Tool(t, "openssl")
	testenv.Tool(t, "xxd")
	private, err := filepath.Abs("../testdata/keys/rsa2048.key")
	if err != nil {
		t.Fatal(err)
	}
	started := filepath.Join(t.TempDir(), "started")
	key := helper(t, "echo x >> "+started+`
		while read -r hash digest; do
			xxd -r -p <<<"$digest" | openssl pkeyutl -sign -inkey `+private+` -pkeyopt "digest:$hash" | base64 -w0; echo
		done`)
	file, err := keys.Open(t.Context(), private, nil)
	if err != nil {
		t.Fatal(err)
	}
	public := file.Public().(*rsa.PublicKey)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			data := fmt.Sprint(i)
			value, err := sign(key, t.Context(), data)
			sum := sha256.Sum256([]byte(data))
			if err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], value) != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	if starts, _ := os.ReadFile(started); string(starts) != "x\n" {
		t.Errorf("%d processes", bytes.Count(starts, []byte("x")))
	}
	key.Close()
	if _, err := sign(key, t.Context(), "late"); err == nil {
		t.Error("a closed key signs")
	}
}

// TestLinesFail: what goes wrong is an error of the signature that it is about, and of all
// that are left once the process has ended.
func TestLinesFail(t *testing.T) {
	for what, c := range map[string]struct {
		script     string
		first, say string // whether the first is answered, and what the others say
	}{
		"ends at once":       {"exit 1", "", "ended"},
		"ends after one":     {"read -r x; echo AAAA", "ok", "ended"},
		"refuses":            {"while read -r x; do echo 'error denied by policy'; done", "", "denied by policy"},
		"no base64":          {"while read -r x; do echo '!!!'; done", "", "no line of base64"},
		"an empty line":      {"while read -r x; do echo; done", "", "no line of base64"},
		"says it on stderr":  {"echo no card >&2; exit 1", "", "no card"},
		"a line too long":    {"read -r x; head -c 100000 /dev/zero; sleep 9", "", "ended"},
		"answers unasked":    {"echo AAAA; sleep 9", "", "ended"},
		"more than is asked": {"read -r x; echo AAAA; echo BBBB; sleep 9", "ok", "was not asked for"},
	} {
		key := helper(t, c.script)
		if strings.Contains(what, "unasked") {
			time.Sleep(50 * time.Millisecond)
		}
		_, err := sign(key, t.Context(), "first")
		if (err == nil) != (c.first == "ok") && what != "answers unasked" {
			t.Errorf("%s, first: %v", what, err)
		}
		if strings.HasPrefix(what, "more") {
			time.Sleep(100 * time.Millisecond)
		}
		for range 3 {
			if _, err = sign(key, t.Context(), "next"); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%s: %v, want %q", what, err, c.say)
			}
		}
		begun := time.Now()
		key.Close()
		if time.Since(begun) > 3*time.Second && !strings.Contains(c.script, "sleep") {
			t.Errorf("%s: closing took %v", what, time.Since(begun))
		}
	}
}

// TestLinesCancelled: who no longer waits leaves an answer behind that nobody else gets.
func TestLinesCancelled(t *testing.T) {
	key := helper(t, `n=0; while read -r x; do n=$((n+1)); [ $n = 1 ] && sleep 0.3; echo -n "answer$n" | base64; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sign(key, ctx, "one"); err == nil {
		t.Error("no error")
	}
	if value, err := sign(key, t.Context(), "two"); err != nil || string(value) != "answer2" {
		t.Errorf("%q, %v", value, err)
	}
}

// TestReferenceFile: a file that names a key, and where its passphrase is.
func TestReferenceFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := os.ReadFile("../testdata/keys/odd/encrypted-pkcs8.key")
	if err != nil {
		t.Fatal(err)
	}
	write("k", string(key), 0o600)
	write("pin", "secret\n", 0o600)
	write("open-pin", "secret\n", 0o644)
	write("echo", "#!/bin/sh\necho secret\n", 0o700)
	write("agent", "#!/bin/sh\nsleep 5 &\necho secret\n", 0o700)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	const head = "sign-file key reference\nkey k\n"
	for content, says := range map[string]string{
		head + "passphrase-file pin\n":                                    "",
		head + "# a comment\n\n passphrase-file  " + dir + "/pin\n":       "",
		head + "passphrase-credential pin\n":                              "",
		head + "passphrase-command " + dir + "/echo\n":                    "",
		head + "passphrase-command ./echo\n":                              "",
		head + "passphrase-command ./agent\n":                             "",
		head + "passphrase-file fifo\n":                                   "not a regular file",
		"sign-file key reference\nkey exec:./echo more words\n":           "",
		"sign-file key reference\nkey exec-lines:./echo\n":                "",
		"sign-file key reference\nkey exec:./echo\npassphrase-file pin\n": "no use to a command",
		head:                                                "no PIN",
		head + "passphrase-file open-pin\n":                 "others have rights",
		head + "passphrase-file none\n":                     "no such file",
		head + "passphrase-command /no/such\n":              "no such file",
		head + "passphrase-credential ../pin\n":             "no slash",
		head + "passphrase-file pin\npassphrase-file pin\n": "comes twice",
		head + "toast yes\n":                                "not known",
		"sign-file key reference\n":                         "without a key line",
		"sign-file key reference\nkey ref\n":                "too many",
		"sign-file key reference\nkey missing\n":            "no such file",
	} {
		ref := write("ref", content, 0o600)
		opened, err := keys.Open(t.Context(), ref, nil)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", content, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", content, err)
		}
		if opened != nil {
			opened.Close()
		}
	}
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		if _, err := keys.Open(t.Context(), write("ref", head+"passphrase-file pin\n", mode), nil); err == nil {
			t.Errorf("mode %o: no error", mode)
		}
	}
	ref := write("ref", head+"passphrase-file pin\n", 0o600)
	link := filepath.Join(t.TempDir(), "link") // beside which there is no k
	if err := os.Symlink(ref, link); err != nil {
		t.Fatal(err)
	}
	if opened, err := keys.Open(t.Context(), link, nil); err != nil {
		t.Error(err)
	} else {
		opened.Close()
	}
	for mode, fine := range map[os.FileMode]bool{0o777: false, 0o777 | os.ModeSticky: true, 0o755: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open(t.Context(), ref, nil); (err == nil) != fine {
			t.Errorf("in a folder of mode %v: %v", mode, err)
		}
	}
}
