//go:build !cgo

package token

import "context"

// Built tells whether the program has keys on tokens, which takes cgo.
const Built = false

// Open returns ErrNotBuilt, or what is wrong with the URI.
func Open(_ context.Context, reference string, _ PINFunc) (Key, error) {
	if _, err := parseKeyURI(reference); err != nil {
		return nil, err
	}
	return nil, ErrNotBuilt
}

// Certificate returns ErrNotBuilt, or what is wrong with the URI.
func Certificate(_ context.Context, reference string, _ PINFunc) ([]byte, error) {
	if _, err := parseCertificateURI(reference); err != nil {
		return nil, err
	}
	return nil, ErrNotBuilt
}
