package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"sign-file/kernel"
	"sign-file/signfile"
)

// SchemeError says that a loader was made for another scheme than the one that is wanted.
type SchemeError struct{ Made, Wanted Scheme }

func (e *SchemeError) Error() string {
	if e.Wanted == Instructions {
		return "the loader is one for Linux 7.3 and later: it does not compare the digest of its map, so on Linux 6.18 to 7.2 a signature would not cover its data (bpftool of Linux 6.18 to 7.2 makes one for those)"
	}
	return "the loader is one for Linux 6.18 to 7.2: it waits for a digest of its map that nobody computes on Linux 7.3 and later, and would not run there (bpftool of Linux 7.3 makes one for those)"
}

// HashError says that excl_prog_hash of the loader's map is another program's.
type HashError struct{ Is, Want []byte }

func (e *HashError) Error() string {
	return fmt.Sprintf("excl_prog_hash is %x, and that of the instructions is %x: no kernel would let the loader use its map", e.Is, e.Want)
}

// ErrData is a loader of the scheme Instructions whose data are not those that it wants.
var ErrData = errors.New("the data are not those that the loader was made for: it would end with EINVAL")

// ErrTooLong says that the PKCS#7 message is longer than BPF_PROG_LOAD takes.
var ErrTooLong = errors.New("the PKCS#7 message is longer than the 8192 bytes that BPF_PROG_LOAD takes")

// CheckScheme returns why no signature of a scheme would let the loader run, or would cover
// all of it.
func (l *Loader) CheckScheme(s Scheme) error {
	if err := l.Check(); err != nil {
		return err
	}
	if n := len(l.Instructions) + len(l.Data); s == InstructionsAndMap && n > MaxPayload {
		return &SizeError{"bytes of instructions and data", n, MaxPayload}
	}
	if !l.ends() {
		return errNoEnd
	}
	if l.lacksData() {
		return ErrNoData
	}
	if made := l.Scheme(); made != s && (len(l.Data) > 0 || made == Instructions) {
		return &SchemeError{made, s}
	}
	if s == InstructionsAndMap {
		if err := l.checkBound(); err != nil {
			return err
		}
	}
	if hash := l.Hash(); l.ExclusiveHash != nil && !bytes.Equal(l.ExclusiveHash, hash[:]) {
		return &HashError{l.ExclusiveHash, hash[:]}
	}
	if !l.DataMatches() {
		return ErrData
	}
	return nil
}

// CheckKernel is CheckScheme for the scheme of one kernel, and returns as well why that one
// would not run the loader, where this is known.
func (l *Loader) CheckKernel(k *kernel.Kernel) error {
	if err := l.CheckScheme(SchemeOf(k)); err != nil {
		return err
	}
	if !l.readsExclusive() {
		return nil
	}
	if v, err := judgeExclusive(k); err == nil && v != nil {
		return fmt.Errorf("%s (%v); %s", v.Reason, v.Errno, v.Advice)
	}
	return nil
}

// Sign signs the loader with its own Scheme and returns the PKCS#7 message, DER. With a
// Signer that takes SHA-256 and names the signer by its key identifier the bytes are
// bpftool's. The Signer has checked the message. The loader keeps the signature that it has.
func (l *Loader) Sign(ctx context.Context, signer *signfile.Signer) ([]byte, error) {
	scheme := l.Scheme()
	if err := l.CheckScheme(scheme); err != nil {
		return nil, err
	}
	message, err := signer.Detach(ctx, bytes.NewReader(l.Payload(scheme)))
	if err == nil && len(message) > MaxSignature {
		return nil, ErrTooLong
	}
	return message, err
}
