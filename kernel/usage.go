package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"syscall"
)

// offIn says which options are off. What a fragment does not name is not: only a whole
// configuration is without what it does not name.
func offIn(text []byte, on func(string) bool) func(string) bool {
	whole := bytes.Contains(text, []byte("\nCONFIG_CC_VERSION_TEXT="))
	return func(name string) bool {
		return whole && !on(name) || bytes.Contains(text, []byte("# CONFIG_"+name+" is not set"))
	}
}

// usagesOf finds the usages whose check a kernel of this configuration does not have, and
// what becomes of such a signature then.
func usagesOf(text []byte, off func(string) bool) map[Usage]error {
	missing := map[Usage]error{}
	if off("IMA_APPRAISE_MODSIG") {
		missing[IMA] = errors.New("not decided: this kernel is built without CONFIG_IMA_APPRAISE_MODSIG: it takes no policy with appraise_type=imasig|modsig, and looks at no appended signature")
	}
	if arch := configArch().FindSubmatch(text); arch != nil && string(arch[1]) != "s390" {
		missing[Kexec] = fmt.Errorf("not decided: Linux/%s looks at no signature that is appended to a kernel image (only s390 does; x86 and arm64 look at that of the PE file, powerpc has IMA appraise it)", arch[1])
	} else if off("KEXEC_SIG") {
		missing[Kexec] = errors.New("not decided: this kernel is built without CONFIG_KEXEC_SIG, and looks at no signature of a kernel image")
	}
	for _, lacks := range []struct { // the kernel comes upon the last of these first
		option, where string
		errno         syscall.Errno
	}{
		{"SYSTEM_DATA_VERIFICATION", "bpf_verify_pkcs7_signature", syscall.EOPNOTSUPP},
		{"KEYS", "bpf_lookup_system_key", syscall.EINVAL},
		{"BPF_SYSCALL", "bpf", syscall.ENOSYS},
	} {
		if off(lacks.option) {
			refusal := advised(refuse(lacks.errno, lacks.where, "this kernel is built without CONFIG_%s, and verifies no signature for BPF", lacks.option),
				causeNotBuilt, "use a kernel that was built with CONFIG_%s", lacks.option)
			missing[MapValue], missing[BPF] = refusal, refusal
		}
	}
	return missing
}

// Missing is why the kernel has no check for a usage, nil if it has.
func (k *Kernel) Missing(u Usage) error { return k.missing[u] }

// Assume has the kernel judged as if it had the check for a usage.
func (k *Kernel) Assume(u Usage) {
	k.missing = maps.Clone(k.missing)
	delete(k.missing, u)
}

var configArch = lazily(`(?m)^# Linux/(\w+) \S+ Kernel Configuration`)
