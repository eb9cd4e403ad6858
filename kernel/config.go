package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
)

// maxConfig bounds a kernel's configuration, and files of /proc, in bytes.
const maxConfig = 16 << 20

// OfConfig takes the release and what is built in, and what isn't, from a
// kernel's configuration: /boot/config-*, /proc/config.gz, or a build's .config.
func OfConfig(path string) (*Kernel, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	title := configTitle().FindSubmatch(text)
	if title == nil {
		return nil, paths.About("read", path, errors.New("not a kernel's whole configuration: it has no line \"# Linux/<arch> <release> Kernel Configuration\", which tells the release (make savedefconfig leaves it out; make olddefconfig writes it)"))
	}
	k, err := Of(string(title[1]))
	if err != nil {
		return nil, paths.About("read", path, err)
	}
	k.configure(text)
	return k, nil
}

var (
	configTitle  = lazily(`(?m)^# Linux/\S+ (\S+) Kernel Configuration$`)
	configOption = lazily(`(?m)^CONFIG_(\w+)=(?:([ym])|"((?:[^"\\]|\\.)*)")$`)
)

// unescape takes backslashes off, which Kconfig puts before quotes and backslashes.
var unescape = lazily(`\\(.)`)

// lazily compiles a pattern when it is first used: five of them cost every run of
// the program, whatever it does, half a millisecond.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// readConfig reads a configuration, which may be compressed, and may have another system's
// line ends.
func readConfig(path string) ([]byte, error) {
	text, err := bounded.ReadFile(path, maxConfig)
	if err == nil {
		text, err = unpackConfig(text)
	}
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), paths.About("read", path, err)
}

func unpackConfig(text []byte) ([]byte, error) {
	var r io.Reader
	var err error
	packed := bytes.NewReader(text)
	switch {
	case bytes.HasPrefix(text, []byte("\x1f\x8b")):
		r, err = gzip.NewReader(packed)
	case bytes.HasPrefix(text, []byte("\xfd7zXZ\x00")):
		r, err = xz.NewReader(packed, maxXZWindow)
	case bytes.HasPrefix(text, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return text, nil
	}
	if err != nil {
		return nil, err
	}
	return bounded.Read(r, maxConfig)
}

// byDebian is in CONFIG_CC_VERSION_TEXT of Debian's kernels. One that was built on Debian
// of other sources has it too, so of the running kernel its own word counts: see RunningAt.
const byDebian = "(Debian "

// configure replaces what Debian chose by what a configuration says.
func (k *Kernel) configure(text []byte) {
	options, texts := map[string]string{}, map[string]string{}
	for _, option := range configOption().FindAllSubmatch(text, -1) {
		if option[3] != nil {
			texts[string(option[1])] = unescape().ReplaceAllString(string(option[3]), "$1")
			continue
		}
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
	on := func(name string) bool { return of(name) == builtin }
	k.keyrings = Keyrings{
		HasSecondary: on("SECONDARY_TRUSTED_KEYRING"), HasMachine: on("INTEGRITY_MACHINE_KEYRING"), HasPlatform: on("INTEGRITY_PLATFORM_KEYRING"),
		CAOnly: on("INTEGRITY_CA_MACHINE_KEYRING"), CAMax: on("INTEGRITY_CA_MACHINE_KEYRING_MAX"),
		TrustsMOK: k.keyrings.TrustsMOK && bytes.Contains(text, []byte(byDebian)),
	}
	if !bytes.Contains(text, []byte(byDebian)) {
		k.platformModules = unknown // no option tells of a patch
	}
	if !k.keyrings.HasPlatform {
		k.platformModules = no
	}
	k.revocations = on("SYSTEM_REVOCATION_LIST")
	off := offIn(text, on)
	k.missing = usagesOf(text, off)
	k.noFIPS, k.noBlacklist = off("CRYPTO_FIPS"), off("SYSTEM_BLACKLIST_KEYRING") && !k.revocations
	k.builtinLists = nil
	for _, list := range []string{"SYSTEM_REVOCATION_KEYS", "SYSTEM_BLACKLIST_HASH_LIST"} {
		if texts[list] != "" {
			k.builtinLists = append(k.builtinLists, fmt.Sprintf("CONFIG_%s=%q", list, texts[list]))
		}
	}
	k.decompresses = ""
	for _, format := range []string{"zstd", "xz", "gzip"} { // decompress.c takes the last of these
		if of("MODULE_DECOMPRESS") == builtin && of("MODULE_COMPRESS_"+strings.ToUpper(format)) == builtin {
			k.decompresses = format
		}
	}
	k.xzFilters = map[string]bool{}
	for _, filter := range xzFilters() {
		k.xzFilters[filter.option] = of(filter.option) == builtin
	}
	k.startConfigured(on, func(name string) string { return texts[name] })
	k.NoModules = off("MODULES") && k.Unchecked
}

// Running is this machine's. note is not empty where its rules are guessed.
func Running() (k *Kernel, note string, err error) {
	release, err := Release()
	if err != nil {
		return nil, "", err
	}
	k, note = RunningAt("/", release)
	return k, note, nil
}

// RunningAt is Running for a machine whose file system, with /proc and /sys, is at root.
func RunningAt(root, release string) (k *Kernel, note string) {
	k, err := Of(release)
	if err != nil {
		k = &kernels()[0]
		note = fmt.Sprintf("%v: judging as kernel %s does", err, k.Name)
	}
	configs := []string{"proc/config.gz", "boot/config-" + release, "lib/modules/" + release + "/build/.config"}
	for _, config := range configs {
		if text, err := readConfig(filepath.Join(root, config)); err == nil {
			k.configure(text)
			break
		}
	}
	if version, err := os.ReadFile(filepath.Join(root, "proc/version")); err == nil && !bytes.Contains(version, []byte("debian-kernel@")) && k.platformModules == yes {
		k.platformModules = unknown
	}
	if _, err := os.Stat(filepath.Join(root, "proc/modules")); err != nil {
		_, err := os.Stat(filepath.Join(root, "proc/version"))
		k.NoModules = k.NoModules || err == nil // /proc is there, and the file is not
	}
	k.startRunning(root)
	return k, note
}

// Release is what uname -r prints.
func Release() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}
