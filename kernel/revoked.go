package kernel

import (
	"errors"
	"slices"
	"syscall"

	"sign-file/certificate"
)

// revocationKeyring is where the kernel keeps revoked certificates, beside hashes.
const revocationKeyring Keyring = ".blacklist"

// revocations are the certificates on CONFIG_SYSTEM_REVOCATION_LIST as the kernel has
// them. What it can't take into a keyring it does not know, and a later one displaces an
// earlier, as in every keyring.
func (j *Judge) revocations() keys {
	if !j.kernel.revocations && !j.ring.imageRevokes || j.kernel.noBlacklist {
		return nil
	}
	var all []*x509
	last := map[string]*x509{}
	for _, der := range j.ring.revoked {
		if c, err := j.addKey(der); err == nil {
			c.keyring = revocationKeyring
			all, last[c.description()] = append(all, c), c
		}
	}
	found := keys{}
	for _, c := range all {
		if last[c.description()] == c {
			found.add(c)
		}
	}
	return found
}

// validateUnrevoked is the end of verify_pkcs7_message_sig. Kernels before 6.6 ask for
// revocations only before they look into .platform, which modules come to when no other
// keyring has the key.
func (m *message) validateUnrevoked(j *Judge) error {
	if len(j.revoked) == 0 {
		return m.validateTrust(j)
	}
	revoked := m.isRevoked(j)
	if revoked != nil && j.kernel.Since(6, 6) {
		return revoked
	}
	err := m.validateTrust(j)
	if err != nil && !isErrno(err, syscall.ENOKEY) || revoked == nil {
		return err
	}
	switch m.asksPlatform(j, err == nil) {
	case yes:
		return revoked
	case no:
		return err
	}
	return errors.New("not decided: the signer's certificate is revoked, and kernels before 6.6 ask for that only where they look into .platform")
}

// asksPlatform says whether a kernel gets to .platform, if another keyring is not enough.
func (m *message) asksPlatform(j *Judge, trusted bool) answer {
	asks := j.verifies(Platform)
	if !j.kernel.keyrings.HasPlatform {
		asks = no
	}
	if !trusted {
		return asks
	}
	for _, s := range m.signers {
		switch {
		case s.by == nil || s.by.keyring == Platform:
		case s.by.keyring == Named && asks != no:
			return unknown
		default:
			return no
		}
	}
	return asks
}

// isRevoked is is_key_on_revocation_list: the refusal of a message that the revoked
// certificates would vouch for, nil for others. No signer is marked.
func (m *message) isRevoked(j *Judge) error {
	var before []*x509
	for _, c := range m.chain {
		before = append(before, c.by)
	}
	err := m.validateTrust(&Judge{kernel: j.kernel, ring: &Ring{}, usage: j.usage, keys: j.revoked})
	by := ""
	for _, s := range m.signers {
		if s.by != nil {
			by = certificate.FormatName(s.by.read().Subject)
		}
		s.by = nil
	}
	for i, c := range m.chain {
		c.by = before[i]
	}
	switch {
	case err == nil:
		return advised(refuse(syscall.EKEYREJECTED, "is_key_on_revocation_list", "the signer's certificate, or one that has issued it, is on the list of revoked ones (%s; UEFI dbx, MokListX, CONFIG_SYSTEM_REVOCATION_KEYS)", by), causeBlacklisted, "")
	case RefusalOf(err) == nil:
		return err
	}
	return nil
}

// HasBlacklist says whether the kernel has a blacklist at all (CONFIG_SYSTEM_BLACKLIST_KEYRING).
func (k *Kernel) HasBlacklist() bool { return !k.noBlacklist }

// HasFIPS says whether fips=1 means something to the kernel (CONFIG_CRYPTO_FIPS).
func (k *Kernel) HasFIPS() bool { return !k.noFIPS }

// Unread names what the kernel refuses by its configuration and is not known here: lists
// that are built into its image, where that was not read.
func (j *Judge) Unread() []string {
	if j == nil || j.kernel == nil || j.ring.imageRead {
		return nil
	}
	return slices.Clone(j.kernel.builtinLists)
}
