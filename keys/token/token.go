// Package token uses private keys and certificates on PKCS#11 tokens (smart cards,
// HSMs, SoftHSM), named by pkcs11: URIs (RFC 7512) as OpenSSL's engine and provider
// read them. It does what a signer of kernel modules meets in the field: keys that want
// their PIN at each signature, tokens with one session, sessions that are dropped,
// several tokens with one label, and no PIN sent to a token that merely might be meant.
//
// It needs cgo. Without it, Open and Certificate return ErrNotBuilt.
package token

import (
	"context"
	"crypto"
	"errors"
	"io"
)

// Key is an RSA or ECDSA private key on a token, or on several sessions with it. It may
// be used by many goroutines at once.
//
// Sign takes a digest and its hash, and for RSA also a complete DigestInfo with
// crypto.Hash(0). Public is nil where the token has only the private key. Close waits
// for signatures that are being made, logs out and wipes the PIN.
type Key interface {
	crypto.Signer
	io.Closer
	// SignContext is like Sign, and waits for a free session only as long as ctx
	// lasts. A signature that the token has begun is not given up.
	SignContext(ctx context.Context, rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	// KnowsHashes is true: a signature that failed need not be asked for in another way.
	KnowsHashes() bool
}

// PINFunc supplies the PIN of the token that the prompt describes. An empty PIN is one
// too. It returns an error that wraps ErrNoPIN where there is none.
type PINFunc = func(prompt string) ([]byte, error)

// ErrNoPIN says that a token needs a PIN and none is to be had.
var ErrNoPIN = errors.New("no PIN")

// ErrNotBuilt says that the program can't load PKCS#11 modules, which are shared
// libraries.
var ErrNotBuilt = errors.New("PKCS#11 is not in this build, which is static; build with CGO_ENABLED=1 and a C compiler")

// MaxPINSize is the longest PIN in bytes that sign-file's callback hands to OpenSSL.
const MaxPINSize = 1023
