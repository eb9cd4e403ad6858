package kernel

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"syscall"

	"sign-file/certificate"
	"sign-file/kernel/internal/ber"
)

// A keyring has one key of each description: key_create_or_update links a later one in
// the place of an earlier. The kernel itself makes descriptions of certificates.

// nameParts are the segments of a Name that descriptions are made of, the last of each
// kind (x509_extract_name_segment).
type nameParts struct{ organization, common, email []byte }

// note takes a segment by its OID. The kernel keeps lengths in one byte.
func (n *nameParts) note(oid string, value []byte) {
	value = value[:len(value)%256]
	switch oid {
	case oidCommonName:
		n.common = value
	case oidOrganization:
		n.organization = value
	case oidEmail:
		n.email = value
	}
}

// fabricated is x509_fabricate_name: the common name, behind the organization's unless it
// begins like that.
func (n *nameParts) fabricated() []byte {
	const significant = 7
	o, cn := n.organization, n.common
	var name []byte
	switch {
	case len(cn) > 0 && len(o) > 0:
		name = slices.Concat(o, []byte(": "), cn)
		if bytes.HasPrefix(cn, o) || len(o) >= significant && bytes.HasPrefix(cn, o[:significant]) {
			name = cn
		}
	case len(cn) > 0:
		name = cn
	case len(o) > 0:
		name = o
	default:
		name = n.email
	}
	name, _, _ = bytes.Cut(name, []byte{0}) // strlen
	return bytes.Clone(name)
}

// description is what x509_key_preparse proposes, and every keyring of the kernel's takes:
// the name and the subject key identifier, or without that the serial number.
func (c *x509) description() string {
	number := c.keyID
	if number == nil {
		number = c.serial
	}
	return string(c.subjectName) + ": " + hex.EncodeToString(number)
}

// displace finds the certificates that are not in their keyring any more, and those that
// may not be: Named ones, of whose order nothing is known.
func (j *Judge) displace(all []*x509) {
	type place struct {
		keyring     Keyring
		list        int
		description string
	}
	placeOf := func(c *x509) place {
		p := place{c.keyring, 0, c.description()}
		if c.keyring == Named {
			p.list = c.list
		}
		return p
	}
	last := map[place]*x509{}
	for _, c := range all {
		last[placeOf(c)] = c
	}
	described := map[string][]*x509{}
	for _, c := range all {
		if by := last[placeOf(c)]; !bytes.Equal(by.raw, c.raw) {
			c.displacedBy = by
			j.displaced = append(j.displaced, c)
			continue
		}
		for _, other := range described[c.description()] {
			if !bytes.Equal(other.raw, c.raw) && (c.keyring == Named || other.keyring == Named) {
				c.rivals, other.rivals = append(c.rivals, other), append(other.rivals, c)
			}
		}
		described[c.description()] = append(described[c.description()], c)
	}
}

// contested says that one of the certificates that were found is perhaps not there, while
// another that was not found is.
func contested(found []*x509) error {
	for _, c := range found {
		for _, rival := range c.rivals {
			if !slices.ContainsFunc(found, func(other *x509) bool { return bytes.Equal(other.raw, rival.raw) }) {
				return fmt.Errorf("not decided: the trusted certificates %s and %s have one description (%q), so a keyring that gets both has only the one that it gets last, and in which order is not known "+
					"(name only the later of them, or both in one file, in the order in which the kernel gets them)", c.title(), rival.title(), c.description())
			}
		}
	}
	return nil
}

// displacement is the refusal of a signer whose certificate, or one that vouches for it,
// is not in its keyring any more; nil for others.
func (s *signerInfo) displacement(j *Judge) error {
	for _, d := range j.displaced {
		if !d.vouchesFor(s) {
			continue
		}
		if j.ring.incomplete != "" {
			return fmt.Errorf("not decided: the trusted certificate %s was displaced by %s, which comes after it in the same keyring and has the same description, and not all that the kernel trusts is known: %s",
				d.title(), d.displacedBy.title(), j.ring.incomplete)
		}
		where := "in the same list"
		if d.keyring != Named {
			where = "in " + string(d.keyring)
		}
		return advised(refuse(syscall.ENOKEY, trustFunction, "the trusted certificate %s was displaced by %s, which comes after it %s and has the same description (%q): a keyring has one key of each",
			d.title(), d.displacedBy.title(), where, d.description()),
			causeUnavailable, "%s", adviceDisplaced)
	}
	return nil
}

const adviceDisplaced = "sign again with the key of the later certificate, and name that: sign-file sign --replace <hash algo> <key> <x509> <file>; for both to stay in the keyring they need different key identifiers (openssl req -addext subjectKeyIdentifier=...) or common names"

// vouchesFor reports whether the kernel would look for this certificate to trust a signer.
func (c *x509) vouchesFor(s *signerInfo) bool {
	named := func(id []byte) bool { return same(c.id, id) || same(c.keyID, id) }
	for l := s.signer; l != nil; l = l.signer {
		if named(l.id) || named(l.authorityID) || l.authorityID == nil && named(l.authorityKeyID) {
			return true
		}
		if l.signer == l {
			break
		}
	}
	return named(s.id)
}

// title names a certificate for people by what tells it from another of its name.
func (c *x509) title() string {
	return certificate.FormatName(withHeader(ber.TagSequence, c.subject)) + " with the serial number " + certificate.FormatSerial(withHeader(ber.TagInteger, c.serial))
}
