package keys_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sign-file/keys"
)

// TestReferenceIsNoFile: a reference to a command is not looked for as a file of that name,
// which could be a FIFO in whatever folder the caller is in.
func TestReferenceIsNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	reference := filepath.Join(dir, "kr")
	if err := os.WriteFile(reference, []byte("sign-file key reference\nkey exec:false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("exec:false", 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		key, err := keys.Open(t.Context(), reference, nil)
		if err == nil {
			key.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			t.Log(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("waits for a FIFO of that name")
	}
}
