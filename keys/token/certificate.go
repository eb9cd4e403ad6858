//go:build cgo

package token

import (
	"bytes"
	"context"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Certificate reads the certificate, DER, that a pkcs11: URI names. Certificates are
// public as a rule, so it logs in only where nothing is found without.
func Certificate(ctx context.Context, reference string, pin PINFunc) ([]byte, error) {
	u, err := parseCertificateURI(reference)
	if err != nil {
		return nil, err
	}
	m, err := openModule(u)
	if err != nil {
		return nil, err
	}
	defer m.release()
	tokens, err := m.findTokens(u)
	if err != nil {
		return nil, err
	}
	t, err := choose(tokens, u, pkcs11.CKO_CERTIFICATE)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t.certificate(u, pin)
}

func (t *token) certificate(u uri, pin PINFunc) ([]byte, error) {
	session, err := t.open()
	if err != nil {
		return nil, err
	}
	defer t.CloseSession(session)
	found, err := t.find(session, pkcs11.CKO_CERTIFICATE, u)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && t.has(pkcs11.CKF_LOGIN_REQUIRED) {
		c := &credentials{token: t, uri: u, ask: pin}
		defer c.close()
		if err := c.login(session); err != nil {
			return nil, fmt.Errorf("no certificate matches %s before login: %w", u.objects(), err)
		}
		if found, err = t.find(session, pkcs11.CKO_CERTIFICATE, u); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		all, err := t.find(session, pkcs11.CKO_CERTIFICATE, uri{})
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("no certificate matches %s: %v has %s", u.objects(), t, t.names(session, all))
	}
	der := t.attribute(session, found[0], pkcs11.CKA_VALUE)
	for _, other := range found[1:] {
		if !bytes.Equal(der, t.attribute(session, other, pkcs11.CKA_VALUE)) {
			return nil, fmt.Errorf("%d certificates on %v match, tell them apart with object= or id=: %s", len(found), t, t.names(session, found))
		}
	}
	return der, nil
}
