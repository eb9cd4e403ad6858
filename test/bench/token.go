package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	tokenLatency = 20 * time.Millisecond // of test/standin, for each signature
	tokenModules = 400
	// The median size of a kernel's modules.
	tokenModuleSize = 41 << 10
)

// token signs with a stand-in for a network HSM, which sleeps and costs nothing, and
// prints the time as a ratio to what its sessions by themselves would take.
func (b *bench) token(out io.Writer) error {
	if _, err := exec.LookPath("gcc"); err != nil {
		fmt.Fprintf(out, "\nA token was not measured: %v.\n", err)
		return nil
	}
	library := filepath.Join(b.dir, "standin.so")
	if text, err := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-o", library, "test/standin/standin.c", "-lpthread").CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s", err, text)
	}
	modules := filepath.Join(b.dir, "token")
	environment, err := b.tokenKey(modules)
	if err != nil {
		return err
	}
	environment = append(environment, "STANDIN_MODE=slow", "KBUILD_SIGN_PIN=1234")
	fmt.Fprintf(out, "\n%d modules of %d KB, RSA-2048, sha256, on a token that takes %v for a signature, against sessions that never wait:\n\n"+
		"| sessions | wall | at best, s | ours, s | CPU, s |\n|---|---|---|---|---|\n", tokenModules, tokenModuleSize>>10, tokenLatency)
	for _, sessions := range []int{1, 2, 4, 8, 16} {
		signed := filepath.Join(b.dir, "token-signed")
		cmd := exec.Command(b.ours, "sign", "--quiet", "--jobs", fmt.Sprint(sessions), "--output-dir", signed,
			"sha256", "pkcs11:token=standin?module-path="+library, filepath.Join(b.keys, "rsa2048.pem"), modules)
		cmd.Env = append(os.Environ(), environment...)
		start := time.Now()
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		wall, best := time.Since(start), tokenLatency*tokenModules/time.Duration(sessions)
		fmt.Fprintf(out, "| %d | %.2f | %.2f | %.2f | %.2f |\n", sessions, float64(wall)/float64(best), best.Seconds(), wall.Seconds(),
			(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		if err := os.RemoveAll(signed); err != nil {
			return err
		}
	}
	return nil
}

// tokenKey makes a folder of modules that are all one, since the stand-in has no key
// but one signature, and returns the environment that tells it where that is.
func (b *bench) tokenKey(modules string) ([]string, error) {
	if err := os.Mkdir(modules, 0o700); err != nil {
		return nil, err
	}
	first := filepath.Join(modules, "0.ko")
	if err := makeModule(first, tokenModuleSize); err != nil {
		return nil, err
	}
	for i := 1; i < tokenModules; i++ {
		if err := os.Link(first, filepath.Join(modules, fmt.Sprintf("%d.ko", i))); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(b.theirs, append(append([]string{"-d"}, b.operands("sha256", "rsa2048")...), first)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	message, err := os.ReadFile(first + ".p7s")
	if err != nil {
		return nil, err
	}
	const size = 2048 / 8 // the signature ends the message
	signature := filepath.Join(b.dir, "signature")
	return []string{"STANDIN_SIGNATURE=" + signature}, os.WriteFile(signature, message[len(message)-size:], 0o600)
}
