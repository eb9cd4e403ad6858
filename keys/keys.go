// Package keys opens private keys: a reference, as it stands on a command line,
// becomes a crypto.Signer. There is one file for each kind of source.
package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Key signs, and holds on to whatever it is kept in until it is closed.
//
// RSA keys are asked to sign a complete DigestInfo with crypto.Hash(0) as the
// option: the one form in which every kind of source signs every hash right.
// ECDSA keys are asked to sign a digest. ML-DSA keys are asked to sign mu, 64 bytes
// that stand for a message of any length, with mldsacrypto.MLDSAMu as the option.
// As many goroutines call Sign at once as there are jobs: a key that is faster with
// many digests at once gathers theirs.
//
// Public is nil where only the certificate can tell.
type Key interface {
	crypto.Signer
	io.Closer
}

// PINFunc supplies the PIN or passphrase of what the prompt describes. It
// returns ErrNoPIN where there is none; an empty one is a PIN too.
type PINFunc func(prompt string) ([]byte, error)

// describe replaces the prompt by one that names the key.
func (f PINFunc) describe(prompt string) PINFunc {
	if f == nil {
		return nil
	}
	return func(string) ([]byte, error) { return f(prompt) }
}

// ErrNoPIN says that a key needs a PIN or passphrase and none is to be had.
var ErrNoPIN = errors.New("no PIN")

// MaxPINSize is the longest PIN that sign-file's callback hands to OpenSSL.
const MaxPINSize = 1023

// PINFromEnv reads the PIN from an environment variable, KBUILD_SIGN_PIN for
// one. A variable that is set but empty holds the empty PIN.
func PINFromEnv(name string) PINFunc {
	return func(string) ([]byte, error) {
		pin, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("%w: set %s", ErrNoPIN, name)
		}
		if len(pin) > MaxPINSize {
			return nil, fmt.Errorf("%s is longer than %d bytes", name, MaxPINSize)
		}
		return []byte(pin), nil
	}
}

// Open opens the key that a reference names: a file in PEM or DER, a pkcs11: URI,
// or exec:COMMAND (see execKey). The error doesn't repeat the reference; Name
// returns it fit to be shown.
func Open(ctx context.Context, reference string, pin PINFunc) (Key, error) {
	if OnToken(reference) {
		return openToken(ctx, reference, pin)
	}
	if command, ok := strings.CutPrefix(reference, "exec:"); ok {
		return openExec(ctx, command)
	}
	return openFile(reference, pin)
}

// OpenCertificate reads the certificate, DER, that a pkcs11: URI names.
func OpenCertificate(ctx context.Context, reference string, pin PINFunc) ([]byte, error) {
	return openCertificate(ctx, reference, pin)
}

// OnToken tells a pkcs11: URI from a file's name as sign-file does.
func OnToken(reference string) bool { return strings.HasPrefix(reference, uriScheme) }
