package kernel

import (
	"cmp"
	"slices"

	"sign-file/certificate"
)

// Keyring is one of the kernel's own, by the name that /proc/keys has for it.
type Keyring string

const (
	// Named is none of the kernel's: who asks says that the kernel trusts the certificate,
	// for whatever it is asked about.
	Named Keyring = ""
	// Builtin has what is built into the image (CONFIG_SYSTEM_TRUSTED_KEYS).
	Builtin Keyring = ".builtin_trusted_keys"
	// Secondary has what root has added, and searches Builtin and Machine too.
	Secondary Keyring = ".secondary_trusted_keys"
	// Machine has what the owner has enrolled (MOK), if the kernel trusts shim's list.
	Machine Keyring = ".machine"
	// Platform has what the firmware trusts (UEFI db), and MOKs otherwise.
	Platform Keyring = ".platform"
)

// Keyrings says which of its keyrings a kernel has, and what it puts into them.
type Keyrings struct {
	HasSecondary, HasMachine, HasPlatform bool // CONFIG_SECONDARY_TRUSTED_KEYRING and its like
	// CAOnly: Machine takes only certificates of authorities
	// (CONFIG_INTEGRITY_CA_MACHINE_KEYRING), and with CAMax none that may sign data too.
	CAOnly, CAMax bool
	// TrustsMOK: shim's list goes into Machine whatever shim says of it, as Debian has
	// it until 6.12. Others ask for MokListTrustedRT.
	TrustsMOK bool
}

// Keyrings are the kernel's.
func (k *Kernel) Keyrings() Keyrings { return k.keyrings }

// answer is yes, no, or that there is no telling.
type answer int

const (
	unknown answer = iota
	no
	yes
)

// verifies says whether the kernel looks into a keyring to verify something.
func (j *Judge) verifies(in Keyring) answer {
	switch {
	case in == Named:
		return yes
	case j.usage == IMA:
		return no // which has a keyring of its own
	case in == Platform && j.usage == Module && j.only == "":
		return j.kernel.platformModules
	case in == Platform:
		return is(j.only == Platform || j.only == "" && j.usage == Kexec)
	case in == Builtin:
		return is(j.only != Platform)
	}
	return is(j.only == "" || j.only == Secondary)
}

func is(b bool) answer {
	if b {
		return yes
	}
	return no
}

// trusted is a certificate of a Ring.
type trusted struct {
	certificate *certificate.Certificate
	keyring     Keyring
	list        int // of Named ones: the call of AddTo that they came with
}

// Ring is what the kernel trusts, and what it doesn't. The zero value trusts
// nobody.
type Ring struct {
	trusted   []trusted
	lists     int      // how many calls of AddTo there were
	revoked   [][]byte // certificates, DER, in the order in which the kernel gets them
	blacklist blacklist
	// imageRead: what is built into the kernel's image to be refused is known.
	// imageRevokes: it has a list of revoked certificates.
	imageRead, imageRevokes bool
	// incomplete says which of the kernel's certificates are not known.
	incomplete string
}

// Incomplete says that the kernel trusts more than is known here, and why: an unknown
// signer is not refused then, but not decided on.
func (r *Ring) Incomplete(why string) { r.incomplete = why }

// Add trusts more certificates for everything.
func (r *Ring) Add(certificates ...*certificate.Certificate) { r.AddTo(Named, certificates...) }

// AddTo trusts more certificates as those of a keyring, in the order in which the kernel
// adds them: of two with one description the later takes the earlier's place. Named
// certificates of one call are taken for such a list. How those of several calls stand to
// each other, and to what is in the kernel's keyrings, is not known.
func (r *Ring) AddTo(keyring Keyring, certificates ...*certificate.Certificate) {
	r.lists++
	for _, c := range certificates {
		if c != nil {
			r.trusted = append(r.trusted, trusted{c, keyring, r.lists})
		}
	}
}

// Revoke puts a certificate, DER, on the list of CONFIG_SYSTEM_REVOCATION_LIST.
func (r *Ring) Revoke(der []byte) { r.revoked = append(r.revoked, der) }

// Revoked returns the certificates, DER, that are revoked.
func (r *Ring) Revoked() [][]byte { return slices.Clone(r.revoked) }

// ReadImage says that the kernel's image was read, and that these certificates, DER, are its
// list of revoked ones. A kernel that has such a list looks at it.
func (r *Ring) ReadImage(revoked ...[]byte) {
	r.imageRead, r.imageRevokes = true, r.imageRevokes || len(revoked) > 0
	r.revoked = append(r.revoked, revoked...)
}

// Certificates returns all that are trusted.
func (r *Ring) Certificates() []*certificate.Certificate {
	var all []*certificate.Certificate
	for _, t := range r.trusted {
		all = append(all, t.certificate)
	}
	return all
}

// In returns those that are in a keyring.
func (r *Ring) In(keyring Keyring) []*certificate.Certificate {
	var all []*certificate.Certificate
	for _, t := range r.trusted {
		if t.keyring == keyring {
			all = append(all, t.certificate)
		}
	}
	return all
}

// Place says where each certificate is: the function gets what is known of it, and returns
// what it is, and whether the kernel has it at all.
func (r *Ring) Place(where func(c *certificate.Certificate, keyring Keyring) (Keyring, bool)) {
	var placed []trusted
	for _, t := range r.trusted {
		if keyring, ok := where(t.certificate, t.keyring); ok {
			placed = append(placed, trusted{t.certificate, keyring, t.list})
		}
	}
	r.trusted = placed
}

// Join adds what another ring trusts and refuses.
func (r *Ring) Join(other *Ring) error {
	for _, t := range other.trusted {
		t.list += r.lists
		r.trusted = append(r.trusted, t)
	}
	r.lists += other.lists
	r.revoked = append(r.revoked, other.revoked...)
	r.imageRead, r.imageRevokes = r.imageRead || other.imageRead, r.imageRevokes || other.imageRevokes
	r.incomplete = cmp.Or(r.incomplete, other.incomplete)
	for entry := range other.blacklist {
		if err := r.Blacklist(entry); err != nil {
			return err
		}
	}
	return nil
}

// clone is a ring that later changes do not reach.
func (r *Ring) clone() *Ring {
	if r == nil {
		return &Ring{}
	}
	c := *r
	c.trusted, c.revoked, c.blacklist = slices.Clone(r.trusted), slices.Clone(r.revoked), r.blacklist.clone()
	return &c
}

// Size is how many certificates are trusted.
func (r *Ring) Size() int { return len(r.trusted) }
