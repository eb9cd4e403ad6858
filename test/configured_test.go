package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigured: what people are told about a kernel that is configured otherwise than
// Debian's.
func TestConfigured(t *testing.T) {
	const module, unsigned = golden + "/hello-rsa2048-sha256.ko", "../testdata/hello.ko"
	const lsm = "CONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y\n"
	for _, c := range []struct {
		config string
		args   []string
		status int
		says   string
	}{
		{lsm + "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", []string{unsigned}, 1, "init_module returns EPERM"},
		{lsm + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"module.sig_enforce=1\"\n", []string{unsigned}, 1, "init_module returns EKEYREJECTED"},
		{lsm + "CONFIG_CMDLINE=\"lockdown=integrity\"\n", []string{unsigned}, 1, "whether it loads is not decided"},
		{lsm + "CONFIG_CMDLINE=\"lockdown=integrity\"\n", []string{"--json", unsigned}, 1, `"loads_unknown":`},
		{lsm, []string{unsigned}, 1, "taints the kernel"},
		{"CONFIG_SYSTEM_REVOCATION_LIST=y\nCONFIG_SYSTEM_REVOCATION_KEYS=\"certs/revoked.pem\"\n", []string{module}, 0, `CONFIG_SYSTEM_REVOCATION_KEYS="certs/revoked.pem"`},
		{"# CONFIG_SYSTEM_BLACKLIST_KEYRING is not set\n", []string{"--blacklist", "/dev/null", module}, 0, "refuses nothing of --blacklist"},
		{"# CONFIG_CRYPTO_FIPS is not set\n", []string{"--fips", module}, 0, "--fips changes nothing"},
		{"# CONFIG_IMA_APPRAISE_MODSIG is not set\n", []string{"--usage", "ima", module}, 3, "CONFIG_IMA_APPRAISE_MODSIG"},
		{"", []string{"--usage", "kexec", module}, 3, "Linux/x86"},
		{"# CONFIG_BPF_SYSCALL is not set\n", []string{"--usage", "bpf", module}, 1, "ENOSYS from bpf"},
		{"# CONFIG_SYSTEM_DATA_VERIFICATION is not set\n", []string{"--usage", "bpf", module}, 1, "EOPNOTSUPP"},
	} {
		path := filepath.Join(t.TempDir(), "config")
		writeFile(t, path, "# Linux/x86 6.12.1 Kernel Configuration\nCONFIG_MODULE_SIG=y\nCONFIG_CRYPTO_SHA256=y\n"+c.config, 0o644)
		args := append([]string{"verify", "--config", path, "--trusted", keys + "/rsa2048.pem"}, c.args...)
		out, err := run(t, nil, program(t), args...)
		status := 0
		if exit, ok := err.(*exec.ExitError); ok {
			status = exit.ExitCode()
		}
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%q, %q: exit %d, want %d and %q\n%s", c.config, c.args, status, c.status, c.says, out)
		}
	}
}
