package main

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/test/kernel/vector"
)

type keyrings struct {
	serial  map[string]int32
	scratch int // where certificates are offered
}

func makeKeyrings(want []vector.Keyring) (keyrings, error) {
	k := keyrings{serial: map[string]int32{}}
	// A session of our own: init has none that we could search.
	if _, err := unix.KeyctlJoinSessionKeyring("init"); err != nil {
		return k, fmt.Errorf("session keyring: %w", err)
	}
	ring := func(name string) (int, error) {
		id, err := unix.AddKey("keyring", name, nil, unix.KEY_SPEC_SESSION_KEYRING)
		if err != nil {
			return 0, fmt.Errorf("keyring %q: %w", name, err)
		}
		return id, nil
	}
	var err error
	if k.scratch, err = ring("scratch of init"); err != nil {
		return k, err
	}
	for _, w := range want {
		id, err := ring(w.Name)
		if err != nil {
			return k, err
		}
		for i, certificate := range w.Certificates {
			// The kernel's own description is subject and key identifier: a
			// second certificate with both the same would displace the first. What
			// this kernel refuses is left out, as package keyring leaves it out.
			unix.AddKey("asymmetric", fmt.Sprintf("%s %d", w.Name, i), certificate, id)
		}
		k.serial[w.Name] = int32(id)
	}
	return k, nil
}

// offer asks whether the kernel takes a certificate.
func (k keyrings) offer(certificate []byte) (syscall.Errno, error) {
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
