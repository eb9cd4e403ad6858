// Package gate runs the tests of package gate in virtual machines. They attach BPF
// programs to every system call and attack them, so they run nowhere else.
package gate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sign-file/test/gate/outcome"
	"sign-file/test/vm"
)

func TestGate(t *testing.T) {
	kernels := vm.Kernels(t)
	dir := t.TempDir()
	binaries := []vm.File{
		{Name: "gate.test", Data: build(t, dir, "test", "-c", "sign-file/gate")},
		{Name: "sign-file", Data: build(t, dir, "build", "sign-file")},
	}
	for _, pattern := range []string{"keys/rsa*", "keys/p*", "golden/rsa*.p7s", "golden/p*.p7s", "hello.ko"} {
		paths, err := filepath.Glob("../../testdata/" + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			binaries = append(binaries, vm.File{Name: filepath.Base(path), Data: data})
		}
	}
	for _, kernel := range kernels {
		t.Run(kernel.Series, func(t *testing.T) {
			files := append(binaries[:len(binaries):len(binaries)], vm.File{Name: "dummy.ko", Data: kernel.Module(t, "dummy")})
			reports := vm.Boot(t, kernel, vm.Options{
				Init:       "sign-file/test/gate/init",
				Files:      files,
				Processors: 2, // the attacks are races
				Cmdline:    "lsm=landlock,lockdown,yama,integrity,apparmor,bpf lockdown=integrity",
				Timeout:    15 * time.Minute,
			})
			var o outcome.Outcome
			if len(reports) != 1 || json.Unmarshal(reports[0], &o) != nil {
				t.Fatalf("the machine reported %s", reports)
			}
			t.Log(o.Output)
			if !o.Passed {
				t.Error("failed in the machine")
			}
		})
	}
}

// build builds a static program and returns it.
func build(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	path := filepath.Join(dir, args[0])
	command := append([]string{args[0], "-tags", "urfave_cli_no_docs", "-o", path}, args[1:]...)
	cmd := exec.Command("go", command...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", command, err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
