// Command init is the only program of the virtual machine in which signed BPF programs are
// loaded. It reports what the kernel says to each.
package main

import (
	"encoding/gob"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/test/bpf/trial"
	"sign-file/test/vm/guest"
)

func main() { guest.Run(answer) }

func answer(report func(any) error) error {
	file, err := os.Open("/" + trial.File)
	if err != nil {
		return err
	}
	var job trial.Job
	if err := gob.NewDecoder(file).Decode(&job); err != nil {
		return err
	}
	rings, err := makeKeyrings(job.Keyrings)
	if err != nil {
		return err
	}
	for _, t := range job.Trials {
		id := t.System
		if t.Keyring != "" {
			id = rings[t.Keyring]
		}
		result, err := try(&job, t, id)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		result.Name = t.Name
		if err := report(result); err != nil {
			return err
		}
	}
	return nil
}

func makeKeyrings(wanted []trial.Keyring) (map[string]int32, error) {
	// A session of our own: init has none that we could search.
	if _, err := unix.KeyctlJoinSessionKeyring("init"); err != nil {
		return nil, fmt.Errorf("session keyring: %w", err)
	}
	serials := map[string]int32{}
	for _, w := range wanted {
		ring, err := unix.AddKey("keyring", w.Name, nil, unix.KEY_SPEC_SESSION_KEYRING)
		if err != nil {
			return nil, fmt.Errorf("keyring %s: %w", w.Name, err)
		}
		serials[w.Name] = int32(ring)
		for i, der := range w.Certificates {
			key, err := unix.AddKey("asymmetric", fmt.Sprint(w.Name, i), der, ring)
			if err == nil && w.Revoked {
				_, err = unix.KeyctlInt(unix.KEYCTL_REVOKE, key, 0, 0, 0)
			}
			if err != nil {
				return nil, fmt.Errorf("key %d of %s: %w", i, w.Name, err)
			}
		}
	}
	return serials, nil
}

func try(job *trial.Job, t trial.Trial, keyring int32) (trial.Result, error) {
	if t.Pin != "" {
		return runAndFilter(t, keyring)
	}
	if t.Program != "" {
		return runProgram(t.Program, keyring)
	}
	return load(job.Loaders[t.Loader].Changed(t.Part, t.Bit), keyring, t.Bind)
}

// runProgram runs what gcc made of a skeleton: it prints what NAME__load returns.
func runProgram(name string, keyring int32) (trial.Result, error) {
	out, err := exec.Command("/"+name, strconv.Itoa(int(keyring))).Output()
	if err != nil {
		return trial.Result{}, fmt.Errorf("%s: %w", name, err)
	}
	answer, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return trial.Result{}, fmt.Errorf("it printed %q", out)
	}
	return trial.Result{Errno: syscall.Errno(-answer)}, nil
}
