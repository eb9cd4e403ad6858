package compressed

import (
	"errors"
	"os/exec"
	"testing"

	"sign-file/test/testenv"
)

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// TestBomb: a small file of which more would come than a module has is refused, and
// not after the disk is full.
func TestBomb(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "zstd")
	cmd := exec.Command("sh", "-c", "head -c 3G /dev/zero | zstd -q")
	bomb, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	format, _ := Of("bomb.ko.zst")
	var written counter
	err = format.Decompress(t.Context(), &written, bomb)
	bomb.Close()
	cmd.Wait()
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Limit != MaxSize {
		t.Errorf("the error is %v", err)
	}
	if written > MaxSize+1 {
		t.Errorf("%d bytes were written", written)
	}
}
