package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sign-file/digest"
)

// Kernel is what tells one kernel from another: by its release, as Debian builds
// it unless a configuration says otherwise.
type Kernel struct {
	// Name is the series whose rules these are, for instance "6.12".
	Name string
	// FIPS is a kernel that was started with fips=1. One without CONFIG_CRYPTO_FIPS makes
	// nothing of that.
	FIPS bool
	// NoAutoload: algorithms that are built as modules are not there, as in an
	// initramfs that lacks them.
	NoAutoload bool
	// Enforce: unsigned modules are refused, by CONFIG_MODULE_SIG_FORCE or, of the
	// running kernel, module.sig_enforce.
	Enforce bool
	// Unchecked: CONFIG_MODULE_SIG is off, and modules are loaded as they are.
	Unchecked bool
	// NoModules: CONFIG_MODULES is off, and no module is loaded at all.
	NoModules bool
	// Lockdown: the kernel is locked down, and loads no module that it can't verify.
	Lockdown bool

	// unsure is why it is not known whether the kernel enforces signatures or is locked
	// down; empty where it is.
	unsure   string
	lockdown *lockdownLSM // nil where that is not known

	version [2]int // of the series
	release [2]int // that was asked for
	patch   string // the third number of that, empty where it was not given
	// between: a kernel after 6.1 and before 6.12, when algorithms came and went.
	between bool
	hashes  []hash
	curves  []string // the OIDs that x509_extract_key_data knows
	sm2     bool     // knows SM2 by name
	sha3    bool     // knows SHA-3 in certificates and ecdsa-with-SHA3-*
	mldsa   bool     // knows ML-DSA by name
	// Keys of these are read by name, and may be of no use.
	hasECDSA, hasMLDSA availability
	// waivesAttributes: a module's signature may have signed attributes if it's one
	// of ML-DSA (CONFIG_PKCS7_WAIVE_AUTHATTRS_REJECTION_FOR_MLDSA).
	waivesAttributes bool
	// implicitNames: the names in an authority key identifier are tagged as X.509 has it.
	implicitNames bool
	// strictExtensions: a keyUsage or basicConstraints that can't be right is an error.
	strictExtensions bool
	// tbsSHA256: "tbs:" entries of the blacklist are SHA-256, whatever the
	// certificate was signed with.
	tbsSHA256 bool
	// binBlacklist: Debian's patch that looks modules up by their own hash.
	binBlacklist bool
	keyrings     Keyrings
	// platformModules: Debian's patch that verifies modules with .platform too
	// (mod_verify_sig); revocations: CONFIG_SYSTEM_REVOCATION_LIST.
	platformModules answer
	revocations     bool
	noFIPS          bool // CONFIG_CRYPTO_FIPS is off
	noBlacklist     bool // CONFIG_SYSTEM_BLACKLIST_KEYRING is off
	// missing are the usages that this kernel has no check for, and what it says then.
	missing map[Usage]error
	// builtinLists name the lists of what is refused that a configuration has built in.
	builtinLists []string
	// decompresses is the format of modules that the kernel decompresses by itself, gzip,
	// xz or zstd; empty for none. xzFilters are those of its xz, by their options.
	decompresses string
	xzFilters    map[string]bool
}

// availability of an algorithm.
type availability int

const (
	builtin availability = iota
	module               // loaded when it's asked for, if it can be
	absent
)

// hash is a hash algorithm as the PKCS#7 and X.509 parsers name it.
type hash struct {
	name      string
	oid       string
	algorithm *digest.Algorithm // nil for those that this program can't compute
	option    string            // of the kernel's configuration
	is        availability
	noPrefix  bool // pkcs1pad has no DigestInfo for it: it doesn't go with RSA
}

// hashes are those of every series; sha512 and sha3 say what differs.
func hashes(sha512, sha3 availability) []hash {
	return []hash{
		{name: "sha1", option: "CRYPTO_SHA1", oid: oidSHA1, algorithm: digest.SHA1},
		{name: "sha224", option: "CRYPTO_SHA256", oid: oidSHA224, algorithm: digest.SHA224},
		{name: "sha256", option: "CRYPTO_SHA256", oid: oidSHA256, algorithm: digest.SHA256},
		{name: "sha384", option: "CRYPTO_SHA512", oid: oidSHA384, algorithm: digest.SHA384, is: sha512},
		{name: "sha512", option: "CRYPTO_SHA512", oid: oidSHA512, algorithm: digest.SHA512, is: sha512},
		{name: "sha3-256", option: "CRYPTO_SHA3", oid: oidSHA3_256, algorithm: digest.SHA3_256, is: sha3},
		{name: "sha3-384", option: "CRYPTO_SHA3", oid: oidSHA3_384, algorithm: digest.SHA3_384, is: sha3},
		{name: "sha3-512", option: "CRYPTO_SHA3", oid: oidSHA3_512, algorithm: digest.SHA3_512, is: sha3},
		{name: "sm3", option: "CRYPTO_SM3", oid: oidSM3, algorithm: digest.SM3, is: absent, noPrefix: true},
		{name: "streebog256", option: "CRYPTO_STREEBOG", oid: oidStreebog256, is: module, noPrefix: true},
		{name: "streebog512", option: "CRYPTO_STREEBOG", oid: oidStreebog512, is: module, noPrefix: true},
	}
}

// kernels are the series whose rules were measured or read, oldest first. A
// kernel in between goes by the newest that isn't newer.
func kernels() []Kernel {
	old := append(slices.DeleteFunc(hashes(module, absent), func(h hash) bool { return strings.HasPrefix(h.name, "sha3-") }),
		hash{name: "md4", option: "CRYPTO_MD4", oid: oidMD4, is: module, noPrefix: true},
		hash{name: "md5", option: "CRYPTO_MD5", oid: oidMD5, algorithm: digest.MD5})
	all := Keyrings{HasSecondary: true, HasMachine: true, HasPlatform: true}
	trusting := all
	trusting.TrustsMOK = true
	curves := []string{oidP192, oidP256, oidP384, oidP521}
	k612 := Kernel{Name: "6.12", version: [2]int{6, 12}, hashes: hashes(builtin, builtin), curves: curves,
		hasMLDSA: absent, sha3: true, implicitNames: true, strictExtensions: true, binBlacklist: true,
		keyrings: trusting, platformModules: yes, decompresses: "xz", xzFilters: map[string]bool{"XZ_DEC_X86": true, "XZ_DEC_ARM64": true, "XZ_DEC_RISCV": true}}
	k618 := k612
	k618.Name, k618.version, k618.keyrings = "6.18", [2]int{6, 18}, all
	k70 := k618
	k70.Name, k70.version = "7.0", [2]int{7, 0}
	k70.hashes = hashes(builtin, module)
	k70.mldsa, k70.tbsSHA256, k70.binBlacklist = true, true, false
	k70.noFIPS = true
	return []Kernel{
		{Name: "6.1", version: [2]int{6, 1}, hashes: old, curves: curves[:3],
			hasECDSA: absent, hasMLDSA: absent, sm2: true, binBlacklist: true, keyrings: trusting, platformModules: yes},
		k612, k618, k70,
	}
}

// Series lists the series that have rules of their own.
func Series() []string {
	var names []string
	for _, k := range kernels() {
		names = append(names, k.Name)
	}
	return names
}

// Of finds the rules of a release, for instance "6.1.0-50-amd64" or "7.3": those of the
// newest series that is known and not newer, which Name tells.
func Of(release string) (*Kernel, error) {
	version, ok := parseVersion(release)
	if !ok {
		return nil, fmt.Errorf("%q is not a kernel release (want something like 6.12)", release)
	}
	var found *Kernel
	for _, k := range kernels() {
		if slices.Compare(k.version[:], version[:]) <= 0 {
			found = &k
		}
	}
	if found != nil {
		found.release, found.patch = version, patchOf(release)
	}
	if found != nil && found.version == [2]int{6, 1} && version != found.version {
		found.between = true
		found.sinceSixOne()
	}
	if found == nil {
		return nil, fmt.Errorf("the rules of kernel %s are not known (the oldest known are those of %s)", release, kernels()[0].Name)
	}
	return found, nil
}

func parseVersion(release string) (version [2]int, ok bool) {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return version, false
	}
	digits := strings.IndexFunc(parts[1]+" ", func(r rune) bool { return r < '0' || r > '9' })
	parts[1] = parts[1][:digits]
	for i, part := range parts[:2] {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return version, false
		}
		version[i] = int(n)
	}
	return version, true
}

// Since says whether the release that was asked for is this one or a later one, whatever
// the series is whose rules it has.
func (k *Kernel) Since(major, minor int) bool {
	return slices.Compare(k.released(), []int{major, minor}) >= 0
}

// Release is the version that was asked for, for instance "7.3" or "6.18.15".
func (k *Kernel) Release() string {
	release := k.released()
	name := fmt.Sprintf("%d.%d", release[0], release[1])
	if k.patch != "" {
		name += "." + k.patch
	}
	return name
}

// Patch is the third number of the release, if it was asked for with one.
func (k *Kernel) Patch() (level int, known bool) {
	level, err := strconv.Atoi(k.patch)
	return level, err == nil
}

// patchOf is the third number of a release, as it is written.
func patchOf(release string) string {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 3 {
		return ""
	}
	patch, _, _ := strings.Cut(parts[2], ".")
	end := strings.IndexFunc(patch+" ", func(r rune) bool { return r < '0' || r > '9' })
	return patch[:min(end, 4)]
}

func (k *Kernel) released() []int {
	if k.release == [2]int{} {
		return k.version[:]
	}
	return k.release[:]
}

// hash finds a hash algorithm by the OID of its own, or nil.
func (k *Kernel) hash(oid string) *hash {
	for i := range k.hashes {
		if k.hashes[i].oid == oid {
			return &k.hashes[i]
		}
	}
	return nil
}

// has says whether the crypto API finds an algorithm. FIPS 140 approves only
// the SHA families.
func (k *Kernel) has(h *hash) bool {
	if k.FIPS && !strings.HasPrefix(h.name, "sha") {
		return false
	}
	return k.finds(h.is)
}

func (k *Kernel) finds(a availability) bool { return a == builtin || a == module && !k.NoAutoload }
