package trust

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sign-file/certificate"
	"sign-file/internal/bounded"
	"sign-file/kernel"
)

// Running is the source that means this machine's keys.
const Running = "running"

// The GUIDs of UEFI variables: the image security database, shim's, the global ones.
const (
	guidSecurity = "-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	guidShim     = "-605dab50-e046-4300-abb6-3dd810dd8b23"
	guidGlobal   = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

// machine is a system whose keys are read; root is where its file system lies, and read
// returns the serial numbers of a keyring's keys, which only the kernel itself can tell.
type machine struct {
	root    string
	release string
	read    func(keyring int32) ([]int32, error)
}

// loadRunning trusts what the running kernel trusts: the certificates of its image, UEFI's
// db, and shim's list where Secure Boot is on, each in the keyring that this kernel puts it
// into. The kernel hands out no key, only descriptions; where it tells which keyring has
// which, that counts. Keys that it has and no file explains are noted.
func (l *loader) loadRunning(m machine) error {
	rules, _ := kernel.RunningAt(m.root, m.release)
	found := &loader{ring: new(kernel.Ring)}
	err := found.loadFiles(m, rules.Keyrings())
	if err == nil {
		found.readKeys(m)
	}
	l.notes = append(l.notes, found.notes...)
	if err == nil {
		err = l.ring.Join(found.ring)
	}
	return err
}

func (l *loader) loadFiles(m machine, has kernel.Keyrings) error {
	l.keyring = kernel.Builtin
	if err := l.loadOwnImage(m); err != nil {
		return err
	}
	return l.loadVariables(m, has)
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
	why := fmt.Sprintf("the image of kernel %s is not to be found or not readable, so its built-in certificates are not known", m.release)
	l.note("%s", why)
	l.ring.Incomplete(why)
	return nil
}

// loadVariables reads UEFI's variables, if there are any (load_uefi_certs).
func (l *loader) loadVariables(m machine, has kernel.Keyrings) error {
	l.keyring = kernel.Platform
	if _, ok := m.variable("MokIgnoreDB" + guidShim); !ok && has.HasPlatform {
		if err := l.loadVariable(m, "db"+guidSecurity, l.addSignatureLists); err != nil {
			return err
		}
	}
	if err := l.loadVariable(m, "dbx"+guidSecurity, l.blacklistSignatureLists); err != nil {
		return err
	}
	if on, ok := m.variable("SecureBoot" + guidGlobal); !ok || len(on) != 1 || on[0] != 1 {
		if _, enrolled := m.variable("MokListRT" + guidShim); enrolled {
			l.note("Secure Boot is off, so the kernel has not read the keys that are enrolled with mokutil")
		}
		return nil
	}
	l.noteMOK(m, has)
	if err := l.loadVariable(m, "MokListRT"+guidShim, func(b []byte) error { return l.addMOK(b, has) }); err != nil {
		return err
	}
	return l.loadVariable(m, "MokListXRT"+guidShim, l.blacklistSignatureLists)
}

// noteMOK chooses the keyring of enrolled keys (get_handler_for_mok), and says why.
func (l *loader) noteMOK(m machine, has kernel.Keyrings) {
	_, err := os.Stat(filepath.Join(m.root, "sys/firmware/efi/mok-variables/MokListTrustedRT"))
	switch {
	case has.HasMachine && (err == nil || has.TrustsMOK):
		l.keyring = kernel.Machine
	case has.HasMachine:
		l.note("shim does not say that enrolled keys are to be trusted (no MokListTrustedRT: mokutil --trust-mok), so the kernel puts them into .platform")
	default:
		l.note("the kernel has no .machine (CONFIG_INTEGRITY_MACHINE_KEYRING), so it puts enrolled keys into .platform")
	}
}

// addMOK trusts the certificates of shim's list. Those that .machine refuses, for not being
// an authority's, go to .platform (add_to_machine_keyring).
func (l *loader) addMOK(b []byte, has kernel.Keyrings) error {
	keyring := l.keyring
	return signatureLists(b, func(kind, data []byte) error {
		if !bytes.Equal(kind, guidX509) {
			return nil
		}
		c, err := kernel.ReadCertificate(data)
		if err != nil {
			l.note("a certificate in shim's list: %v: the kernel passes over it", err)
			return nil
		}
		into := keyring
		if ca, signs := c.Authority(); keyring == kernel.Machine && has.CAOnly && (!ca || has.CAMax && signs) {
			into = kernel.Platform
			l.note("%s is no authority's certificate, so the kernel puts it into .platform and not into .machine (sign-file keygen --ca makes one)", certificate.FormatName(c.Subject))
		}
		if into == kernel.Platform && !has.HasPlatform {
			return nil
		}
		l.ring.AddTo(into, c)
		return nil
	})
}

// loadVariable reads as far as the kernel does: what stands before a malformed list counts.
func (l *loader) loadVariable(m machine, name string, load func([]byte) error) error {
	value, ok := m.variable(name)
	if !ok {
		return nil
	}
	switch err := load(value); {
	case errors.Is(err, errSignatureList):
		l.note("UEFI variable %s: %v: the kernel reads no further", name, err)
	case err != nil:
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
	kernelKeyring = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^keyring (\.(?:builtin_trusted_keys|secondary_trusted_keys|machine|platform)): `)
	})
	blacklistKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^blacklist ((?:tbs|bin):[0-9a-f]+)$`)
	})
)

// readKeys reads the descriptions of keys, and the blacklist, which is nothing but
// descriptions; and where the kernel tells it, which keyring has which key.
func (l *loader) readKeys(m machine) {
	listed, ok := l.listKeys(m)
	if !ok {
		return
	}
	where, known := listed.places(m)
	if known {
		l.ring.Place(func(c *certificate.Certificate, presumed kernel.Keyring) (kernel.Keyring, bool) {
			in, has := where[string(c.SubjectKeyID)]
			if !has && c.SubjectKeyID != nil {
				l.note("%s should be in %s and is not: the kernel has not taken it", certificate.FormatName(c.Subject), presumed)
				return presumed, false
			}
			if !has {
				return presumed, true // without an identifier to look for it by
			}
			if in != presumed {
				l.note("%s is in %s, and would be expected in %s", certificate.FormatName(c.Subject), in, presumed)
			}
			return in, true
		})
	}
	have := map[string]bool{}
	for _, c := range l.ring.Certificates() {
		have[string(c.SubjectKeyID)] = true
	}
	for _, der := range l.ring.Revoked() { // they are keys of .blacklist
		if c, err := kernel.ReadCertificate(der); err == nil {
			have[string(c.SubjectKeyID)] = true
		}
	}
	for serial, description := range listed.keys {
		if id := keyIDIn(description); !have[id] {
			in := ""
			if keyring := where[id]; keyring != "" {
				in = " in " + string(keyring)
			}
			why := fmt.Sprintf("the kernel has a key %q%s, and no file here holds its certificate (key %x)", description, in, serial)
			l.note("%s", why)
			l.ring.Incomplete(why)
		}
	}
	slices.Sort(l.notes)
}

// keyList is what /proc/keys has: descriptions by serial number.
type keyList struct {
	keys     map[int32]string // asymmetric ones
	keyrings map[int32]kernel.Keyring
}

func (l *loader) listKeys(m machine) (listed keyList, ok bool) {
	f, err := os.Open(filepath.Join(m.root, "proc/keys"))
	if err != nil {
		return listed, false
	}
	defer f.Close()
	listed = keyList{map[int32]string{}, map[int32]kernel.Keyring{}}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// serial flags usage timeout permissions uid gid, then type and description
		fields := strings.Fields(lines.Text())
		if len(fields) < 9 {
			continue
		}
		serial, err := strconv.ParseUint(fields[0], 16, 32)
		line := strings.Join(fields[7:], " ")
		if key := blacklistKey().FindStringSubmatch(line); key != nil {
			if err := l.ring.Blacklist(key[1]); err != nil {
				l.note("%v", err)
			}
		}
		if key := asymmetricKey().FindStringSubmatch(line); key != nil && err == nil {
			listed.keys[int32(serial)] = key[1]
		}
		if keyring := kernelKeyring().FindStringSubmatch(line); keyring != nil && err == nil {
			listed.keyrings[int32(serial)] = kernel.Keyring(keyring[1])
		}
	}
	return listed, true
}

// places asks the kernel which keyring has which key, by key identifier. known is false
// where it tells nothing, as those who are not root.
func (k keyList) places(m machine) (where map[string]kernel.Keyring, known bool) {
	where = map[string]kernel.Keyring{}
	if m.read == nil {
		return where, false
	}
	for serial, keyring := range k.keyrings {
		keys, err := m.read(serial)
		if err != nil {
			return nil, false
		}
		known = true
		for _, key := range keys {
			if description, ok := k.keys[key]; ok {
				where[keyIDIn(description)] = keyring
			}
		}
	}
	return where, known
}

// readKeyring is keyctl(KEYCTL_READ): the serial numbers of what is linked.
func readKeyring(serial int32) ([]int32, error) {
	buffer := make([]byte, 4096)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, int(serial), buffer, 0)
		if err != nil {
			return nil, err
		}
		if n > len(buffer) {
			buffer = make([]byte, n)
			continue
		}
		var keys []int32
		for at := 0; at+4 <= n; at += 4 {
			keys = append(keys, int32(binary.NativeEndian.Uint32(buffer[at:])))
		}
		return keys, nil
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
