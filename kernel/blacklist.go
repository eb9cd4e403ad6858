package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// blacklist is the .blacklist keyring: "tbs:" and "bin:" with a hash in hex.
type blacklist map[string]bool

func (b blacklist) clone() blacklist { return maps.Clone(b) }

// blacklistEntry is what blacklist_vet_description takes.
var blacklistEntry = lazily(`^(tbs|bin):([0-9a-f]{2}){1,64}$`)

// Blacklist adds entries as the kernel writes them: "tbs:" with the hash of the
// signed part of a certificate, "bin:" with the SHA-256 of a whole module.
func (r *Ring) Blacklist(entries ...string) error {
	for _, entry := range entries {
		if !blacklistEntry().MatchString(entry) {
			return fmt.Errorf("%q is no entry of a blacklist (want tbs: or bin: and a hash in lower-case hex)", entry)
		}
		if r.blacklist == nil {
			r.blacklist = blacklist{}
		}
		r.blacklist[entry] = true
	}
	return nil
}

// Blacklisted returns the entries, sorted.
func (r *Ring) Blacklisted() []string { return slices.Sorted(maps.Keys(r.blacklist)) }

// hasTBS is is_hash_blacklisted as x509_get_sig_params asks it: by the hash that
// the certificate was signed with, or SHA-256 in newer kernels.
func (b blacklist) hasTBS(k *Kernel, c *x509) bool {
	if len(b) == 0 {
		return false
	}
	if k.tbsSHA256 {
		sum := sha256.Sum256(c.tbs)
		return b["tbs:"+hex.EncodeToString(sum[:])]
	}
	h := c.signature.hash
	if h == nil || h.algorithm == nil || !k.has(h) {
		return false
	}
	sum, err := h.sum(c.tbs)
	return err == nil && b["tbs:"+hex.EncodeToString(sum)]
}

// hasFiles says whether there are modules in it.
func (b blacklist) hasFiles() bool {
	for entry := range b {
		if strings.HasPrefix(entry, "bin:") {
			return true
		}
	}
	return false
}

// hasFile looks for the hash of a whole module.
func (b blacklist) hasFile(sum []byte) bool { return b["bin:"+hex.EncodeToString(sum)] }
