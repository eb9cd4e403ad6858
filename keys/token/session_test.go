//go:build cgo

package token

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Who waits for the only session of a token gives up when the context ends.
func TestPoolWaitEnds(t *testing.T) {
	p := newPool(1, func() (*session, error) { return &session{}, nil }, func(*session) {})
	first, err := p.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	p.put(first)
	if again, err := p.get(t.Context()); err != nil || again != first {
		t.Errorf("%v, %v", again, err)
	}
	p.put(first)
	if !p.close() {
		t.Error("closed before")
	}
}
