package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sign-file/keys"
)

// Whatever operand a reference was given as, what is said about it holds no secret.
func TestConcealer(t *testing.T) {
	c := concealer([]string{"verify", "--trusted=pkcs11:object=a?pin-value=1234", "exec:sign 1234", "-x", "PKCS11:x=1234", "m.ko"})
	for in, want := range map[string]string{
		"m.ko: no such file": "m.ko: no such file",
		`"pkcs11:object=a?pin-value=1234": unknown hash algorithm`: `"pkcs11:object=a": unknown hash algorithm`,
		"open exec:sign 1234: no such file":                        "open exec:sign ...: no such file",
		"PKCS11:x=1234: PKCS11:x=1234":                             "PKCS11:...: PKCS11:...",
	} {
		if got := c.Replace(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestWantFile(t *testing.T) {
	for _, reference := range []string{"pkcs11:a", "PKCS11:a=1234", " exec:x 1234", "Exec:x 1234"} {
		err := wantFile("keygen", reference, "makes files")
		if !errors.As(err, new(*usageError)) || strings.Contains(fmt.Sprint(err), "1234") {
			t.Errorf("%s: %v", reference, err)
		}
	}
	for _, name := range []string{"key.pem", "./exec:x", "/tmp/pkcs11:a", "a:b"} {
		if err := wantFile("keygen", name, "makes files"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Advice is added to an error, and takes nothing away: neither its type nor the name.
func TestKeyAdviceKeepsTheError(t *testing.T) {
	_, err := keys.Open(t.Context(), "../../testdata/keys/odd/brainpoolP256r1.key", nil)
	advised := errorText(keyAdvice(err, ""))
	if !strings.HasPrefix(advised, errorText(err)+" (") || strings.Count(advised, "brainpoolP256r1.key") != 1 {
		t.Errorf("%q of %q", advised, errorText(err))
	}
}
