package kernel

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Cause is one of the reasons for which kernels refuse modules, by what people see of it:
// the errno that modprobe puts into words, and the line in the kernel's log.
type Cause struct {
	Name string // stable, for scripts
	// Errnos are what init_module and finit_module return for it, the likeliest first.
	Errnos []syscall.Errno
	// Logs are constant parts of the lines that the kernel prints; empty where it prints
	// none.
	Logs   []string
	Text   string // what happened
	Advice string // what to do, most often a command

	// checks are the errnos of the check of the signature, by which verdicts find their
	// cause; functions are who decides, where that is not enough.
	checks    []syscall.Errno
	functions []string
}

// Names of causes that a refusal knows better than its errno tells.
const (
	causeUnavailable = "unavailable-key"
	causeUnsupported = "unsupported-crypto"
	causeBlacklisted = "blacklisted"
	causeNotBuilt    = "not-built"
	causeNoModules   = "no-modules"
)

const (
	// adviceSign is what people type first, and the files it needs are the next question.
	adviceSign   = "sign it: sign-file sign sha256 <key> <x509> <file> (sign-file keygen <key> <x509> makes a key, mokutil --import <x509> has the firmware trust it at the next boot)"
	adviceAgain  = "take the signature off and sign again: sign-file sign --replace <hash algo> <key> <x509> <file>"
	adviceEnrol  = "enrol the signer's certificate (mokutil --import cert.der, and reboot), or sign with a key that this kernel trusts; sign-file verify --trusted cert.der tells whether it is the right one"
	adviceAttrs  = "sign again as sign-file does: plain data, without signed attributes (openssl cms -noattr)"
	adviceCommon = "sign with an RSA key and sha256, which every kernel has"
)

// Causes lists all of them: those that verdicts name, and then what looks like a matter of
// signatures and is none.
func Causes() []Cause {
	const tainted = "module verification failed: signature and/or required key missing" // and it is loaded
	// pkcs7_note_OID prints it and goes on: before ENOPKG, if it is a hash or a key, and of
	// what only names something (an attribute, a part of a name) for nothing.
	const unknownOID = "PKCS7: Unknown OID"
	rejected, malformed := syscall.EKEYREJECTED, syscall.EBADMSG
	return []Cause{
		{Name: "unsigned", Errnos: []syscall.Errno{rejected, syscall.EPERM, syscall.ENODATA},
			Logs:   []string{"Loading of unsigned module is rejected", "unsigned module loading is restricted", tainted},
			Text:   "the module is not signed, or something follows its signature, and this kernel wants a signature (module.sig_enforce, CONFIG_MODULE_SIG_FORCE, Secure Boot's lockdown)",
			Advice: adviceSign, checks: []syscall.Errno{syscall.ENODATA}},
		{Name: causeUnavailable, Errnos: []syscall.Errno{rejected, syscall.EPERM, syscall.ENOKEY},
			Logs:   []string{"Loading of module with unavailable key is rejected", "PKCS#7 signature not signed with a trusted key", tainted},
			Text:   "the module is signed, and no keyring that this kernel verifies modules with has the signer's certificate",
			Advice: adviceEnrol, checks: []syscall.Errno{syscall.ENOKEY}},
		{Name: causeUnsupported, Errnos: []syscall.Errno{rejected, syscall.EPERM, syscall.ENOPKG},
			Logs:   []string{"Loading of module with unsupported crypto is rejected", tainted, "Unsupported digest algo:", "Unsupported pkey algo:", unknownOID, "not signed with expected PKCS#7 message"},
			Text:   "the signature or its hash is of a kind that this kernel does not have",
			Advice: adviceCommon, checks: []syscall.Errno{syscall.ENOPKG}},
		{Name: causeBlacklisted, Errnos: []syscall.Errno{rejected}, Logs: []string{"is blacklisted", "is on revocation list"},
			Text:   "the module, or a certificate that it depends on, was revoked (UEFI's dbx, MokListX, CONFIG_SYSTEM_BLACKLIST_HASH_LIST, CONFIG_SYSTEM_REVOCATION_KEYS)",
			Advice: "use a build that is not blacklisted: this one was revoked on purpose",
			checks: []syscall.Errno{rejected}, functions: []string{"x509_key_preparse", "mod_is_hash_blacklisted"}},
		{Name: "attributes", Errnos: []syscall.Errno{rejected},
			Logs:   []string{"PKCS7: Invalid module sig (has authattrs)", "PKCS7: Invalid module sig (not pkcs7-data)", "PKCS7: Repeated/multivalue AuthAttrs not permitted", "PKCS7: S/MIME Caps only allowed with Authenticode", "PKCS7: Authenticode AuthAttrs only allowed with Authenticode"},
			Text:   "the message was made with signed attributes, as openssl cms makes it by default",
			Advice: adviceAttrs, checks: []syscall.Errno{rejected}, functions: []string{"pkcs7_verify", "pkcs7_sig_note_authenticated_attr"}},
		{Name: "validity", Logs: []string{"PKCS7: Message signed outside of X.509 validity window"},
			Text:   "the certificate that came with the message was not valid at the signing time that the message names",
			Advice: "sign again as sign-file does, without signed attributes, or with a certificate that is valid", checks: []syscall.Errno{rejected}, functions: []string{"pkcs7_verify_one"}},
		{Name: "no-attributes", Logs: []string{"PKCS7: Invalid firmware sig (missing authattrs)"},
			Text: "a firmware's signature has to have signed attributes", Advice: adviceFirmware},
		{Name: "mismatch", Errnos: []syscall.Errno{rejected}, Logs: []string{"Message digest doesn't match"},
			Text:   "the signer's key is trusted, and the signature is not one of this file: it was changed after signing (stripped, compressed inside, edited), or another key signed under the same name. The kernel logs nothing then",
			Advice: "get the file anew, or " + adviceAgain, checks: []syscall.Errno{rejected}},
		{Name: "container", Errnos: []syscall.Errno{syscall.EINVAL}, Logs: []string{"decompression failed with status 6", "decompression failed with status", "not an xz compressed module", "not a gzip compressed module", "not a zstd compressed module", "ZSTD-compressed data has", "ZSTD-decompression failed with status"},
			Text:   "the module is compressed in a way that the kernel does not read (plain xz writes CRC64), or the compressed file is damaged",
			Advice: "compress it as the kernel's build does (xz --check=crc32 --lzma2=dict=1MiB, gzip -n, zstd): sign-file sign --replace does so, or unpack it",
			checks: []syscall.Errno{syscall.EINVAL}, functions: []string{"module_xz_decompress", "module_gzip_decompress", "module_zstd_decompress"}},
		{Name: "too-large", Errnos: []syscall.Errno{syscall.EFBIG}, Text: "the file has 2 GiB or more",
			Advice: "leave debugging information out (strip --strip-debug) and sign again", checks: []syscall.Errno{syscall.EFBIG}},
		{Name: "message-too-long", Errnos: []syscall.Errno{syscall.EMSGSIZE}, Text: "the PKCS#7 message is longer than 65535 bytes",
			Advice: "sign without embedded certificates: the message is too long", checks: []syscall.Errno{syscall.EMSGSIZE}},
		{Name: "no-module", Errnos: []syscall.Errno{syscall.ENOEXEC}, Text: "the file is no module: empty, cut, or something else",
			Advice: "check that this is a module at all", checks: []syscall.Errno{syscall.ENOEXEC}},
		{Name: "unsigned-value", Text: "the map value is not signed",
			Advice: "sign it: sign-file map sign <hash algo> <key> <x509> <data> <value>",
			checks: []syscall.Errno{syscall.ENOENT, syscall.EINVAL}, functions: []string{mapFunction}},
		{Name: causeNotBuilt, Errnos: []syscall.Errno{syscall.EOPNOTSUPP},
			Text:   "the kernel was built without what verifies signatures of BPF programs",
			Advice: "use a kernel that was built with CONFIG_BPF_SYSCALL, CONFIG_KEYS and CONFIG_SYSTEM_DATA_VERIFICATION", checks: []syscall.Errno{syscall.EOPNOTSUPP}},
		{Name: "malformed", Errnos: []syscall.Errno{malformed, syscall.EINVAL},
			Logs:   []string{"PKCS#7 signature info has unexpected non-zero params", "PKCS#7 signature with non-detached data", "PKCS7:"},
			Text:   "the signature is damaged, or no signature of a module",
			Advice: adviceAgain, checks: []syscall.Errno{malformed, syscall.EINVAL}},
		{Name: "other-kernel", Errnos: []syscall.Errno{syscall.ENOEXEC}, Logs: []string{"version magic", "disagrees about version of symbol", "Invalid module format", "Invalid ELF header magic", "Module has wrong symbol version", "section size must match", "(err -22)"},
			Text:   "not a matter of signatures: the module was built for another kernel",
			Advice: "build it for this one (uname -r; modinfo -F vermagic <file> names the other)"},
		{Name: "unknown-symbol", Errnos: []syscall.Errno{syscall.ENOENT}, Logs: []string{"Unknown symbol"},
			Text:   "not a matter of signatures: a module that it needs is not loaded (err -2), or was built for another kernel (err -22)",
			Advice: "load it with modprobe, which loads those too, and not with insmod (depmod -a first)"},
		{Name: "not-installed", Logs: []string{"not found in directory"},
			Text:   "not a matter of signatures: there is no such module below /lib/modules for this kernel",
			Advice: "install it there for uname -r, and run depmod -a"},
		{Name: "init-failed", Errnos: []syscall.Errno{syscall.ENODEV, syscall.EBUSY}, Text: "not a matter of signatures: the module was taken, and its own start has failed",
			Advice: "look at dmesg for what the module itself says: most often its device is not there, or another driver has it"},
		{Name: causeNoModules, Errnos: []syscall.Errno{syscall.ENOSYS}, Text: "not a matter of signatures: the kernel is built without CONFIG_MODULES, and loads no module",
			Advice: "build what is needed into the kernel, or start one that has CONFIG_MODULES=y"},
		{Name: "certificate", Errnos: []syscall.Errno{syscall.EKEYEXPIRED, syscall.EKEYREVOKED}, Logs: []string{"Problem loading X.509 certificate", "Problem loading in-kernel X.509 certificate"},
			Text:   "a certificate was not taken into a keyring, or has been taken out of use",
			Advice: "sign-file verify --trusted <x509> <file> says what the kernel has against a certificate"},
		{Name: "harmless", Logs: []string{"loading out-of-tree module taints kernel", unknownOID},
			Text:   "nothing was rejected: the module is not one of the kernel's own, and has been loaded; or its signature names something that the kernel has no name for, which alone rejects nothing",
			Advice: "nothing"},
		{Name: "loaded", Errnos: []syscall.Errno{syscall.EEXIST}, Logs: []string{"Module already in kernel", "exports duplicate symbol"}, Text: "not a matter of signatures: the module is loaded already",
			Advice: "look at /proc/modules; modprobe -r takes it out"},
		{Name: "policy", Errnos: []syscall.Errno{syscall.EACCES}, Logs: []string{"impossible to appraise a module without a file descriptor", "appraise_data"},
			Text:   "IMA's policy, or another security module's, does not let this file in: IMA appraises modules, and this one has no signature in its security.ima attribute or none that it takes",
			Advice: "cat /sys/kernel/security/ima/policy, and look at the audit log (ausearch -m INTEGRITY_DATA); sign the file for IMA (evmctl ima_sign); what kmod decompresses comes without a file descriptor, so unpack a compressed module"},
		{Name: "memory", Errnos: []syscall.Errno{syscall.ENOMEM}, Logs: []string{"allocation failure"},
			Text:   "not a matter of signatures: the kernel has no room for the module, or a compressed one wants more to be decompressed than there is",
			Advice: "look at dmesg and free -m; compress the module with a smaller dictionary: sign-file sign --replace does so"},
		{Name: "not-allowed", Errnos: []syscall.Errno{syscall.EPERM}, Logs: []string{"Lockdown:"},
			Text:   "modules may not be loaded by you, or not any more (CAP_SYS_MODULE, /proc/sys/kernel/modules_disabled), or lockdown lets in only signed ones",
			Advice: "run it as root; cat /sys/kernel/security/lockdown; where lockdown is on, see unsigned and unavailable-key"},
	}
}

// Explain finds the causes of what a person has seen: an errno (EKEYREJECTED, 129), the
// words for one, a line of the kernel's log or of modprobe's complaint, or a cause's name.
// A line of the log is surer than an errno, which has several causes.
func Explain(seen string) []Cause {
	seen = strings.TrimSpace(seen)
	longest := 0 // of the lines that are a part of it: the more there is of one, the surer it is
	for _, c := range Causes() {
		longest = max(longest, c.logged(seen))
	}
	byLog := func(c Cause) bool { return longest > 0 && c.logged(seen) == longest }
	byErrno := func(c Cause) bool {
		return slices.ContainsFunc(c.Errnos, func(e syscall.Errno) bool { return meansErrno(seen, e) })
	}
	byName := func(c Cause) bool { return strings.EqualFold(seen, c.Name) }
	for _, how := range []func(Cause) bool{byName, byLog, byErrno} {
		if found := slices.DeleteFunc(Causes(), func(c Cause) bool { return !how(c) }); len(found) > 0 {
			return found
		}
	}
	return nil
}

// logged is how long the longest of a cause's log lines is that a text contains.
func (c Cause) logged(text string) (longest int) {
	for _, log := range c.Logs {
		if containsFold(text, log) {
			longest = max(longest, len(log))
		}
	}
	return longest
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// meansErrno reports whether a text names an errno: by its symbol, its number or in words.
func meansErrno(text string, errno syscall.Errno) bool {
	number := strconv.Itoa(int(errno))
	digits := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	named := strings.Trim(text, "-0123456789") == "" || containsFold(text, "err") || strings.Contains(text, "-"+number)
	if named && len(digits) == 1 && digits[0] == number {
		return true
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') })
	return slices.ContainsFunc(words, func(w string) bool {
		return strings.EqualFold(w, ErrnoName(errno))
	}) ||
		containsFold(text, errno.Error())
}

// causeOf finds the cause that a refusal belongs to. Only functions tell apart what has
// one errno: those rows come first. What no row has is malformed.
func causeOf(r *Refusal) (cause Cause) {
	for _, c := range Causes() {
		switch {
		case r.cause != "" && r.cause == c.Name:
			return c
		case r.cause != "":
		case slices.Contains(c.checks, r.Errno) && (c.functions == nil || slices.Contains(c.functions, r.Func)):
			return c
		case c.Name == "malformed":
			cause = c
		}
	}
	return cause
}
