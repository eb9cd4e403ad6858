// Package kernel says what a kernel would say to a signed module, a BPF map
// value, a bare PKCS#7 message or a certificate: accepted or not, and with which
// errno. Its rules are those of the kernel's own code, whose function names it
// keeps; lax where the kernel is lax.
package kernel

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"sign-file/certificate"
)

// Ring is what the kernel trusts, and what it doesn't. The zero value trusts
// nobody.
type Ring struct {
	certificates []*certificate.Certificate
	blacklist    blacklist
}

// Add trusts more certificates.
func (r *Ring) Add(certificates ...*certificate.Certificate) {
	for _, c := range certificates {
		if c != nil {
			r.certificates = append(r.certificates, c)
		}
	}
}

// Certificates returns all that are trusted.
func (r *Ring) Certificates() []*certificate.Certificate { return slices.Clone(r.certificates) }

// clone is a ring that later changes do not reach.
func (r *Ring) clone() *Ring {
	if r == nil {
		return &Ring{}
	}
	return &Ring{slices.Clone(r.certificates), maps.Clone(r.blacklist)}
}

// Size is how many certificates are trusted.
func (r *Ring) Size() int { return len(r.certificates) }

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
	// Firmware is VERIFYING_FIRMWARE_SIGNATURE.
	Firmware
)

// Usages lists the names that ParseUsage knows, in the order of the constants.
func Usages() []string { return []string{"module", "map", "bpf", "firmware"} }

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
	keys     keys
	unusable []unusable
	enforce  bool
}

// NewJudge reads the ring's certificates as that kernel does, each once. What is changed
// of both later has no effect on it. A nil ring trusts nobody. Without a kernel that this
// package has made, and a known usage, there is no verdict.
func NewJudge(kernel *Kernel, ring *Ring, usage Usage) *Judge {
	j := &Judge{ring: ring.clone(), usage: usage, keys: keys{}}
	if kernel == nil || kernel.hashes == nil || usage < 0 || int(usage) >= len(Usages()) {
		return j
	}
	rules := *kernel
	j.kernel, j.enforce = &rules, kernel.Enforce
	for _, c := range j.ring.certificates {
		parsed, err := j.addKey(c.Raw)
		if err != nil {
			j.unusable = append(j.unusable, unusable{c, err})
			continue
		}
		j.keys.add(parsed)
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
