package trust

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"sign-file/certificate"
	"sign-file/internal/bounded"
)

// Running is the source that means this machine's keys.
const Running = "running"

// The GUIDs of UEFI variables: the image security database, shim's, the global ones.
const (
	guidSecurity = "-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	guidShim     = "-605dab50-e046-4300-abb6-3dd810dd8b23"
	guidGlobal   = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

// machine is a system whose keys are read; root is where its file system lies.
type machine struct {
	root    string
	release string
}

// loadRunning trusts what the running kernel trusts, as far as files tell: the
// certificates of its image, UEFI's db, and shim's list where Secure Boot is on.
// The kernel hands out no key, only descriptions: keys that it has and no file
// explains are noted.
func (l *loader) loadRunning(m machine) error {
	before := len(l.ring.Certificates())
	if err := l.loadOwnImage(m); err != nil {
		return err
	}
	if err := l.loadVariables(m); err != nil {
		return err
	}
	l.readKeys(m)
	if len(l.ring.Certificates()) == before {
		return fmt.Errorf("no key of the running kernel is readable: name its image, or certificates (%s)", strings.Join(l.notes, "; "))
	}
	return nil
}

// loadOwnImage looks where distributions put a kernel.
func (l *loader) loadOwnImage(m machine) error {
	for _, pattern := range []string{"boot/vmlinuz-%s", "lib/modules/%s/vmlinuz", "usr/lib/modules/%s/vmlinuz", "boot/vmlinux-%s"} {
		path := filepath.Join(m.root, fmt.Sprintf(pattern, m.release))
		err := l.loadFile(path)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	l.note("the image of kernel %s is not to be found or not readable, so its built-in certificates are not known", m.release)
	return nil
}

// loadVariables reads UEFI's variables, if there are any.
func (l *loader) loadVariables(m machine) error {
	if _, ok := m.variable("MokIgnoreDB" + guidShim); !ok {
		if err := l.loadVariable(m, "db"+guidSecurity, l.addSignatureLists); err != nil {
			return err
		}
	}
	if err := l.loadVariable(m, "dbx"+guidSecurity, l.blacklistSignatureLists); err != nil {
		return err
	}
	if on, ok := m.variable("SecureBoot" + guidGlobal); !ok || len(on) != 1 || on[0] != 1 {
		return nil // the kernel does not read shim's list then
	}
	if err := l.loadVariable(m, "MokListRT"+guidShim, l.addSignatureLists); err != nil {
		return err
	}
	return l.loadVariable(m, "MokListXRT"+guidShim, l.blacklistSignatureLists)
}

func (l *loader) loadVariable(m machine, name string, load func([]byte) error) error {
	value, ok := m.variable(name)
	if !ok {
		return nil
	}
	if err := load(value); err != nil {
		return fmt.Errorf("UEFI variable %s: %w", name, err)
	}
	return nil
}

// variable reads one; efivarfs puts four bytes of attributes before the value.
func (m machine) variable(name string) ([]byte, bool) {
	b, err := bounded.ReadFile(filepath.Join(m.root, "sys/firmware/efi/efivars", name), certificate.MaxFileSize)
	if err != nil || len(b) < 4 {
		return nil, false
	}
	return b[4:], true
}

// Lines of /proc/keys end with the type's name, and the key's description.
var (
	asymmetricKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^asymmetri (.*): X509\.\S+(?: [0-9a-f]+)? \[.*\]$`)
	})
	blacklistKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^blacklist ((?:tbs|bin):[0-9a-f]+)$`)
	})
)

// readKeys reads the descriptions of keys, and the blacklist, which is nothing but
// descriptions.
func (l *loader) readKeys(m machine) {
	f, err := os.Open(filepath.Join(m.root, "proc/keys"))
	if err != nil {
		return
	}
	defer f.Close()
	known := map[string]bool{}
	for _, c := range l.ring.Certificates() {
		known[string(c.SubjectKeyID)] = true
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// serial flags usage timeout permissions uid gid, then type and description
		fields := strings.Fields(lines.Text())
		if len(fields) < 9 {
			continue
		}
		line := strings.Join(fields[7:], " ")
		if key := blacklistKey().FindStringSubmatch(line); key != nil {
			if err := l.ring.Blacklist(key[1]); err != nil {
				l.note("%v", err)
			}
		}
		if key := asymmetricKey().FindStringSubmatch(line); key != nil && !known[keyIDIn(key[1])] {
			l.note("the kernel has a key %q, and no file here holds its certificate", key[1])
		}
	}
}

// keyIDIn is the key identifier at the end of a description ("subject: key
// identifier" in x509_key_preparse).
func keyIDIn(description string) string {
	id, err := hex.DecodeString(description[strings.LastIndex(description, " ")+1:])
	if err != nil {
		return ""
	}
	return string(id)
}

func (l *loader) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}
