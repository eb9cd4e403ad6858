// Package keys opens private keys: a reference, as it is written on a command line,
// becomes a crypto.Signer. A reference is the name of a file (PEM or DER, encrypted or
// not, or one that names another reference), a pkcs11: URI, exec:COMMAND or
// exec-lines:COMMAND. Whatever the source, the key signs RSA
// PKCS#1 v1.5, ECDSA or ML-DSA, which is what the kernel verifies.
//
//	key, err := keys.Open(ctx, "pkcs11:token=vault;object=modsign", keys.PINFromEnv("PIN"))
//	defer key.Close()
//	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA512)
//
// Errors of Open and OpenCertificate are *fs.PathErrors that name the reference, fit to
// be shown, and wrap the types that this package lists.
package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"sign-file/keys/token"
)

// Key signs, and holds on to whatever it is kept in until it is closed. It may be used
// by many goroutines at once.
//
// Sign is crypto.Signer's: digest is a digest, and opts.HashFunc() the hash that it was
// made with. RSA keys also take a complete DigestInfo with crypto.Hash(0), for hashes
// that have no crypto.Hash. ML-DSA keys take mu, 64 bytes that represent a message of any
// length, with mldsacrypto.MLDSAMu, and those in files a message with crypto.Hash(0).
// Options for RSA-PSS are refused. The source of randomness may be nil: crypto/rand is
// used anyway.
//
// Public is nil where only the certificate can tell.
//
// KnowsHashes is true: whoever has asked such a key for a signature need not ask in
// another way.
type Key interface {
	crypto.Signer
	io.Closer
	KnowsHashes() bool
}

// ContextSigner is implemented by keys whose signature may take long: those on tokens
// and those of commands. SignContext is like Sign, and fails when ctx ends first.
type ContextSigner interface {
	SignContext(ctx context.Context, rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// Batcher is implemented by keys that sign several digests at once in little more time
// than one takes. Whoever has many gives them Batch for each processor at the same time,
// from as many goroutines.
type Batcher interface{ Batch() int }

// FaultCounter is implemented by keys that check what they compute. Faults is how many
// signatures came out wrong and were made anew in another way: a sign of a machine that errs.
type FaultCounter interface{ Faults() int }

// PINFunc supplies the PIN or passphrase of what the prompt describes. It returns
// an error that wraps ErrNoPIN where there is none; an empty one is a PIN too. What it
// returns is wiped after use.
type PINFunc func(prompt string) ([]byte, error)

// ErrNoPIN says that a key needs a PIN or passphrase and none is to be had.
var ErrNoPIN = token.ErrNoPIN

// PINFromEnv reads the PIN from an environment variable. A variable that is set but
// empty holds the empty PIN.
func PINFromEnv(name string) PINFunc {
	return func(string) ([]byte, error) {
		pin, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("%w: set %s", ErrNoPIN, name)
		}
		if len(pin) > token.MaxPINSize {
			return nil, fmt.Errorf("%s is longer than %d bytes", name, token.MaxPINSize)
		}
		return []byte(pin), nil
	}
}

// Open opens the key that a reference names. The context bounds the opening; for
// signatures, see ContextSigner. A nil pin has none.
func Open(ctx context.Context, reference string, pin PINFunc) (key Key, err error) {
	switch {
	case IsTokenURI(reference):
		key, err = token.Open(ctx, reference, pin)
	case isCommand(reference):
		var command *commandKey
		if command, err = openCommand(strings.TrimPrefix(reference, commandScheme)); err == nil {
			key = command
		}
	case isLines(reference):
		var command *commandKey
		if command, err = openCommand(strings.TrimPrefix(reference, linesScheme)); err == nil {
			key = &linesKey{commandKey: *command}
		}
	default:
		key, err = openFile(ctx, reference, pin)
		if KindOf(reference) != File && errors.Is(err, fs.ErrNotExist) {
			err = errLookAlike
		}
	}
	if err != nil {
		return nil, about(reference, err)
	}
	return key, nil
}

// checker is implemented by keys that can be read more strictly than Open does.
type checker interface{ check() error }

// OpenChecked is Open for many signatures: numbers of a key that do not belong together, which
// Open leaves to the first signature to find, are told at once.
func OpenChecked(ctx context.Context, reference string, pin PINFunc) (Key, error) {
	key, err := Open(ctx, reference, pin)
	if err != nil {
		return nil, err
	}
	if c, ok := key.(checker); ok {
		if err := c.check(); err != nil {
			key.Close()
			return nil, about(reference, err)
		}
	}
	return key, nil
}

var errLookAlike = fmt.Errorf("%w (pkcs11:, exec: and exec-lines: are written in lower case, without a space)", fs.ErrNotExist)

// OpenCertificate reads the certificate, DER, that a pkcs11: URI names.
func OpenCertificate(ctx context.Context, reference string, pin PINFunc) ([]byte, error) {
	der, err := token.Certificate(ctx, reference, pin)
	if err != nil {
		return nil, about(reference, err)
	}
	return der, nil
}

// about names the reference that an error is about, without its secrets. An error that
// names the file itself may name it with them.
func about(reference string, err error) error {
	if pathErr, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: pathErr.Op, Path: Name(reference), Err: pathErr.Err}
	}
	return &fs.PathError{Op: "open", Path: Name(reference), Err: err}
}
