//go:build cgo

package token

import (
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// credentials log in to one token. They keep the PIN for sessions that are lost,
// and for keys that ask for it at every signature.
type credentials struct {
	token *token
	uri   uri
	ask   PINFunc

	mutex   sync.Mutex
	pin     []byte
	refused error // set once the token refused the PIN: each try counts against its lock
}

// login logs the whole token in, unless another session has done so.
func (c *credentials) login(handle pkcs11.SessionHandle) error {
	if !c.token.has(pkcs11.CKF_LOGIN_REQUIRED) {
		return nil
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	info, err := c.token.GetSessionInfo(handle)
	if err == nil && (info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS) {
		return nil
	}
	err = c.try(handle, pkcs11.CKU_USER)
	if isCKR(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return nil
	}
	return err
}

// loginForKey is the login that CKA_ALWAYS_AUTHENTICATE demands between C_SignInit
// and C_Sign (PKCS #11 v2.40, section 4.9).
func (c *credentials) loginForKey(handle pkcs11.SessionHandle) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.try(handle, pkcs11.CKU_CONTEXT_SPECIFIC)
}

func (c *credentials) try(handle pkcs11.SessionHandle, user uint) error {
	if c.refused != nil {
		return c.refused
	}
	if err := c.getPIN(); err != nil {
		return err
	}
	err := c.token.login(handle, user, c.pin)
	if err == nil || isCKR(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) || isDropped(err) {
		return err
	}
	c.refused = c.token.loginError(err)
	c.wipe()
	return c.refused
}

// getPIN gets the PIN when it is first needed. Tokens with a keypad of their own
// are asked with none.
func (c *credentials) getPIN() error {
	if c.pin != nil {
		return nil
	}
	pin, err := c.uri.pin()
	if err == nil && pin == nil && !c.token.has(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH) {
		pin, err = c.askPIN()
	}
	c.pin = pin
	return err
}

func (c *credentials) askPIN() ([]byte, error) {
	if c.ask == nil {
		return nil, fmt.Errorf("%v needs a PIN: %w (put pin-source= in the URI)", c.token, ErrNoPIN)
	}
	pin, err := c.ask(fmt.Sprintf("PIN of %v", c.token))
	if err != nil {
		return nil, fmt.Errorf("%v needs a PIN: %w", c.token, err)
	}
	if pin == nil {
		pin = []byte{}
	}
	return pin, nil
}

func (c *credentials) wipe() {
	clear(c.pin)
	c.pin = nil
}

// close wipes the PIN.
func (c *credentials) close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.wipe()
}
