package kernel_test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/certificate"
	"sign-file/kernel"
)

// renewal describes a certificate of a test key: what OpenSSL is asked for.
type renewal struct{ key, subject, serial, keyID string }

const keyID = "4242424242424242424242424242424242424242"

func (r renewal) make(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, strings.NewReplacer("/", "_", "=", "_").Replace(r.key+r.subject+r.serial+r.keyID)+".pem")
	arguments := []string{"req", "-x509", "-new", "-key", key(t, r.key+".key"), "-sha256", "-days", "3650", "-subj", r.subject, "-set_serial", r.serial,
		"-config", "/dev/null", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "authorityKeyIdentifier=none", "-addext", "subjectKeyIdentifier=" + r.keyID, "-out", path}
	openssl(t, dir, arguments...)
	return path
}

// TestDisplaced: a keyring has one key of each description, and the last stays. The errnos
// are those of Linux 6.12.117 with the same certificates built into it, EKEYREJECTED with
// the log line "unavailable key" for ENOKEY.
func TestDisplaced(t *testing.T) {
	const ok, noKey, rejected = syscall.Errno(0), syscall.ENOKEY, syscall.EKEYREJECTED
	const rsa, other = "rsa2048", "rsa3072"
	data := []byte("the signed data")
	first := renewal{rsa, "/CN=TT", "1", keyID}
	for _, c := range []struct {
		name          string
		first, second renewal
		want          [2]syscall.Errno // of what either has signed
	}{
		{"renewed", first, renewal{rsa, "/CN=TT", "2", keyID}, [2]syscall.Errno{noKey, ok}},
		{"another key", first, renewal{other, "/CN=TT", "2", keyID}, [2]syscall.Errno{noKey, ok}},
		{"another key, the same number", first, renewal{other, "/CN=TT", "1", keyID}, [2]syscall.Errno{rejected, ok}},
		{"a unit differs", renewal{rsa, "/OU=1/CN=TT", "1", keyID}, renewal{other, "/OU=2/CN=TT", "2", keyID}, [2]syscall.Errno{noKey, ok}},
		{"identifier and number", renewal{rsa, "/CN=TT", "1", "01"}, renewal{other, "/CN=TT", "1", "none"}, [2]syscall.Errno{rejected, ok}},
		{"another name", first, renewal{other, "/CN=UU", "2", keyID}, [2]syscall.Errno{ok, ok}},
		{"another identifier", first, renewal{other, "/CN=TT", "2", "43"}, [2]syscall.Errno{ok, ok}},
		{"the same one", first, first, [2]syscall.Errno{ok, ok}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var trusted []*certificate.Certificate
			var messages [][]byte
			for _, r := range []renewal{c.first, c.second} {
				path := r.make(t, dir)
				trusted = append(trusted, certificates(t, path)...)
				messages = append(messages, signCMS(t, data, "-noattr", "-nocerts", "-signer", path, "-inkey", key(t, r.key+".key")))
			}
			for _, keyring := range []kernel.Keyring{kernel.Named, kernel.Builtin} {
				var ring kernel.Ring
				ring.AddTo(keyring, trusted...)
				j := newJudge(t, "6.12", kernel.MapValue, &ring)
				for i, message := range messages {
					v := onMessage(t, j, message, data)
					check(t, v, c.want[i])
					if v.Errno == noKey && !strings.Contains(v.Reason, "displaced by") {
						t.Errorf("the reason does not name the later certificate: %s", v.Reason)
					}
				}
			}
			undecided(t, c.want != [2]syscall.Errno{}, trusted, messages, data)
		})
	}
}

// undecided names the certificates one by one: in which order a keyring gets them, or
// whether one keyring gets both, is not known then.
func undecided(t *testing.T, want bool, trusted []*certificate.Certificate, messages [][]byte, data []byte) {
	t.Helper()
	var ring kernel.Ring
	for _, c := range trusted {
		ring.Add(c)
	}
	for i, message := range messages {
		_, err := newJudge(t, "6.12", kernel.MapValue, &ring).Message(message, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
		if (err != nil) != want {
			t.Errorf("signed by %d, in no order: %v", i, err)
		}
	}
}
