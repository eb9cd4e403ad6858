package main

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/test/kernel/vector"
)

type keyrings struct {
	wanted  map[string]vector.Keyring
	serial  map[string]int32 // of those that are made
	scratch int              // where certificates are offered
}

func newKeyrings(want []vector.Keyring) (*keyrings, error) {
	k := &keyrings{wanted: map[string]vector.Keyring{}, serial: map[string]int32{}}
	for _, w := range want {
		k.wanted[w.Name] = w
	}
	// A session of our own: init has none that we could search.
	if _, err := unix.KeyctlJoinSessionKeyring("init"); err != nil {
		return nil, fmt.Errorf("session keyring: %w", err)
	}
	var err error
	k.scratch, err = newKeyring("scratch of init")
	return k, err
}

func newKeyring(name string) (int, error) {
	id, err := unix.AddKey("keyring", name, nil, unix.KEY_SPEC_SESSION_KEYRING)
	if err != nil {
		return 0, fmt.Errorf("keyring %q: %w", name, err)
	}
	return id, nil
}

// get returns a keyring's serial number. It is made when it's asked for first: what
// a certificate is worth depends on the algorithms that the kernel has by then.
func (k *keyrings) get(name string) (int32, error) {
	if serial, ok := k.serial[name]; ok {
		return serial, nil
	}
	wanted, ok := k.wanted[name]
	if !ok {
		return 0, fmt.Errorf("no keyring %q", name)
	}
	id, err := newKeyring(name)
	if err != nil {
		return 0, err
	}
	for i, certificate := range wanted.Certificates {
		// The kernel's own description is subject and key identifier: a
		// second certificate with both the same would displace the first. What
		// this kernel refuses is left out, as package keyring leaves it out.
		description := fmt.Sprintf("%s %d", name, i)
		if wanted.Undescribed {
			description = ""
		}
		unix.AddKey("asymmetric", description, certificate, id)
	}
	k.serial[name] = int32(id)
	return int32(id), nil
}

// offer asks whether the kernel takes a certificate.
func (k *keyrings) offer(certificate []byte) (syscall.Errno, error) {
	id, err := unix.AddKey("asymmetric", "offered", certificate, k.scratch)
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return errno, nil
		}
		return 0, err
	}
	// Unlinked, so that thousands of certificates don't meet the quota.
	if _, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, k.scratch, 0, 0); err != nil {
		return 0, fmt.Errorf("unlinking a certificate: %w", err)
	}
	return 0, nil
}
