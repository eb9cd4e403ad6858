package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// mldsaPair is a key of testdata that OpenSSL made.
func mldsaPair(t *testing.T, size int) keyPair {
	t.Helper()
	path, err := filepath.Abs(fmt.Sprintf("../testdata/keys/mldsa%d", size))
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{path + ".key", path + ".x509"}
}

// mldsaConfig is the configuration of a kernel that verifies ML-DSA.
func mldsaConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	writeFile(t, path, "# Linux/x86 7.0.0 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_MLDSA=y\n", 0o644)
	return path
}

// largeFile makes a file of 300 MB that takes no room on the disk.
func largeFile(t *testing.T, path string) string {
	t.Helper()
	writeFile(t, path, "", 0o644)
	if err := os.Truncate(path, 300<<20); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMLDSAStreams: what is signed is the content itself, which is not held in memory.
func TestMLDSAStreams(t *testing.T) {
	dir := t.TempDir()
	module := largeFile(t, filepath.Join(dir, "large.ko"))
	pair := mldsaPair(t, 44)
	const limit = 40 << 10 // KB
	for _, args := range [][]string{
		{"-d", "sha512", pair.key, pair.cert, module},
		{"sign", "-q", "--signed-attributes", "-d", "sha512", pair.key, pair.cert, module},
		{"sha512", pair.key, pair.cert, module},
		{"verify", "--config", mldsaConfig(t), "--trusted", pair.cert, module},
	} {
		if most := peakMemory(t, program(t), args...); most > limit {
			t.Errorf("%s: took %d KB of memory, want at most %d", strings.Join(args, " "), most, limit)
		}
	}
}

// TestMLDSAKernelKey signs with keys as a kernel build makes them, encrypted ones
// too, beside the real sign-file: the module is the same, and the message as long as
// its own if attributes are signed, as OpenSSL 3 has to.
func TestMLDSAKernelKey(t *testing.T) {
	openssl, judge := testenv.NewOpenSSL(t), testenv.NewSignFile(t)
	unsigned, err := filepath.Abs("../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	pin := []string{"KBUILD_SIGN_PIN=" + passphrase}
	for _, options := range [][]string{
		{"-newkey", "ml-dsa-44", "-nodes"}, {"-newkey", "ml-dsa-65", "-nodes"}, {"-newkey", "ml-dsa-87", "-nodes"},
		{"-newkey", "ml-dsa-65", "-passout", "pass:" + passphrase},
	} {
		t.Run(strings.Join(options[1:3], ""), func(t *testing.T) {
			dir := t.TempDir()
			pair := newKeyPairBy(t, openssl, dir, options...)
			sign := func(dest string, command ...string) string {
				t.Helper()
				dest = filepath.Join(dir, dest)
				writeFile(t, dest, string(readFile(t, unsigned)), 0o644)
				mustRun(t, pin, command[0], append(command[1:], "sha512", pair.key, pair.cert, dest)...)
				return dest
			}
			judged := sign("judged.ko", judge)
			attributes := sign("attributes.ko", program(t), "sign", "-q", "--signed-attributes")
			if got, want := len(readFile(t, attributes)), len(readFile(t, judged)); got != want {
				t.Errorf("signed with attributes the module has %d bytes, want %d", got, want)
			}
			for _, module := range []string{judged, attributes} {
				mustRun(t, nil, program(t), "map", "wrap", module, filepath.Join(dir, "value"))
				mustRun(t, nil, program(t), "map", "verify", "--config", mldsaConfig(t), "--trusted", pair.cert, filepath.Join(dir, "value"))
			}
			mustRun(t, nil, program(t), "verify", "--config", mldsaConfig(t), "--trusted", pair.cert, sign("plain.ko", program(t)))
		})
	}
}

// TestMLDSAKeygen holds new keys, encrypted ones too, and their certificates against
// those that openssl req makes, and has OpenSSL and the real sign-file use them.
func TestMLDSAKeygen(t *testing.T) {
	openssl, judge := testenv.NewOpenSSL(t), testenv.NewSignFile(t)
	unsigned, err := filepath.Abs("../testdata/hello.ko")
	if err != nil {
		t.Fatal(err)
	}
	pin := []string{"KBUILD_SIGN_PIN=" + passphrase}
	for kind, options := range map[string][]string{"ml-dsa-44": nil, "ml-dsa-65": {"--encrypt"}, "ml-dsa-87": nil} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			pair := keyPair{filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.x509")}
			mustRun(t, pin, program(t), append([]string{"keygen", "--subject", "/CN=" + signer, "--type", kind, pair.key, pair.cert}, options...)...)
			want := newKeyPairBy(t, openssl, t.TempDir(), "-nodes", "-newkey", kind)
			if got, want := certificateTextBy(t, openssl, "DER", pair.cert), certificateTextBy(t, openssl, "DER", want.cert); got != want {
				t.Errorf("openssl reads\n%s\nand in its own\n%s", got, want)
			}
			mustRun(t, nil, openssl, "verify", "-x509_strict", "-check_ss_sig", "-CAfile", pair.key, pair.key)
			mustRun(t, nil, openssl, "pkey", "-in", pair.key, "-noout", "-check", "-passin", "pass:"+passphrase)
			module := filepath.Join(dir, "judged.ko")
			mustRun(t, pin, judge, "sha512", pair.key, pair.cert, unsigned, module)
			module = filepath.Join(dir, "ours.ko")
			mustRun(t, pin, program(t), "sha512", pair.key, pair.cert, unsigned, module)
			mustRun(t, nil, program(t), "verify", "--config", mldsaConfig(t), "--trusted", pair.cert, module)
		})
	}
}

// TestMLDSARemote signs where the key is, with OpenSSL in the signing service's place.
func TestMLDSARemote(t *testing.T) {
	openssl := testenv.NewOpenSSL(t)
	for _, size := range []int{44, 65, 87} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir, pair := t.TempDir(), mldsaPair(t, size)
			at := func(name string) string { return filepath.Join(dir, name) }
			unsigned, err := filepath.Abs("../testdata/hello.ko")
			if err != nil {
				t.Fatal(err)
			}
			verified := func(module string) {
				t.Helper()
				mustRun(t, nil, program(t), "verify", "--config", mldsaConfig(t), "--trusted", pair.cert, module)
			}

			mu := mustRun(t, nil, program(t), "digest", "--cert", pair.cert, "sha512", unsigned)
			writeFile(t, at("mu"), mu, 0o644)
			mustRun(t, nil, openssl, "pkeyutl", "-sign", "-inkey", pair.key, "-pkeyopt", "mu:1", "-in", at("mu"), "-out", at("mu.sig"))
			mustRun(t, nil, program(t), "attach", "--signature", at("mu.sig"), "--cert", pair.cert, "--hash", "sha512", unsigned, at("mu.ko"))
			verified(at("mu.ko"))

			mustRun(t, nil, openssl, "pkeyutl", "-sign", "-rawin", "-inkey", pair.key, "-in", unsigned, "-out", at("whole.sig"))
			mustRun(t, nil, program(t), "attach", "--signature", at("whole.sig"), "--cert", pair.cert, "--hash", "sha512", unsigned, at("whole.ko"))
			verified(at("whole.ko"))

			writeFile(t, at("sign"), execMu(openssl, pair.key), 0o755)
			mustRun(t, nil, program(t), "sha512", "exec:"+at("sign"), pair.cert, unsigned, at("exec.ko"))
			verified(at("exec.ko"))

			out, err := run(t, nil, program(t), "attach", "--signature", at("whole.sig"), "--cert", pair.cert, "--hash", "sha512", at("mu.ko"))
			if err == nil {
				t.Errorf("a signature over something else is attached:\n%s", out)
			}
		})
	}
}

// execMu is the command of docs/remote-signing.md for ML-DSA keys, without xxd.
func execMu(openssl, key string) string {
	return fmt.Sprintf(`#!/bin/bash
read -r what mu
[ "$what" = mu ] || exit 1
in=$(mktemp)
trap 'rm -f "$in"' EXIT
printf "$(sed 's/../\\x&/g' <<<"$mu")" >"$in"
%s pkeyutl -sign -inkey %s -pkeyopt mu:1 -in "$in"
`, openssl, key)
}
