package gate

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sign-file/certificate"
)

// SystemKeyring is a number of bpf_lookup_system_key.
type SystemKeyring uint32

// The kernel's own keyrings (verification.h).
const (
	// Builtin holds the certificates that are built into the kernel.
	Builtin SystemKeyring = iota
	// Secondary holds those of Builtin, what they vouch for, and the machine
	// owner's keys: what the 2022 series verifies with.
	Secondary
	// Platform holds the firmware's: UEFI db.
	Platform
)

func (k SystemKeyring) String() string {
	names := []string{"builtin", "secondary", "platform"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("system keyring %d", uint32(k))
}

// Keyring is who may sign for a gate: a system keyring, or Certificates, which go
// into a keyring of the gate's own.
type Keyring struct {
	System       SystemKeyring
	Certificates []*certificate.Certificate

	serial int32 // of the gate's own keyring, 0 for a system keyring
}

func (k Keyring) String() string {
	if k.serial != 0 {
		return fmt.Sprintf("user keyring 0x%08x", uint32(k.serial))
	}
	return k.System.String()
}

// Permissions of a gate's own keyring (keyctl_setperm(2)): its owner and who
// possesses it may view, read and search. Nobody may write, or change this.
const (
	keyView            = 0x01
	keyRead            = 0x02
	keySearch          = 0x08
	keyringPermissions = (keyView | keyRead | keySearch) * (1<<24 | 1<<16)
)

// open makes the gate's own keyring, puts the certificates in, and shuts it for good.
// It is linked to the user's keyring, since no process is there to keep it.
func (k Keyring) open(name string) (Keyring, error) {
	if len(k.Certificates) == 0 {
		return k, nil
	}
	serial, err := unix.AddKey("keyring", "sign-file-gate:"+name, nil, unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		return k, fmt.Errorf("creating a keyring: %w", err)
	}
	ring := Keyring{serial: int32(serial), Certificates: k.Certificates}
	if err := ring.fill(); err != nil {
		ring.drop()
		return k, err
	}
	return ring, nil
}

func (k Keyring) fill() error {
	for _, c := range k.Certificates {
		if _, err := unix.AddKey("asymmetric", "", c.Raw, int(k.serial)); err != nil {
			return fmt.Errorf("the kernel refuses the certificate %s: %w", certificate.FormatName(c.Subject), err)
		}
	}
	if err := unix.KeyctlRestrictKeyring(int(k.serial), "", ""); err != nil {
		return fmt.Errorf("restricting the keyring: %w", err)
	}
	if err := unix.KeyctlSetperm(int(k.serial), keyringPermissions); err != nil {
		return fmt.Errorf("setting the keyring's permissions: %w", err)
	}
	return nil
}

// drop lets go of the gate's own keyring. Without it nothing verifies any more.
func (k Keyring) drop() {
	if k.serial != 0 {
		unix.KeyctlInt(unix.KEYCTL_UNLINK, int(k.serial), unix.KEY_SPEC_USER_KEYRING, 0, 0)
	}
}
