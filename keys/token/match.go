//go:build cgo

package token

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"
)

// token is a token in a slot of a module.
type token struct {
	*module
	pkcs11.TokenInfo
	slot uint
}

func (t *token) has(flag uint) bool { return t.Flags&flag != 0 }

// String names the token for people. What a token says is not to be trusted with
// a terminal, so it is quoted.
func (t *token) String() string { return fmt.Sprintf("token %q (serial %q)", t.Label, t.SerialNumber) }

// findTokens returns the tokens that the URI's attributes match, one at least. A
// slot that fails is passed over, and told of only if nothing matches.
func (m *module) findTokens(u uri) ([]*token, error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 module %s: C_GetSlotList: %w", m.path, err)
	}
	var found []*token
	var others []string
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		if err != nil {
			others = append(others, fmt.Sprintf("slot %d (%v)", slot, err))
			continue
		}
		t := &token{module: m, TokenInfo: info, slot: slot}
		if !t.has(pkcs11.CKF_TOKEN_INITIALIZED) {
			continue
		}
		if t.matches(u) {
			found = append(found, t)
		} else {
			others = append(others, t.String())
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no token matches %s: module %s has %s", u.tokens(), m.path, list(others))
	}
	return found, nil
}

// matches compares case-sensitively, and without the padding of the fields.
func (t *token) matches(u uri) bool {
	fields := map[string]string{
		"token": t.Label, "manufacturer": t.ManufacturerID, "model": t.Model, "serial": t.SerialNumber,
		"slot-id": strconv.FormatUint(uint64(t.slot), 10),
	}
	_, byDescription := u["slot-description"]
	_, byManufacturer := u["slot-manufacturer"]
	if byDescription || byManufacturer {
		slot, err := t.GetSlotInfo(t.slot)
		if err != nil {
			return false
		}
		fields["slot-description"], fields["slot-manufacturer"] = slot.SlotDescription, slot.ManufacturerID
	}
	for name, is := range fields {
		if want, ok := u[name]; ok && want != strings.TrimRight(is, " \x00") {
			return false
		}
	}
	return true
}

// open opens a session. Read-only is all that signing takes, and all that
// write-protected tokens give.
func (t *token) open() (pkcs11.SessionHandle, error) {
	session, err := t.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return 0, fmt.Errorf("%v: C_OpenSession: %w", t, err)
	}
	return session, nil
}

// maxObjects is how many objects of one search are looked at and told of.
const maxObjects = 64

// find returns the objects of a class that the URI's object and id match.
func (t *token) find(session pkcs11.SessionHandle, class uint, u uri) ([]pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if label, ok := u["object"]; ok {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if id, ok := u["id"]; ok {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	if err := t.FindObjectsInit(session, template); err != nil {
		return nil, fmt.Errorf("%v: C_FindObjectsInit: %w", t, err)
	}
	found, err := t.collect(session)
	if final := t.FindObjectsFinal(session); err == nil {
		err = final
	}
	if err != nil {
		return nil, fmt.Errorf("%v: C_FindObjects: %w", t, err)
	}
	return found, nil
}

// collect asks until a search has no more: a token may give fewer objects than it
// has at each call (PKCS #11 v2.40, section 5.7, C_FindObjects).
func (t *token) collect(session pkcs11.SessionHandle) (found []pkcs11.ObjectHandle, err error) {
	for len(found) < maxObjects {
		more, _, err := t.FindObjects(session, maxObjects-len(found))
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			break
		}
		found = append(found, more...)
	}
	return found, nil
}

// attribute returns the value of one attribute, nil where the object has none or
// keeps it. Several at once would all be lost by one that is missing.
func (t *token) attribute(session pkcs11.SessionHandle, object pkcs11.ObjectHandle, kind uint) []byte {
	got, err := t.GetAttributeValue(session, object, []*pkcs11.Attribute{{Type: kind}})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// name describes objects by what a URI can tell them apart by.
func (t *token) names(session pkcs11.SessionHandle, objects []pkcs11.ObjectHandle) string {
	var names []string
	for _, object := range objects {
		label, id := t.attribute(session, object, pkcs11.CKA_LABEL), t.attribute(session, object, pkcs11.CKA_ID)
		names = append(names, uri{"object": string(label), "id": string(id)}.objects())
	}
	return list(names)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// loginError says what became of a PIN that a token did not take.
func (t *token) loginError(err error) error {
	switch {
	case isCKR(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE):
		return fmt.Errorf("%v refused the PIN, which is not tried again%s: %w", t, t.triesLeft(), err)
	case isCKR(err, pkcs11.CKR_PIN_LOCKED):
		return fmt.Errorf("the PIN of %v is locked (unlock it with the security officer's PIN): %w", t, err)
	case isCKR(err, pkcs11.CKR_PIN_EXPIRED):
		return fmt.Errorf("the PIN of %v has expired (set a new one): %w", t, err)
	case isCKR(err, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		return fmt.Errorf("%v has no PIN yet (set one): %w", t, err)
	}
	return fmt.Errorf("%v: C_Login: %w", t, err)
}

// triesLeft passes on what the token knows of the attempts that are left.
func (t *token) triesLeft() string {
	info, err := t.GetTokenInfo(t.slot)
	switch {
	case err != nil:
		return ""
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return " (it is locked now)"
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return " (another wrong one will lock it)"
	case info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		return " (few tries are left)"
	}
	return ""
}

var errNoObject = errors.New("no such object")

// choose picks the one token of several whose public side has what the URI
// names. No PIN is sent to a token that merely might have it, unless it is the
// only one: each attempt counts against its lock.
func choose(tokens []*token, u uri, classes ...uint) (*token, error) {
	if len(tokens) == 1 {
		return tokens[0], nil
	}
	var sure, possible []*token
	for _, t := range tokens {
		shown, err := t.shows(u, classes)
		switch {
		case err == nil && shown:
			sure = append(sure, t)
		case t.has(pkcs11.CKF_LOGIN_REQUIRED):
			possible = append(possible, t)
		}
	}
	if len(sure) == 0 {
		sure = possible
	}
	switch len(sure) {
	case 0:
		return nil, fmt.Errorf("%w: none of %d tokens has %s", errNoObject, len(tokens), u.objects())
	case 1:
		return sure[0], nil
	}
	var names []string
	for _, t := range sure {
		names = append(names, t.String())
	}
	return nil, fmt.Errorf("%d tokens match, tell them apart with token= or serial=: %s", len(sure), list(names))
}

// shows reports whether an object is to be seen before login.
func (t *token) shows(u uri, classes []uint) (bool, error) {
	session, err := t.open()
	if err != nil {
		return false, err
	}
	defer t.CloseSession(session)
	for _, class := range classes {
		if found, err := t.find(session, class, u); err != nil || len(found) > 0 {
			return len(found) > 0, err
		}
	}
	return false, nil
}
