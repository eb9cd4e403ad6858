package kernel

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestStarted: what a configuration says of how its kernel starts. That lockdown, by its
// parameter, makes EPERM of an unsigned module was seen on booted 6.1.176, 6.12.117 and 7.3.4;
// the options set the same state (lockdown_lsm_init), and are from source.
func TestStarted(t *testing.T) {
	const lsm = "CONFIG_MODULE_SIG=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y\n"
	const early = lsm + "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y\n"
	const listed = lsm + "CONFIG_LSM=\"landlock,lockdown,yama\"\n"
	for _, c := range []struct {
		config                  string
		lockdown, enforce, fips bool
		unsure                  bool
	}{
		{early + "CONFIG_LOCK_DOWN_KERNEL_FORCE_NONE=y\n", false, false, false, false},
		{early + "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", true, false, false, false},
		{early + "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y\n", true, false, false, false},
		{listed + "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", true, false, false, false},
		{lsm + "CONFIG_LSM=\"landlock,yama\"\nCONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", false, false, false, false},
		{early + "CONFIG_MODULE_SIG_FORCE=y\n", false, true, false, false},
		{early + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"quiet module.sig_enforce=1 lockdown=integrity\"\n", true, true, false, false},
		{early + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE_OVERRIDE=y\nCONFIG_CMDLINE=\"a=\\\"b c\\\" module.sig-enforce fips=1\"\n", false, true, true, false},
		{early + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"a=\\\"b lockdown=integrity\\\" module.sig_enforce=0 -- module.sig_enforce\"\n", false, false, false, false},
		{early + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"lockdown=none module.sig_enforce=n\"\n", false, false, false, false},
		{listed + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"lockdown=confidentiality lsm=yama\"\n", false, false, false, false},
		{lsm + "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"lockdown=confidentiality lsm=lockdown\"\n", true, false, false, false},
		{"CONFIG_MODULE_SIG=y\nCONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"lockdown=integrity\"\n", false, false, false, false},
		{early + "CONFIG_CMDLINE=\"lockdown=integrity\"\nCONFIG_CMDLINE_FROM_BOOTLOADER=y\n", false, false, false, true},
		{early + "CONFIG_CMDLINE=\"lockdown=integrity\"\nCONFIG_CMDLINE_FORCE=y\n", true, false, false, false},
	} {
		root := system(t, map[string]string{"config": "# Linux/x86 6.12.1 Kernel Configuration\n" + c.config})
		k, err := OfConfig(filepath.Join(root, "config"))
		if err != nil {
			t.Fatal(err)
		}
		if k.Lockdown != c.lockdown || k.Enforce != c.enforce || k.FIPS != c.fips || (k.unsure != "") != c.unsure {
			t.Errorf("%q: lockdown %v, enforce %v, FIPS %v, unsure %q", c.config, k.Lockdown, k.Enforce, k.FIPS, k.unsure)
		}
	}
}

// TestRunningLockdown: where the running kernel does not tell whether it is locked down, it
// is not taken for one that isn't. A booted 6.12.117 with lockdown=integrity and no
// securityfs returns EPERM for an unsigned module.
func TestRunningLockdown(t *testing.T) {
	const config, cmdline, off, state = "boot/config-6.12.1", "proc/cmdline", "sys/module/module/parameters/sig_enforce", "sys/kernel/security/lockdown"
	const lsm = "CONFIG_MODULE_SIG=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y\n"
	for name, c := range map[string]struct {
		files           map[string]string
		lockdown, known bool
	}{
		"nothing mounted":                {map[string]string{}, false, false},
		"no securityfs":                  {map[string]string{off: "N\n"}, false, false},
		"no securityfs, configured":      {map[string]string{off: "N\n", config: lsm}, false, false},
		"no securityfs, without the LSM": {map[string]string{off: "N\n", config: "CONFIG_MODULE_SIG=y\n"}, false, true},
		"no securityfs, command line":    {map[string]string{off: "N\n", config: lsm, cmdline: "quiet lockdown=integrity\n"}, true, true},
		"no securityfs, forced":          {map[string]string{off: "N\n", config: lsm + "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n"}, true, true},
		"securityfs without it":          {map[string]string{off: "N\n", "sys/kernel/security/lsm": "capability"}, false, true},
		"none":                           {map[string]string{off: "N\n", config: lsm, state: "[none] integrity confidentiality\n"}, false, true},
		"integrity":                      {map[string]string{off: "N\n", state: "none [integrity] confidentiality\n"}, true, true},
		"no sysfs":                       {map[string]string{config: "CONFIG_MODULE_SIG=y\n"}, false, false},
		"no sysfs, enforced":             {map[string]string{config: "CONFIG_MODULE_SIG=y\n", cmdline: "module.sig_enforce\n"}, false, true},
	} {
		k, _ := RunningAt(system(t, c.files), "6.12.1")
		if k.Lockdown != c.lockdown || (k.unsure == "") != c.known {
			t.Errorf("%s: lockdown %v, unsure %q", name, k.Lockdown, k.unsure)
		}
		v := &Verdict{Errno: 61, LoadErrno: 61} // ENODATA, unsigned
		v.load(k)
		if (v.Unsure == "") != c.known || v.Loads == (c.lockdown || !c.known || k.Enforce) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestRunningWithoutModules: /proc/modules is there if the kernel has modules, empty or not.
func TestRunningWithoutModules(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"no /proc":      {nil, false},
		"with modules":  {map[string]string{"proc/version": "Linux", "proc/modules": ""}, false},
		"without":       {map[string]string{"proc/version": "Linux"}, true},
		"as configured": {map[string]string{"boot/config-6.12.1": "# CONFIG_MODULES is not set\n"}, true},
	} {
		if k, _ := RunningAt(system(t, c.files), "6.12.1"); k.NoModules != c.want {
			t.Errorf("%s: %v", name, k.NoModules)
		}
	}
}

// FuzzParameters: a command line is anything that a boot loader passes on.
func FuzzParameters(f *testing.F) {
	for _, line := range []string{"", "quiet lockdown=integrity", `a="b c" module.sig-enforce -- fips=1`, `"`, `="`, "=", "fips=0x", "lsm=", "\x00\xff"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if s := startedWith(line); s.lockdown && !strings.Contains(line, "lockdown") || s.enforce && !strings.Contains(line, "sig") {
			t.Errorf("%q: %+v", line, s)
		}
	})
}
