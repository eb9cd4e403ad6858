//go:build cgo

package token

import (
	"context"
	"crypto"
	"fmt"
	"io"

	"github.com/miekg/pkcs11"

	"sign-file/internal/scheme"
)

// tokenKey is a private key on a PKCS#11 token. It may be used by several
// goroutines at once.
type tokenKey struct {
	token       *token
	uri         uri
	credentials *credentials
	sessions    *pool

	public     crypto.PublicKey // nil where the token has none
	mechanism  uint
	orderSize  int  // of an ECDSA key's curve, in bytes; 0 if unknown
	alwaysAuth bool // CKA_ALWAYS_AUTHENTICATE
}

// Built tells whether the program has keys on tokens, which takes cgo.
const Built = true

// Open opens the private key that a pkcs11: URI names, and logs in where the token
// wants it. The PIN is that of the URI, or pin is asked for it, at most once. The errors
// hold neither the URI nor the PIN.
func Open(ctx context.Context, reference string, pin PINFunc) (Key, error) {
	u, err := parseKeyURI(reference)
	if err != nil {
		return nil, err
	}
	m, err := openModule(u)
	if err != nil {
		return nil, err
	}
	key, err := m.openKey(ctx, u, pin)
	if err != nil {
		m.release()
		return nil, err
	}
	return key, nil
}

func (m *module) openKey(ctx context.Context, u uri, pin PINFunc) (Key, error) {
	tokens, err := m.findTokens(u)
	if err != nil {
		return nil, err
	}
	t, err := choose(tokens, u, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k := &tokenKey{token: t, uri: u, credentials: &credentials{token: t, uri: u, ask: pin}}
	k.sessions = newPool(t.sessionLimit(), k.dial, k.hang)
	s, err := k.sessions.get(ctx)
	if err != nil {
		k.credentials.close()
		return nil, err
	}
	if err := k.describe(s); err != nil {
		k.sessions.drop(s)
		k.credentials.close()
		return nil, err
	}
	k.sessions.put(s)
	return k, nil
}

// dial opens a session, logs in and finds the key in it.
func (k *tokenKey) dial() (*session, error) {
	if err := k.sameToken(); err != nil {
		return nil, err
	}
	handle, err := k.token.open()
	if err != nil {
		return nil, err
	}
	s := &session{handle: handle}
	if err = k.credentials.login(handle); err == nil {
		s.key, err = k.find(handle)
	}
	if err != nil {
		k.hang(s)
		return nil, err
	}
	return s, nil
}

// sameToken looks whether the token was exchanged since it was found: its PIN is
// no other token's business.
func (k *tokenKey) sameToken() error {
	info, err := k.token.GetTokenInfo(k.token.slot)
	if err != nil {
		return fmt.Errorf("%v is gone: %w", k.token, err)
	}
	if info.SerialNumber != k.token.SerialNumber || info.Label != k.token.Label {
		return fmt.Errorf("%v is gone: another one is in its slot", k.token)
	}
	return nil
}

func (k *tokenKey) hang(s *session) { k.token.CloseSession(s.handle) }

// find returns the one private key that the URI names.
func (k *tokenKey) find(handle pkcs11.SessionHandle) (pkcs11.ObjectHandle, error) {
	found, err := k.token.find(handle, pkcs11.CKO_PRIVATE_KEY, k.uri)
	if err != nil {
		return 0, err
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		all, err := k.token.find(handle, pkcs11.CKO_PRIVATE_KEY, uri{})
		if err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("no private key matches %s: %v has %s", k.uri.objects(), k.token, k.token.names(handle, all))
	}
	return 0, fmt.Errorf("%d private keys on %v match, tell them apart with object= or id=: %s", len(found), k.token, k.token.names(handle, found))
}

// describe reads what the key is.
func (k *tokenKey) describe(s *session) error {
	switch kind := k.token.attribute(s.handle, s.key, pkcs11.CKA_KEY_TYPE); string(kind) {
	case string(pkcs11.NewAttribute(0, pkcs11.CKK_RSA).Value):
		k.mechanism = pkcs11.CKM_RSA_PKCS
	case string(pkcs11.NewAttribute(0, pkcs11.CKK_EC).Value):
		k.mechanism = pkcs11.CKM_ECDSA
		if curve := namedCurve(k.token.attribute(s.handle, s.key, pkcs11.CKA_EC_PARAMS)); curve != nil {
			k.orderSize = (curve.Params().N.BitLen() + 7) / 8
		}
	default:
		return fmt.Errorf("a key of CKA_KEY_TYPE %x; the kernel verifies RSA and ECDSA", kind)
	}
	always := k.token.attribute(s.handle, s.key, pkcs11.CKA_ALWAYS_AUTHENTICATE)
	k.alwaysAuth = len(always) == 1 && always[0] != 0
	k.public = k.token.publicKey(s.handle, s.key)
	return nil
}

// Public returns the public key, or nil if the token has only the private one.
func (k *tokenKey) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer as Key describes it.
func (k *tokenKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), rand, digest, opts)
}

// SignContext implements Key. A session that the token dropped is opened anew, once; no
// other failure is tried again.
func (k *tokenKey) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	data, err := k.toSign(digest, opts)
	if err != nil {
		return nil, err
	}
	s, err := k.sessions.get(ctx)
	if err != nil {
		return nil, err
	}
	signature, err := k.sign(s, data)
	if isDropped(err) {
		if s, err = k.sessions.redial(s); err != nil {
			return nil, err
		}
		signature, err = k.sign(s, data)
	}
	if err != nil {
		k.sessions.drop(s)
		return nil, err
	}
	k.sessions.put(s)
	if k.mechanism == pkcs11.CKM_ECDSA {
		if signature, err = scheme.EncodeECDSA(signature); err != nil {
			return nil, fmt.Errorf("%v: C_Sign: %w", k.token, err)
		}
	}
	return signature, nil
}

// toSign is what C_Sign gets. For RSA that is always the DigestInfo, so that the token
// need not know the hash. For ECDSA it is the leftmost bits of the digest (FIPS 186-5,
// section 6.4.1): not every token takes them by itself.
func (k *tokenKey) toSign(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.mechanism == pkcs11.CKM_RSA_PKCS {
		algorithm, sum, err := scheme.ReadRequest(digest, opts)
		if err != nil {
			return nil, err
		}
		return algorithm.DigestInfo(sum), nil
	}
	sum, err := scheme.ReadSum(digest, opts)
	if err == nil && k.orderSize > 0 {
		sum = sum[:min(len(sum), k.orderSize)]
	}
	return sum, err
}

func (k *tokenKey) sign(s *session, data []byte) ([]byte, error) {
	if err := k.token.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(k.mechanism, nil)}, s.key); err != nil {
		return nil, fmt.Errorf("%v: C_SignInit: %w", k.token, err)
	}
	if k.alwaysAuth {
		if err := k.credentials.loginForKey(s.handle); err != nil {
			return nil, err
		}
	}
	signature, err := k.token.sign(s.handle, data)
	if err != nil {
		return nil, fmt.Errorf("%v: C_Sign: %w", k.token, err)
	}
	return signature, nil
}

// Close ends the sessions when the last signature is made, and wipes the PIN.
// KnowsHashes is true: see keys.Key.
func (k *tokenKey) KnowsHashes() bool { return true }

func (k *tokenKey) Close() error {
	if k.sessions.close() {
		k.credentials.close()
		k.token.release()
	}
	return nil
}
