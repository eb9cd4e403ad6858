//go:build !cgo

package keys

import (
	"context"
	"errors"
)

// A PKCS#11 module is a shared library, which a static program can't load.
var errNoPKCS11 = errors.New("PKCS#11 is not in this build, which is static; build with CGO_ENABLED=1 and a C compiler")

func openToken(_ context.Context, reference string, _ PINFunc) (Key, error) {
	if _, err := parseURI(reference); err != nil {
		return nil, err
	}
	return nil, errNoPKCS11
}

func openCertificate(_ context.Context, reference string, _ PINFunc) ([]byte, error) {
	if _, err := parseURI(reference); err != nil {
		return nil, err
	}
	return nil, errNoPKCS11
}
