package gate_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"sign-file/gate"
)

// create runs map gate create, and returns what it says.
func create(t *testing.T, as *syscall.SysProcAttr) string {
	t.Helper()
	cmd := exec.Command("/sign-file", "map", "gate", "create", "refused", "--value-size", "2048", "--trusted", "/rsa2048.x509")
	cmd.SysProcAttr = as
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("a gate was created:\n%s", out)
	}
	if names, err := gate.List(gate.DefaultDir); err != nil || len(names) > 0 {
		t.Errorf("gates: %v %v", names, err)
	}
	return string(out)
}

// Who may not have a gate is told why, and nothing is changed.
func TestUnprivileged(t *testing.T) {
	inMachine(t)
	out := create(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	if !strings.Contains(out, "CAP_BPF") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("no right to load programs:\n%s", out)
	}
}

// The root of a user namespace, as in a container, has capabilities that bpf(2) does not
// look at.
func TestUserNamespace(t *testing.T) {
	inMachine(t)
	if _, err := os.Stat("/proc/self/ns/user"); err != nil {
		t.Skipf("this kernel has no user namespaces: %v", err)
	}
	out := create(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	})
	if !strings.Contains(out, "run it as root of the machine") || strings.Contains(out, "MEMLOCK") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("the root of a user namespace:\n%s", out)
	}
}

// Lockdown for confidentiality can't be lifted again, so that this is the last test.
func TestZLockdown(t *testing.T) {
	inMachine(t)
	if err := os.WriteFile("/sys/kernel/security/lockdown", []byte("confidentiality"), 0); err != nil {
		t.Skipf("this kernel has no lockdown: %v", err)
	}
	out := create(t, nil)
	if !strings.Contains(out, "locked down for confidentiality") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("lockdown:\n%s", out)
	}
}
