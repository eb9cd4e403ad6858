// Package kernel says what a kernel would say to a signed module, a BPF map
// value, a bare PKCS#7 message or a certificate: accepted or not, and with which
// errno. Its rules are those of the kernel's own code, whose function names it
// keeps; lax where the kernel is lax.
package kernel

import (
	"bytes"
	"cmp"
	"fmt"

	"sign-file/certificate"
)

// Usage is what a message is verified for (enum key_being_used_for): the same
// bytes can be a good map value and a bad module.
type Usage int

const (
	// Module is VERIFYING_MODULE_SIGNATURE.
	Module Usage = iota
	// MapValue is VERIFYING_UNSPECIFIED_SIGNATURE, as the 2022 series and
	// bpf_verify_pkcs7_signature use it.
	MapValue
	// BPF is VERIFYING_BPF_SIGNATURE of newer kernels, which goes by the same rules.
	BPF
	// Firmware is VERIFYING_FIRMWARE_SIGNATURE. No kernel's firmware loader asks for it.
	Firmware
	// Kexec is a kernel image for kexec_file_load on s390x (s390_verify_sig).
	Kexec
	// IMA is a file whose appended signature IMA appraises (ima_read_modsig,
	// appraise_type=imasig|modsig): verified with .ima, which Named stands for.
	IMA
)

// Usages lists the names that ParseUsage knows, in the order of the constants.
func Usages() []string { return []string{"module", "map", "bpf", "firmware", "kexec", "ima"} }

// ParseUsage finds a usage by its name.
func ParseUsage(name string) (Usage, error) {
	for i, known := range Usages() {
		if name == known {
			return Usage(i), nil
		}
	}
	return 0, fmt.Errorf("usage %q is not known (want one of %v)", name, Usages())
}

// Judge is one kernel with its keys. It may be used by several goroutines at once.
type Judge struct {
	kernel   *Kernel
	ring     *Ring
	usage    Usage
	only     Keyring // what a BPF program names, empty for the usage's own
	keys     keys
	unusable []unusable
	// elsewhere are usable certificates of keyrings that are not looked into, or where
	// that is not known.
	elsewhere []elsewhere
	displaced []*x509
	revoked   keys // of certificates
}

// elsewhere is a certificate of another keyring.
type elsewhere struct {
	*x509
	verifies answer
}

// NewJudge reads the ring's certificates as that kernel does, each once. What is changed
// of both later has no effect on it. A nil ring trusts nobody. Without a kernel that this
// package has made, and a known usage, there is no verdict.
func NewJudge(kernel *Kernel, ring *Ring, usage Usage) *Judge {
	return NewJudgeOf(kernel, ring, usage, "")
}

// NewJudgeOf is NewJudge for what is verified with one keyring: Builtin, Secondary (which
// searches Builtin and Machine) or Platform, as bpf_lookup_system_key names them. Empty is
// that of the usage.
func NewJudgeOf(kernel *Kernel, ring *Ring, usage Usage, only Keyring) *Judge {
	j := &Judge{ring: ring.clone(), usage: usage, only: only, keys: keys{}}
	if kernel == nil || kernel.hashes == nil || usage < 0 || int(usage) >= len(Usages()) {
		return j
	}
	rules := *kernel
	j.kernel = &rules
	rules.FIPS = rules.FIPS && !rules.noFIPS
	if rules.noBlacklist {
		j.ring.blacklist = nil // is_hash_blacklisted is a stub
	}
	j.revoked = j.revocations()
	var usable []*x509
	for _, t := range j.ring.trusted {
		parsed, err := j.addKey(t.certificate.Raw)
		if err != nil {
			j.unusable = append(j.unusable, unusable{t.certificate, err})
			continue
		}
		parsed.keyring, parsed.list = t.keyring, t.list
		usable = append(usable, parsed)
	}
	j.displace(usable)
	for _, c := range usable {
		switch verifies := j.verifies(c.keyring); {
		case c.displacedBy != nil:
		case verifies == yes:
			j.keys.add(c)
		default:
			j.elsewhere = append(j.elsewhere, elsewhere{c, verifies})
		}
	}
	return j
}

// Unusable are the trusted certificates that the kernel would not take into a keyring,
// and why.
func (j *Judge) Unusable() []error {
	if j == nil {
		return nil
	}
	var all []error
	for _, u := range j.unusable {
		name := certificate.FormatName(u.certificate.Subject)
		all = append(all, about("certificate "+cmp.Or(name, "without a name"), u.err))
	}
	return all
}

// unusable is a certificate that the kernel would not take into a keyring.
type unusable struct {
	certificate *certificate.Certificate
	err         error
}

// isOf reports whether the certificate is a signer's.
func (u unusable) isOf(s *signerInfo) bool {
	id := s.cmsID()
	if id.ByKeyID() {
		return bytes.Equal(u.certificate.SubjectKeyID, id.SubjectKeyID)
	}
	return bytes.Equal(u.certificate.Issuer, id.Issuer) && bytes.Equal(u.certificate.Serial, id.Serial)
}

func (u unusable) reason() string { return reason(u.err) }

// Kernel is whose rules these are, a copy of its own; nil if there is none.
func (j *Judge) Kernel() *Kernel {
	if j == nil || j.kernel == nil {
		return nil
	}
	rules := *j.kernel
	return &rules
}
