package ecdsaonce

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
)

// nonces is the generator of RFC 6979, section 3.2, which is HMAC_DRBG of SP 800-90A.
type nonces struct {
	newHash func() hash.Hash
	key, v  []byte
}

// newNonces seeds it with key and digest (steps b to g), and with 32 random bytes where
// there is a source of them (section 3.6).
func (k *PrivateKey) newNonces(random io.Reader, digest []byte, opts crypto.SignerOpts) (*nonces, error) {
	g := &nonces{newHash: sha512.New}
	var entropy [32]byte
	hedge := entropy[:0]
	switch {
	case random != nil:
		if _, err := io.ReadFull(random, entropy[:]); err != nil {
			return nil, fmt.Errorf("ecdsaonce: randomness: %w", err)
		}
		hedge = entropy[:]
	case opts == nil || !opts.HashFunc().Available():
		return nil, errors.New("ecdsaonce: a signature without randomness needs the hash that made the digest")
	default:
		g.newHash = opts.HashFunc().New
	}
	size := g.newHash().Size()
	g.key, g.v = make([]byte, size), make([]byte, size)
	for i := range g.v {
		g.v[i] = 1
	}
	for _, step := range []byte{0, 1} {
		g.key = g.mac(g.v, []byte{step}, k.octets, digest, hedge)
		g.v = g.mac(g.v)
	}
	return g, nil
}

func (g *nonces) mac(parts ...[]byte) []byte {
	m := hmac.New(g.newHash, g.key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// next returns a candidate (step h), and prepares for another.
func (g *nonces) next(group *group) []byte {
	var t []byte
	for len(t) < group.size {
		g.v = g.mac(g.v)
		t = append(t, g.v...)
	}
	defer clear(t)
	g.key = g.mac(g.v, []byte{0})
	g.v = g.mac(g.v)
	return group.leftmost(t)
}
