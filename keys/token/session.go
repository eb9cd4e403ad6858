//go:build cgo

package token

import (
	"context"
	"errors"
	"sync"

	"github.com/miekg/pkcs11"
)

// maxSessions bounds the sessions of one key. Tokens that sign in parallel gain
// little beyond it.
const maxSessions = 16

// session is a session that is logged in, and the private key's handle in it.
type session struct {
	handle pkcs11.SessionHandle
	key    pkcs11.ObjectHandle
}

// pool lends sessions out, and opens them as they are asked for: one for a single
// file, as many as the token allows for many at once, one for a smart card.
type pool struct {
	dial func() (*session, error)
	hang func(*session)

	mutex   sync.Mutex
	changed *sync.Cond
	idle    []*session
	open    int // idle ones, those lent out, and those being opened
	limit   int
	closed  bool
}

func newPool(limit int, dial func() (*session, error), hang func(*session)) *pool {
	p := &pool{dial: dial, hang: hang, limit: limit}
	p.changed = sync.NewCond(&p.mutex)
	return p
}

var errClosed = errors.New("the key is closed")

// get lends a session. If the token gives no more of them, it waits for one as long as
// ctx lasts.
func (p *pool) get(ctx context.Context) (*session, error) {
	stop := context.AfterFunc(ctx, p.wake)
	defer stop()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for {
		switch {
		case p.closed:
			return nil, errClosed
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case len(p.idle) > 0:
			s := p.idle[len(p.idle)-1]
			p.idle = p.idle[:len(p.idle)-1]
			return s, nil
		case p.open < p.limit:
			s, err := p.openMore()
			if err == nil {
				return s, nil
			}
			if !isCKR(err, pkcs11.CKR_SESSION_COUNT) || p.open == 0 {
				return nil, err
			}
			p.limit = p.open // that is all the token has
		default:
			p.changed.Wait()
		}
	}
}

// wake has those who wait for a session look again.
func (p *pool) wake() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.changed.Broadcast()
}

// openMore opens a session while others go on signing.
func (p *pool) openMore() (*session, error) {
	p.open++
	p.mutex.Unlock()
	s, err := p.dial()
	p.mutex.Lock()
	if err != nil {
		p.open--
		p.changed.Broadcast()
	}
	return s, err
}

// put takes a sound session back.
func (p *pool) put(s *session) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.idle = append(p.idle, s)
	p.changed.Broadcast()
}

// drop closes a session whose state is unknown.
func (p *pool) drop(s *session) {
	p.hang(s)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.open--
	p.changed.Broadcast()
}

// redial replaces a session by a fresh one: the idle ones may be lost as well.
func (p *pool) redial(s *session) (*session, error) {
	p.hang(s)
	fresh, err := p.dial()
	if err != nil {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.open--
		p.changed.Broadcast()
	}
	return fresh, err
}

// close waits for the sessions that are lent out and closes all. It returns false
// if that was done before.
func (p *pool) close() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	p.changed.Broadcast()
	for p.open > len(p.idle) {
		p.changed.Wait()
	}
	for _, s := range p.idle {
		p.hang(s)
	}
	return true
}

// sessionLimit is how many sessions a token admits to.
func (t *token) sessionLimit() int {
	n := t.MaxSessionCount
	if n == pkcs11.CK_EFFECTIVELY_INFINITE || n == pkcs11.CK_UNAVAILABLE_INFORMATION || n > maxSessions {
		return maxSessions
	}
	return int(n)
}

// isDropped tells the errors of a session that is gone, and with it the login and
// maybe the token's handles; another one may work.
func isDropped(err error) bool {
	return isCKR(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID)
}
