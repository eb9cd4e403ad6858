package cli

import (
	"fmt"
	"strings"
	"testing"

	"sign-file/kernel"
)

// TestRejectedPage holds the page to what verify and explain say.
func TestRejectedPage(t *testing.T) {
	var rows strings.Builder
	for _, c := range kernel.Causes() {
		var errnos, logs []string
		for _, e := range c.Errnos {
			errnos = append(errnos, fmt.Sprintf("%s, %q", kernel.ErrnoName(e), e.Error()))
		}
		for _, log := range c.Logs {
			logs = append(logs, "`"+log+"`")
		}
		escaped := strings.NewReplacer("|", "\\|", "<", "\\<").Replace
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s | %s |\n", c.Name, strings.Join(errnos, "; "), strings.Join(logs, "; "), escaped(c.Text), escaped(c.Advice))
	}
	page := string(read(t, "../../docs/rejected.md"))
	if !strings.Contains(page, rows.String()) {
		t.Errorf("docs/rejected.md has not these rows:\n%s", rows.String())
	}
}

// TestExplain: what people paste leads to its cause.
func TestExplain(t *testing.T) {
	for seen, want := range map[string]string{
		"modprobe: ERROR: could not insert 'hello': Key was rejected by service": "unsigned unavailable-key unsupported-crypto blacklisted attributes mismatch",
		"EKEYREJECTED":                     "unsigned unavailable-key unsupported-crypto blacklisted attributes mismatch",
		"ENOSYS":                           "no-modules",
		"PKCS#7 key is on revocation list": "blacklisted",
		"insmod: ERROR: could not insert module hello.ko: Function not implemented": "no-modules",
		"129": "unsigned unavailable-key unsupported-crypto blacklisted attributes mismatch",
		"[    8.1] Loading of module with unavailable key is rejected":                               "unavailable-key",
		"Loading of unsigned module is rejected":                                                     "unsigned",
		"hello: module verification failed: signature and/or required key missing - tainting kernel": "unsigned unavailable-key unsupported-crypto",
		"PKCS7: Invalid module sig (has authattrs)":                                                  "attributes",
		"decompression failed with status 6":                                                         "container",
		"insmod: ERROR: could not insert module hello.ko: Bad message":                               "malformed",
		"Required key not available":                                                                 "unavailable-key",
		"Exec format error":                                                                          "no-module other-kernel",
		"version magic '6.1.0' should be '6.12.0'":                                                   "other-kernel",
		"Lockdown: insmod: unsigned module loading is restricted; see man kernel_lockdown.7":         "unsigned",
		"ENODATA":           "unsigned",
		"Unknown error 129": "unsigned unavailable-key unsupported-crypto blacklisted attributes mismatch",
		"err=-126":          "unavailable-key", "errno 74": "malformed", "hello: Unknown symbol x (err -22)": "unknown-symbol",
		"insmod: ERROR: could not insert module x.ko: Invalid module format":                                  "other-kernel",
		"Problem loading X.509 certificate -65":                                                               "certificate",
		"PKCS7: Message signed outside of X.509 validity window":                                              "validity",
		"PKCS7: Invalid firmware sig (missing authattrs)":                                                     "no-attributes",
		"x: loading out-of-tree module taints kernel.":                                                        "harmless",
		"usb 1-1: new device number 5":                                                                        "",
		"PKCS7: Unknown OID: [161] 1.2.840.113549.2.5":                                                        "unsupported-crypto harmless",
		"modprobe: ERROR: could not insert 'hello': Permission denied":                                        "policy",
		"impossible to appraise a module without a file descriptor. sig_enforce kernel parameter is enforced": "policy",
		"EACCES": "policy", "insmod: ERROR: could not insert module hello.ko: Cannot allocate memory": "memory", "ENOMEM": "memory",
		"mismatch":   "mismatch",
		"-22":        "container malformed",
		"EOPNOTSUPP": "not-built",
	} {
		var names []string
		for _, c := range kernel.Explain(seen) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %s, want %s", seen, got, want)
		}
	}
	if got := invoke(t, "explain", "toast"); got.exit != 1 || got.out != "" {
		t.Errorf("toast: %+v", got)
	}
	if got := invoke(t, "explain", "-129"); got.exit != 0 {
		t.Errorf("-129: %+v", got)
	}
}
