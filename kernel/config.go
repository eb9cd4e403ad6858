package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxConfig bounds a kernel's configuration, and files of /proc, in bytes.
const maxConfig = 16 << 20

// KernelOfConfig takes the release and what is built in, and what isn't, from a
// kernel's configuration: /boot/config-*, /proc/config.gz, or a build's .config.
func KernelOfConfig(path string) (*Kernel, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	title := configTitle().FindSubmatch(text)
	if title == nil {
		return nil, fmt.Errorf("%s: not a kernel's configuration", path)
	}
	k, err := KernelOf(string(title[1]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k.configure(text)
	return k, nil
}

var (
	configTitle  = lazily(`(?m)^# Linux/\S+ (\S+) Kernel Configuration$`)
	configOption = lazily(`(?m)^CONFIG_(\w+)=([ym])$`)
)

// lazily compiles a pattern when it is first used: five of them cost every run of
// the program, whatever it does, half a millisecond.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

func readConfig(path string) ([]byte, error) {
	text, err := readLimited(path, maxConfig)
	if err == nil && bytes.HasPrefix(text, gzipMagic) {
		text, err = unpack(text)
	}
	return text, err
}

// configure replaces what Debian chose by what a configuration says.
func (k *Kernel) configure(text []byte) {
	options := map[string]string{}
	for _, option := range configOption().FindAllSubmatch(text, -1) {
		options[string(option[1])] = string(option[2])
	}
	of := func(names ...string) availability {
		found := absent
		for _, name := range names {
			found = min(found, map[string]availability{"y": builtin, "m": module, "": absent}[options[name]])
		}
		return found
	}
	for i := range k.hashes {
		h := &k.hashes[i]
		h.is = of(h.option, h.option+"_GENERIC") // CRYPTO_SM3_GENERIC, until 6.18
	}
	k.hasECDSA, k.hasMLDSA = of("CRYPTO_ECDSA"), of("CRYPTO_MLDSA")
	k.waivesAttributes = of("PKCS7_WAIVE_AUTHATTRS_REJECTION_FOR_MLDSA") == builtin
	k.Unchecked, k.Enforce = of("MODULE_SIG") != builtin, of("MODULE_SIG_FORCE") == builtin
}

// RunningKernel is this machine's. note is not empty where its rules are guessed.
func RunningKernel() (k *Kernel, note string, err error) {
	release, err := runningRelease()
	if err != nil {
		return nil, "", err
	}
	k, note = runningKernel(machine{root: "/", release: release})
	return k, note, nil
}

func runningKernel(m machine) (k *Kernel, note string) {
	k, err := KernelOf(m.release)
	if err != nil {
		k = &kernels()[0]
		note = fmt.Sprintf("%v: judging as kernel %s does", err, k.Name)
	}
	configs := []string{"proc/config.gz", "boot/config-" + m.release, "lib/modules/" + m.release + "/build/.config"}
	for _, config := range configs {
		if text, err := readConfig(filepath.Join(m.root, config)); err == nil {
			k.configure(text)
			break
		}
	}
	k.FIPS = k.FIPS || m.isOn("proc/sys/crypto/fips_enabled")
	k.Enforce = k.Enforce || m.isOn("sys/module/module/parameters/sig_enforce")
	return k, note
}

// isOn reads a switch of the kernel's.
func (m machine) isOn(file string) bool {
	b, err := os.ReadFile(filepath.Join(m.root, file))
	return err == nil && (strings.HasPrefix(string(b), "1") || strings.HasPrefix(string(b), "Y"))
}

// runningRelease is what uname -r prints.
func runningRelease() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}
