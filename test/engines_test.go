package test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestEngines: a module has the real sign-file's bytes with whatever part of the processor
// an RSA key signs with.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096"} {
		pair := keyPair{"../testdata/keys/" + name + ".key", "../testdata/keys/" + name + ".x509"}
		for _, engine := range []string{"", "avx2", "std"} {
			signed := filepath.Join(t.TempDir(), "signed.ko")
			said := mustRun(t, []string{"SIGN_FILE_RSA=" + engine}, program(t), "sha256", pair.key, pair.cert, "../testdata/hello.ko", signed)
			if said != "" {
				t.Errorf("%s, %q: %s", name, engine, said)
			}
			checkSigned(t, signed, "../testdata/hello.ko", "sha256", pair)
		}
	}
}

// TestProcessors: the program knows what a processor has. Those of QEMU have no AVX-512.
func TestProcessors(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("an x86-64 machine is missing")
	}
	qemu := testenv.Tool(t, "qemu-x86_64-static")
	pair := keyPair{"../testdata/keys/rsa2048.key", "../testdata/keys/rsa2048.x509"}
	for cpu, engine := range map[string]string{"Nehalem": "not on this processor, which lacks AVX2", "Haswell": "yes, with AVX2"} {
		if said := mustRun(t, nil, qemu, "-cpu", cpu, program(t), "--version"); !strings.Contains(said, "RSA engine: ") || !strings.Contains(said, engine) {
			t.Errorf("%s: %s", cpu, said)
		}
		signed := filepath.Join(t.TempDir(), "signed.ko")
		mustRun(t, nil, qemu, "-cpu", cpu, program(t), "sha256", pair.key, pair.cert, "../testdata/hello.ko", signed)
		checkSigned(t, signed, "../testdata/hello.ko", "sha256", pair)
	}
}

// TestVersionNamesTheEngine: it is the one that will be used, and not only what the processor
// has.
func TestVersionNamesTheEngine(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("an x86-64 machine is missing")
	}
	said := func(env ...string) string {
		_, engine, _ := strings.Cut(mustRun(t, env, program(t), "--version"), "RSA engine: ")
		return engine
	}
	if strings.Contains(said(), "not on this processor") {
		testenv.Missing(t, "a processor with AVX2")
	}
	if !strings.Contains(said(), "yes, with ") || !strings.Contains(said("SIGN_FILE_RSA=avx2"), "yes, with AVX2") {
		t.Errorf("%s%s", said(), said("SIGN_FILE_RSA=avx2"))
	}
	for variable, want := range map[string]string{"SIGN_FILE_RSA=std": "SIGN_FILE_RSA=std", "GODEBUG=fips140=on": "FIPS"} {
		if got := said(variable); strings.Contains(got, "with ") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", variable, got)
		}
	}
}
