package kernel

import (
	"bytes"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// How a kernel was started decides what it does with modules that it can't verify. A
// configuration may have the command line in it.

// parameters are those of a kernel's command line up to "--", as next_arg reads it: quotes
// hold spaces, and names may have dashes for underscores.
func parameters(line string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		quoted := false
		words := strings.FieldsFunc(line, func(r rune) bool {
			if r == '"' {
				quoted = !quoted
			}
			return !quoted && strings.ContainsRune(" \t\n\r\v\f\u00a0", r)
		})
		for _, word := range words {
			word = strings.ReplaceAll(word, `"`, "")
			if word == "--" {
				return
			}
			name, value, given := strings.Cut(word, "=")
			if !given {
				value = "1" // for a bool; nothing else here goes without
			}
			if !yield(strings.ReplaceAll(name, "-", "_"), value) {
				return
			}
		}
	}
}

// started is what a command line says of what matters here.
type started struct {
	enforce, lockdown, fips bool
	lsm                     string // the list of security modules, empty for the configured one
}

func startedWith(line string) (s started) {
	for name, value := range parameters(line) {
		switch name {
		case "module.sig_enforce":
			s.enforce = s.enforce || isTrue(value) // once it is on, it stays
		case "lockdown":
			s.lockdown = s.lockdown || value == "integrity" || value == "confidentiality"
		case "lsm":
			s.lsm = value
		case "fips":
			n, err := strconv.ParseInt(value, 0, 32)
			s.fips = err == nil && n != 0
		}
	}
	return s
}

// isTrue is kstrtobool, which goes by the first letters.
func isTrue(value string) bool {
	value = strings.ToLower(value)
	return value != "" && strings.Contains("yt1", value[:1]) || strings.HasPrefix(value, "on")
}

// lockdownLSM is how a kernel has the security module that locks it down.
type lockdownLSM struct {
	built, early bool   // CONFIG_SECURITY_LOCKDOWN_LSM, and _EARLY
	list         string // CONFIG_LSM
}

// active says whether the module is asked at all.
func (l lockdownLSM) active(list string) bool {
	if list == "" {
		list = l.list
	}
	return l.built && (l.early || slices.Contains(strings.Split(list, ","), "lockdown"))
}

// startConfigured takes from a configuration how its kernel starts: what is forced, and
// the command line that is built in, on x86 with CONFIG_CMDLINE_BOOL.
func (k *Kernel) startConfigured(on func(string) bool, text func(string) string) {
	k.lockdown = &lockdownLSM{on("SECURITY_LOCKDOWN_LSM"), on("SECURITY_LOCKDOWN_LSM_EARLY"), text("LSM")}
	k.Unchecked, k.Enforce = !on("MODULE_SIG"), on("MODULE_SIG_FORCE")
	line := startedWith(text("CMDLINE"))
	forced := on("LOCK_DOWN_KERNEL_FORCE_INTEGRITY") || on("LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY")
	if !on("CMDLINE_BOOL") && !on("CMDLINE_FORCE") && !on("CMDLINE_EXTEND") {
		if line.enforce || line.lockdown {
			k.unsure = "the command line that is built in asks for module.sig_enforce or lockdown, and counts only where the boot loader gives none (CONFIG_CMDLINE without _FORCE or _EXTEND)"
		}
		line = started{}
	}
	k.Lockdown = k.lockdown.active(line.lsm) && (forced || line.lockdown)
	k.Enforce = k.Enforce || line.enforce
	k.FIPS = k.FIPS || line.fips
}

// startRunning asks the machine at root. What it does not tell is not decided: that a
// container has no securityfs does not mean that the kernel is not locked down.
func (k *Kernel) startRunning(root string) {
	k.unsure = ""
	cmdline, _ := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	line := startedWith(string(cmdline))
	k.FIPS = k.FIPS || isOn(root, "proc/sys/crypto/fips_enabled")
	const enforce = "sys/module/module/parameters/sig_enforce"
	k.Enforce = k.Enforce || line.enforce || isOn(root, enforce)
	if _, err := os.Stat(filepath.Join(root, enforce)); err != nil && !k.Enforce {
		k.unsure = "/" + enforce + " is not there (mount -t sysfs sysfs /sys)"
	}
	text, err := os.ReadFile(filepath.Join(root, "sys/kernel/security/lockdown"))
	_, mounted := os.Stat(filepath.Join(root, "sys/kernel/security/lsm"))
	switch {
	case err == nil:
		k.Lockdown = !bytes.Contains(text, []byte("[none]"))
	case k.Lockdown:
	case mounted == nil, k.lockdown != nil && !k.lockdown.active(line.lsm): // it has no lockdown
	case k.lockdown != nil && line.lockdown:
		k.Lockdown = true
	default:
		k.unsure = "/sys/kernel/security/lockdown is not there (mount -t securityfs securityfs /sys/kernel/security), so whether the kernel is locked down, as with Secure Boot, is not known"
	}
}

// isOn reads a switch of the kernel's.
func isOn(root, file string) bool {
	b, err := os.ReadFile(filepath.Join(root, file))
	return err == nil && (strings.HasPrefix(string(b), "1") || strings.HasPrefix(string(b), "Y"))
}
