package keys_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sign-file/keys"
)

func TestName(t *testing.T) {
	for _, c := range []struct {
		in, want string
		kind     keys.Kind
	}{
		{"key.pem", "key.pem", keys.File},
		{"./exec:x y", "./exec:x y", keys.File},
		{"/etc/keys/pkcs11:a", "/etc/keys/pkcs11:a", keys.File},
		{"", "", keys.File},
		{"pkcs11:token=a;pin-value=1234;object=b", "pkcs11:token=a;object=b", keys.TokenURI},
		{"pkcs11:token=a;pin-value=12&34", "pkcs11:...", keys.TokenURI},
		{"PKCS11:token=a;pin-value=1234", "PKCS11:...", keys.TokenURI},
		{" pkcs11:token=a;pin-value=1234", " pkcs11:...", keys.TokenURI},
		{"Pkcs11:token=a", "Pkcs11:...", keys.TokenURI},
		{"token=a;pin-value=1234", "...", keys.File},
		{"engine:pkcs11:token=a;pin-value=1234", "engine:...", keys.File},
		{"pkcs11;token=a;PIN-VALUE=1234", "...", keys.File},
		{"token=a;pin%2Dvalue=1234", "...", keys.File},
		{"token=%zz;pin%2Dvalue=1234", "...", keys.File},
		{"exec:/bin/sign --key a --pin 1234", "exec:/bin/sign ...", keys.Command},
		{"exec:  sign\t1234", "exec:sign ...", keys.Command},
		{"exec:sign", "exec:sign", keys.Command},
		{"exec:PIN=1234 sign", "exec:...", keys.Command},
		{"exec:", "exec:", keys.Command},
		{"EXEC:sign 1234", "EXEC:...", keys.Command},
	} {
		if got := keys.Name(c.in); got != c.want {
			t.Errorf("%q is shown as %q, want %q", c.in, got, c.want)
		}
		if got := keys.KindOf(c.in); got != c.kind {
			t.Errorf("%q is a %s, want a %s", c.in, got, c.kind)
		}
	}
}

// FuzzName: however a PIN is written, it isn't shown.
func FuzzName(f *testing.F) {
	for _, s := range []string{"pkcs11:", "PKCS11:token=a;", "exec:sign ", " pkcs11:x;", "pkcs11:%;", "pkcs11:token=a?x", "exec:a=", ""} {
		f.Add(s, ";pin-value=", "")
		f.Add(s, ";Pin%2DValue=", "&x=y")
	}
	f.Fuzz(func(t *testing.T, before, attribute, after string) {
		const secret = "s3cr3t-pin"
		if plain := strings.ToLower(strings.ReplaceAll(attribute, "%2D", "-")); !strings.HasSuffix(plain, "pin-value=") || strings.Contains(before+after, secret) {
			return
		}
		if before != "" && !strings.ContainsAny(before[len(before)-1:], ";?&: ") && !strings.ContainsAny(attribute[:1], ";?&") {
			return // no attribute of its own
		}
		if got := keys.Name(before + attribute + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q is shown as %q", before+attribute+secret+after, got)
		}
	})
}

// Every error of Open names the reference once, and holds no secret of it.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ reference, want string }{
		{dir + "/none.pem", "open " + dir + "/none.pem: no such file or directory"},
		{dir, "read " + dir + ": is a directory"},
		{"PKCS11:token=a;pin-value=s3cret", "open PKCS11:...: file does not exist (pkcs11:, exec: and exec-lines: are written in lower case"},
		{"Exec:sign s3cret", "open Exec:...: file does not exist (pkcs11:, exec: and exec-lines: are written in lower case"},
		{"token=a;pin-value=s3cret", "open ...: no such file or directory"},
		{"exec:PIN=s3cret sign", "open exec:...: begins with a variable"},
		{"exec:/nonexistent/sign s3cret", "stat exec:/nonexistent/sign ...: no such file or directory"},
		{"exec:nonexistent-sign s3cret", "open exec:nonexistent-sign ...: executable file not found in $PATH"},
		{"exec:", "open exec:: names no command"},
		{"pkcs11:token=a;pin-value=s3c&ret", "open pkcs11:...: part 3 of the URI"},
		{"pkcs11:token=a;type=cert;pin-value=s3cret", "open pkcs11:token=a;type=cert: type=cert in the URI names no private key"},
		{"pkcs11:token=a?module-path=/none,pin-value=s3cret", "open pkcs11:...: module-path in the URI: has pin-value in it"},
		{"/dev/zero", "read /dev/zero: larger than 16 MiB"},
	} {
		key, err := keys.Open(t.Context(), c.reference, nil)
		if err == nil || key != nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", c.reference, key, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "s3c") || strings.Contains(err.Error(), "ret") {
			t.Errorf("the secret is shown: %v", err)
		}
		var pathErr *fs.PathError
		if !errors.As(err, &pathErr) || pathErr.Path != keys.Name(c.reference) {
			t.Errorf("%s: the error names %v", c.reference, pathErr)
		}
	}
	if _, err := keys.Open(t.Context(), dir+"/none.pem", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// openScript returns a key that a script signs with.
func openScript(t *testing.T, text, arguments string) crypto.Signer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sign")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := keys.Open(t.Context(), "exec:"+path+arguments, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { key.Close() })
	return key
}

// What a command says in its trouble is passed on, without what it was told in secret.
func TestCommandSecrets(t *testing.T) {
	t.Setenv("SIGN_FILE_TEST_PIN", "s3cret-pin")
	t.Setenv("SIGN_FILE_TEST_PASSWORD", "s3cret-word")
	key := openScript(t, `echo "out of order: $* $SIGN_FILE_TEST_PIN $SIGN_FILE_TEST_PASSWORD" >&2; exit 7`, " --key /etc/key --pin s3cret-1 --pass=s3cret-2 -v")
	_, err := key.Sign(nil, make([]byte, 32), crypto.SHA256)
	if err == nil {
		t.Fatal("no error")
	}
	if want := `exit status 7 (it said: "out of order: --key /etc/key --pin ... --pass=... -v ... ...")`; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a secret is shown: %v", err)
	}
}

// A command ends with the context.
func TestCommandIsCancelled(t *testing.T) {
	key := openScript(t, "exec sleep 100", "").(keys.ContextSigner)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := key.SignContext(ctx, nil, make([]byte, 32), crypto.SHA256); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// The command writes a signature as long as none is, or none.
func TestCommandAnswers(t *testing.T) {
	for text, want := range map[string]string{
		"exit 0":                      "wrote no signature",
		"head -c 65536 /dev/zero":     "",
		"head -c 65537 /dev/zero":     "larger than 64 KiB",
		"echo broken >&2; kill -9 $$": `signal: killed (it said: "broken")`,
	} {
		signature, err := openScript(t, text, "").Sign(nil, make([]byte, 32), crypto.SHA256)
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %d bytes, %v", text, len(signature), err)
		}
	}
}
