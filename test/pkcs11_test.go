package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sign-file/test/testenv"
)

// softHSM is a token in a folder of its own.
type softHSM struct {
	*testing.T
	dir, module string
	env         []string
}

const tokenPIN = "1234"

func newSoftHSM(t *testing.T) *softHSM {
	t.Helper()
	testenv.Tool(t, "softhsm2-util")
	testenv.Tool(t, "gcc") // without a C compiler the program has no PKCS#11
	h := &softHSM{T: t, dir: t.TempDir()}
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			h.module = found[0]
		}
	}
	if h.module == "" {
		testenv.Missing(t, "libsofthsm2.so")
	}
	mkdir(t, h.dir+"/tokens")
	writeFile(t, h.dir+"/conf", "directories.tokendir = "+h.dir+"/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", 0o644)
	h.env = []string{"SOFTHSM2_CONF=" + h.dir + "/conf", "PKCS11_PROVIDER_MODULE=" + h.module}
	h.token("vault")
	return h
}

func (h *softHSM) token(label string) {
	h.Helper()
	mustRun(h.T, h.env, "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", tokenPIN, "--so-pin", "5678")
}

// load puts a key of testdata on a token, under its own name.
func (h *softHSM) load(token, key, id string) {
	h.Helper()
	h.loadAs(token, key, key, id)
}

func (h *softHSM) loadAs(token, key, label, id string) {
	h.Helper()
	mustRun(h.T, h.env, "softhsm2-util", "--import", "../testdata/keys/"+key+".key", "--token", token,
		"--label", label, "--id", id, "--pin", tokenPIN)
}

func (h *softHSM) withPIN() []string { return append(h.env, "KBUILD_SIGN_PIN="+tokenPIN) }

// A key on a token makes the bytes that it makes in a file.
func TestTokenKeys(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	for i, key := range []string{"rsa2048", "rsa4096", "p256", "p384"} {
		h.load("vault", key, fmt.Sprintf("0%d", i+1))
	}
	for _, key := range []string{"rsa2048", "rsa4096", "p256", "p384"} {
		for _, hash := range []string{"sha256", "sha512", "sha3-384"} {
			signed := filepath.Join(t.TempDir(), "hello.ko")
			cert := "../testdata/keys/" + key + ".x509"
			mustRun(t, h.withPIN(), program(t), hash, "pkcs11:token=vault;object="+key, cert, "../testdata/hello.ko", signed)
			if strings.HasPrefix(key, "rsa") {
				pair := keyPair{"../testdata/keys/" + key + ".key", cert}
				checkSigned(t, signed, "../testdata/hello.ko", hash, pair)
				continue
			}
			_, message, _ := cut(readFile(t, signed))
			if err := verifyMessage(t, message, readFile(t, "../testdata/hello.ko"), "../testdata/keys/"+key+".pem", hash); err != nil {
				t.Errorf("%s, %s: %v", key, hash, err)
			}
		}
	}
	t.Run("certificate on the token", func(t *testing.T) {
		mustRun(t, h.env, "pkcs11-tool", "--module", h.module, "--token-label", "vault", "--login", "--pin", tokenPIN,
			"--write-object", "../testdata/keys/rsa2048.x509", "--type", "cert", "--label", "rsa2048", "--id", "01")
		signed := filepath.Join(t.TempDir(), "hello.ko")
		uri := "pkcs11:token=vault;object=rsa2048"
		mustRun(t, h.withPIN(), program(t), "sha256", uri, uri, "../testdata/hello.ko", signed)
		checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
	})
	t.Run("many modules", func(t *testing.T) {
		dir := t.TempDir()
		for i := range 100 {
			writeFile(t, fmt.Sprintf("%s/%d.ko", dir, i), string(readFile(t, "../testdata/hello.ko")), 0o644)
		}
		mustRun(t, h.withPIN(), program(t), "sign", "--jobs", "16", "sha256", "pkcs11:token=vault;id=%01", "../testdata/keys/rsa2048.x509", dir)
		for i := range 100 {
			checkSameBytes(t, fmt.Sprintf("%s/%d.ko", dir, i), "../testdata/golden/hello-rsa2048-sha256.ko")
		}
	})
	t.Run("no module named", func(t *testing.T) {
		// p11-kit's proxy has SoftHSM, as Debian's package registers it.
		env := []string{h.env[0], "KBUILD_SIGN_PIN=" + tokenPIN}
		signed := filepath.Join(t.TempDir(), "hello.ko")
		mustRun(t, env, program(t), "sha256", "pkcs11:token=vault;object=rsa2048", "../testdata/keys/rsa2048.x509", "../testdata/hello.ko", signed)
		checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
	})
	t.Run("a token of another machine", func(t *testing.T) {
		h.throughP11Kit(t)
	})
}

// throughP11Kit signs over a socket, as several machines would that share one token.
func (h *softHSM) throughP11Kit(t *testing.T) {
	p11kit := testenv.Tool(t, "p11-kit")
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	server := exec.Command(p11kit, "server", "--foreground", "--provider", h.module, "--name", socket, "pkcs11:")
	server.Env = append(os.Environ(), h.env...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	clients, _ := filepath.Glob("/usr/lib/*/pkcs11/p11-kit-client.so")
	if len(clients) == 0 {
		testenv.Missing(t, "p11-kit-client.so (package p11-kit-modules)")
	}
	signed := filepath.Join(dir, "hello.ko")
	env := []string{"P11_KIT_SERVER_ADDRESS=unix:path=" + socket, "KBUILD_SIGN_PIN=" + tokenPIN}
	mustRun(t, env, program(t), "sha256", "pkcs11:token=vault;object=rsa2048?module-path="+clients[0],
		"../testdata/keys/rsa2048.x509", "../testdata/hello.ko", signed)
	checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
}

// What is wrong is said, each in its own words; the original has one wrong message for
// all of it.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.load("vault", "rsa2048", "01")
	h.token("second")
	h.load("second", "rsa2048", "01")
	h.loadAs("vault", "rsa3072", "rsa2048", "02")
	pinFile := filepath.Join(t.TempDir(), "pin")
	writeFile(t, pinFile, tokenPIN+"\n", 0o600)
	module := filepath.Join(t.TempDir(), "hello.ko")
	for _, c := range []struct {
		uri, pin string
		want     string // in the error; empty: it works
	}{
		{"pkcs11:token=vault;id=%01", tokenPIN, ""},
		{"pkcs11:token=vault;id=%01?pin-value=" + tokenPIN, "", ""},
		{"pkcs11:token=vault;id=%01?pin-source=file:" + pinFile, "", ""},
		{"pkcs11:token=vault;id=%01", "4321", "refused the PIN"},
		{"pkcs11:token=vault;id=%01", "", "needs a PIN: no PIN: set KBUILD_SIGN_PIN"},
		{"pkcs11:token=nowhere;id=%01", tokenPIN, "no token matches token=nowhere"},
		{"pkcs11:token=vault;object=none", tokenPIN, "no private key matches object=none"},
		{"pkcs11:token=vault;id=%01?module-path=/missing.so", tokenPIN, "PKCS#11 module /missing.so"},
		{"pkcs11:token=vault;object=rsa2048", tokenPIN, "2 private keys"},
		{"pkcs11:object=rsa2048;id=%01", tokenPIN, "2 tokens match"},
		{"pkcs11:token=vault;id=%02", tokenPIN, "does not belong to the certificate"},
		{"pkcs11:token=vault;type=cert;id=%01", tokenPIN, "names no private key"},
		{"pkcs11:token=vault;id", tokenPIN, "has no \"=\""},
	} {
		writeFile(t, module, string(readFile(t, "../testdata/hello.ko")), 0o644)
		env := h.env
		if c.pin != "" {
			env = append(env[:len(env):len(env)], "KBUILD_SIGN_PIN="+c.pin)
		}
		out, err := run(t, env, program(t), "sha256", c.uri, "../testdata/keys/rsa2048.x509", module)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v\n%s", c.uri, err, out)
			}
			checkSameBytes(t, module, "../testdata/golden/hello-rsa2048-sha256.ko")
			continue
		}
		if err == nil || !strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %v, want %q in one line:\n%s", c.uri, err, c.want, out)
		}
		checkSameBytes(t, module, "../testdata/hello.ko")
	}
}

// A certificate that can't be had is told as well.
func TestTokenCertificateErrors(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.token("second")
	for i, cert := range []string{"rsa2048", "rsa3072"} {
		mustRun(t, h.env, "pkcs11-tool", "--module", h.module, "--token-label", "vault", "--login", "--pin", tokenPIN,
			"--write-object", "../testdata/keys/"+cert+".x509", "--type", "cert", "--label", "cert", "--id", fmt.Sprintf("0%d", i+1))
	}
	signed := filepath.Join(t.TempDir(), "hello.ko")
	for uri, want := range map[string]string{
		"pkcs11:token=vault;id=%01":              "",
		"pkcs11:id=%01":                          "", // only one of the tokens shows it
		"pkcs11:token=vault;id=%03":              "no certificate matches id=%03: token \"vault\"",
		"pkcs11:token=vault;object=cert":         "2 certificates on token \"vault\"",
		"pkcs11:token=vault;id=%02":              "does not belong to the certificate",
		"pkcs11:token=nowhere":                   "no token matches token=nowhere",
		"pkcs11:token=vault;type=private;id=%01": "names no certificate",
	} {
		out, err := run(t, h.withPIN(), program(t), "sha256", "../testdata/keys/rsa2048.key", uri, "../testdata/hello.ko", signed)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v\n%s", uri, err, out)
			}
			checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
			os.Remove(signed)
			continue
		}
		if err == nil || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %v, want %q in one line:\n%s", uri, err, want, out)
		}
		if _, err := os.Stat(signed); err == nil {
			t.Errorf("%s: something is written", uri)
		}
	}
}

// A build without C, which can't load a module, says so, and writes nothing.
func TestStaticBuildHasNoTokens(t *testing.T) {
	t.Parallel()
	static := filepath.Join(t.TempDir(), "sign-file")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", static, "sign-file")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	signed := filepath.Join(t.TempDir(), "hello.ko")
	cert, uri := "../testdata/keys/rsa2048.x509", "pkcs11:object=a?pin-value="+tokenPIN
	for _, pair := range []keyPair{{uri, cert}, {"../testdata/keys/rsa2048.key", uri}} {
		out, err := run(t, nil, static, "sha256", pair.key, pair.cert, "../testdata/hello.ko", signed)
		if err == nil || !strings.Contains(out, "pkcs11:object=a: PKCS#11 is not in this build") || strings.Contains(out, tokenPIN) {
			t.Errorf("%v\n%s", err, out)
		}
		if _, err := os.Stat(signed); err == nil {
			t.Errorf("%s, %s: something is written", pair.key, pair.cert)
		}
	}
	mustRun(t, nil, static, "sha256", "../testdata/keys/rsa2048.key", cert, "../testdata/hello.ko", signed)
	checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
}

// engineSign has OpenSSL's engine sign hello.ko, and returns nothing if it can't.
func (h *softHSM) engineSign(uri string) []byte {
	h.Helper()
	signature := filepath.Join(h.TempDir(), "signature")
	env := []string{h.env[0], "PKCS11_MODULE_PATH=" + h.module}
	// The exit status tells nothing: with SoftHSM 2.6.1 the engine may crash at exit.
	out, _ := run(h.T, env, "openssl", "dgst", "-sha256", "-engine", "pkcs11", "-keyform", "engine", "-sign", uri,
		"-out", signature, "../testdata/hello.ko")
	if strings.Contains(out, "could not load the shared library") {
		testenv.Missing(h.T, "OpenSSL's engine pkcs11 (package libengine-pkcs11-openssl)")
	}
	value, err := os.ReadFile(signature)
	if err != nil || len(value) == 0 {
		return nil
	}
	return value
}

// URIs mean the same key, and the same PIN, as for OpenSSL's engine, with which
// sign-file read them up to Linux 6.11.
func TestEngineURIs(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.token("my vault")
	h.loadAs("my vault", "rsa2048", "a;b&c", "01ff")
	pin := filepath.Join(t.TempDir(), "pin")
	writeFile(t, pin, tokenPIN, 0o600)
	writeFile(t, pin+"-line", tokenPIN+"\n", 0o600)
	_, message, _ := cut(readFile(t, "../testdata/golden/hello-rsa2048-sha256.ko"))
	want := lastValue(message)
	for _, c := range []struct {
		uri  string
		more bool // OpenSSL's provider takes it, though not the engine
	}{
		{"token=my%20vault;object=a%3Bb%26c;pin-value=1234", false},
		{"token=my%20vault;object=a%3bb%26c?pin-value=1234", false},
		{"token=my vault;object=a%3Bb%26c;pin-value=%31234", false},
		{"token=my%20vault;id=%01%FF?pin-value=1234", false},
		{"token=my%20vault;id=%01%ff?pin-source=file:" + pin, false},
		{"token=my%20vault;id=%01%FF;pin-source=" + pin, false},
		{"manufacturer=SoftHSM%20project;model=SoftHSM%20v2;token=my%20vault;type=private;pin-value=1234", false},
		{"token=my%20vault;pin-value=1234", false},
		{"token=my%20vault;id=%01%FF?pin-source=file:" + pin + "-line", true},
		{"token=my%20vault;x-of-a-vendor=1;pin-value=1234", true},
		{"token=my%20vault;object=a%3Bb%26c?module-path=" + h.module + "&pin-value=1234", true},
		{"token=my+vault;id=%01%FF;pin-value=1234", false},
		{"token=My%20Vault;id=%01%FF;pin-value=1234", false},
		{"token=my%20vaul;pin-value=1234", false},
		{"token=my%20vault;object=A%3Bb%26c;pin-value=1234", false},
		{"token=my%20vault;object=a;b&c;pin-value=1234", false},
		{"token=my%20vault;id=01ff;pin-value=1234", false},
		{"token=my%20vault;id=%01;pin-value=1234", false},
		{"token=my%20vault;id=%zz;pin-value=1234", false},
		{"token=my%20vault;pin-value=4321", false},
		{"token=my%20vault?pin-source=|echo%201234", false},
	} {
		reads := h.engineSign("pkcs11:" + c.uri)
		if reads != nil && !bytes.Equal(reads, want) {
			t.Fatalf("%s: the engine signs with another key", c.uri)
		}
		signed := filepath.Join(t.TempDir(), "hello.ko")
		out, err := run(t, h.env, program(t), "sha256", "pkcs11:"+c.uri, "../testdata/keys/rsa2048.x509", "../testdata/hello.ko", signed)
		if (err == nil) != (reads != nil || c.more) {
			t.Errorf("%s: the engine signs: %v, we: %v %s", c.uri, reads != nil, err, out)
		}
		if err == nil {
			checkSameBytes(t, signed, "../testdata/golden/hello-rsa2048-sha256.ko")
		}
	}
}

// standIn is a module of ours that behaves as real tokens do and SoftHSM doesn't.
type standIn struct {
	*testing.T
	module, dir, log string
}

var buildStandIn = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sign-file-standin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-Wall", "-o", dir+"/standin.so", "standin/standin.c", "-lpthread").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(dir + "/standin.so")
})

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	testenv.Tool(t, "gcc")
	library, err := buildStandIn()
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{T: t, dir: t.TempDir()}
	s.module, s.log = s.dir+"/standin.so", s.dir+"/log"
	writeFile(t, s.module, string(library), 0o755)
	_, message, _ := cut(readFile(t, "../testdata/golden/hello-rsa2048-sha256.ko"))
	writeFile(t, s.dir+"/signature", string(lastValue(message)), 0o644)
	return s
}

// sign signs that many copies of hello.ko one after another, and returns them.
func (s *standIn) sign(mode string, copies, jobs int, pin string) (modules []string, out string, err error) {
	s.Helper()
	dir := mkdir(s.T, s.dir+"/modules")
	for i := range copies {
		modules = append(modules, fmt.Sprintf("%s/%03d.ko", dir, i))
		writeFile(s.T, modules[i], string(readFile(s.T, "../testdata/hello.ko")), 0o644)
	}
	env := []string{"STANDIN_MODE=" + mode, "STANDIN_LOG=" + s.log, "STANDIN_SIGNATURE=" + s.dir + "/signature", "KBUILD_SIGN_PIN=" + pin}
	args := append([]string{"sign", "--jobs", fmt.Sprint(jobs), "sha256", "pkcs11:token=standin?module-path=" + s.module, "../testdata/keys/rsa2048.x509"}, modules...)
	out, err = run(s.T, env, program(s.T), args...)
	return modules, out, err
}

func (s *standIn) calls(name string) (n int) {
	for _, line := range strings.Split(string(readFile(s.T, s.log)), "\n") {
		if line == name {
			n++
		}
	}
	return n
}

// count tells how many modules are signed; the others have to be untouched.
func (s *standIn) count(modules []string) (signed int) {
	s.Helper()
	for _, module := range modules {
		if len(readFile(s.T, module)) == len(readFile(s.T, "../testdata/hello.ko")) {
			checkSameBytes(s.T, module, "../testdata/hello.ko")
			continue
		}
		checkSameBytes(s.T, module, "../testdata/golden/hello-rsa2048-sha256.ko")
		signed++
	}
	return signed
}

func TestStandInTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode, pin string
		signed    int // of 4 modules
		calls     map[string]int
	}{
		{"", tokenPIN, 4, map[string]int{"C_Login": 1, "C_Sign": 4, "C_Initialize": 1, "C_Finalize": 1}},
		{"always-authenticate", tokenPIN, 4, map[string]int{"C_Login": 1, "C_Login context": 4, "C_Sign": 4}},
		{"drop", tokenPIN, 4, map[string]int{"C_Login": 2, "C_Sign": 4, "C_SignInit": 5}},
		{"fail", tokenPIN, 3, map[string]int{"C_Sign": 4}},
		{"two-keys", tokenPIN, 0, map[string]int{"C_Sign": 0}},
		{"lie", tokenPIN, 1, map[string]int{"C_Sign": 4}},
		{"", "wrong", 0, map[string]int{"C_Login": 1}},
	} {
		s := newStandIn(t)
		modules, out, err := s.sign(c.mode, 4, 1, c.pin)
		if (err == nil) != (c.signed == 4) {
			t.Errorf("%s: %v\n%s", c.mode, err, out)
		}
		if n := s.count(modules); n != c.signed {
			t.Errorf("%s: %d signed, want %d\n%s", c.mode, n, c.signed, out)
		}
		for name, want := range c.calls {
			if n := s.calls(name); n != want {
				t.Errorf("%s: %d times %s, want %d", c.mode, n, name, want)
			}
		}
	}
}

// Sixteen sessions of a slow token work at once.
func TestSlowToken(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	modules, out, err := s.sign("slow", 64, 16, tokenPIN)
	if err != nil || s.count(modules) != 64 {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := s.calls("C_OpenSession"); n < 2 || n > 16 {
		t.Errorf("%d sessions for 16 jobs", n)
	}
}

// When a token drops all of its sessions at once, each is opened anew and one logs in.
func TestManySessionsDropped(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	modules, out, err := s.sign("drop-many", 100, 16, tokenPIN)
	if err != nil || s.count(modules) != 100 {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := s.calls("C_Login"); n != 2 {
		t.Errorf("%d logins, want one before and one after", n)
	}
	if n := s.calls("C_OpenSession"); n > 32 {
		t.Errorf("%d sessions for 16 jobs and one drop", n)
	}
}
