// Package corpus finds real modules to test and measure with: those of Debian's
// kernel, which test/modules.sh fetches.
package corpus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Corpus is a tree of modules.
type Corpus struct {
	dir     string
	modules []string // relative paths
}

// Find opens the folder that test/modules.sh makes.
func Find() (*Corpus, error) {
	dir := os.Getenv("SIGN_FILE_MODULES")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "sign-file", "modules")
	}
	c := &Corpus{dir: dir}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.HasSuffix(path, ".ko") {
			c.modules = append(c.modules, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err == nil && len(c.modules) == 0 {
		err = errors.New("no *.ko in it")
	}
	if err != nil {
		return nil, fmt.Errorf("modules of Debian's kernel: %w (test/modules.sh fetches them)", err)
	}
	return c, nil
}

// Copy copies n modules, or all there are, without their signatures into a folder.
// They are spread evenly over the tree, so that there are large ones among them,
// and are always the same. It returns their paths below that folder.
func (c *Corpus) Copy(to string, n int) ([]string, error) {
	n = min(n, len(c.modules))
	var copied []string
	for i := range n {
		module := c.modules[i*len(c.modules)/n]
		content, err := os.ReadFile(filepath.Join(c.dir, module))
		if err != nil {
			return nil, err
		}
		path := filepath.Join(to, module)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, unsigned(content), 0o644); err != nil {
			return nil, err
		}
		copied = append(copied, module)
	}
	return copied, nil
}

// unsigned cuts off what include/linux/module_signature.h describes: the signature,
// its size in the last four of twelve bytes, and the marker.
func unsigned(module []byte) []byte {
	body, signed := strings.CutSuffix(string(module), "~Module signature appended~\n")
	if !signed || len(body) < 12 {
		return module
	}
	size := binary.BigEndian.Uint32(module[len(body)-4:])
	return module[:max(0, len(body)-12-int(size))]
}
