package kernel_test

import (
	"bytes"
	"errors"
	"math/rand"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sign-file/kernel"
)

// TestAgainstRunningKernel holds certificates, whole and damaged, against the kernel that
// runs the test: anyone may add keys to a keyring of their own thread.
func TestAgainstRunningKernel(t *testing.T) {
	ask := addKey(t)
	rules, _, err := kernel.Running()
	if err != nil {
		t.Fatal(err)
	}
	j := kernel.NewJudge(rules, new(kernel.Ring), kernel.Module)
	compare := func(what string, der []byte) {
		t.Helper()
		v, err := j.Certificate(der)
		if err != nil {
			return // P-192, which is not decided here
		}
		if want := ask(der); v.Errno != want {
			t.Errorf("%s: %s from %s (%s), the kernel says %s\n%x", what, v.Name(), v.Func, v.Reason, unix.ErrnoName(want), der)
		}
	}
	for _, file := range slices.Concat(glob(t, "*.x509"), glob(t, "odd/*.x509")) {
		compare(file, read(t, file))
	}
	a := authority{t, t.TempDir()}
	a.ca("root")
	a.issue("leaf", "root", "keyid,issuer:always")
	random := rand.New(rand.NewSource(1))
	var whole [][]byte
	for _, c := range certificates(t, a.path("root"), a.path("leaf"), key(t, "p384.pem")) {
		whole = append(whole, c.Raw)
	}
	for range 3000 {
		compare("damaged", damage(random, whole[random.Intn(len(whole))]))
	}
}

// addKey asks the running kernel, if it's one whose rules are known and lets us.
func addKey(t *testing.T) func(der []byte) syscall.Errno {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if known := slices.ContainsFunc(kernel.Series(), func(series string) bool {
		return strings.HasPrefix(release, series+".") || series == "7.0" && release[0] >= '7'
	}); !known {
		t.Skipf("the rules of kernel %s are not known", release)
	}
	runtime.LockOSThread() // and never unlock it: the keyring goes with the thread
	ring, err := unix.AddKey("keyring", "sign-file test", nil, unix.KEY_SPEC_THREAD_KEYRING)
	if err != nil {
		t.Skipf("add_key: %v", err)
	}
	ask := func(der []byte) syscall.Errno {
		var errno syscall.Errno
		_, err := unix.AddKey("asymmetric", "certificate", der, ring)
		errors.As(err, &errno)
		return errno
	}
	if errno := ask(certificates(t, key(t, "rsa2048.pem"))[0].Raw); errno != 0 {
		t.Skipf("the kernel takes no certificates: %v", errno) // CONFIG_X509_CERTIFICATE_PARSER is off
	}
	return ask
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("../testdata/keys", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: nothing found (%v)", pattern, err)
	}
	return found
}

// damage changes one to three bytes, inserts or deletes some, and puts tags and
// lengths where others were, in the authority key identifier above all.
func damage(random *rand.Rand, whole []byte) []byte {
	const telling = "\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\xa0\xa1\xa2\xa3\xa4\xa5\xa6\x02\x04\x06\x16\x30\x31\xff"
	b := slices.Clone(whole)
	for range 1 + random.Intn(3) {
		at := random.Intn(len(b))
		switch random.Intn(5) {
		case 0:
			b[at] = byte(random.Intn(256))
		case 1:
			b = slices.Delete(b, at, min(len(b), at+1+random.Intn(4)))
		case 2:
			b = slices.Insert(b, at, byte(random.Intn(256)))
		case 3:
			b[at] = telling[random.Intn(len(telling))]
		case 4:
			identifier := max(0, bytes.Index(b, []byte("\x55\x1d\x23")))
			b[min(len(b)-1, identifier+random.Intn(80))] = telling[random.Intn(len(telling))]
		}
	}
	return b
}
