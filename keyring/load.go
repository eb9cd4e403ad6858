package keyring

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sign-file/certificate"
)

// Load trusts every certificate of the named files, PEM or DER, and of every file
// in the named directories that holds one.
func (r *Ring) Load(paths ...string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = r.loadDir(path)
		} else {
			err = r.loadFile(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Ring) loadFile(path string) error {
	data, err := readLimited(path, certificate.MaxFileSize)
	if err != nil {
		return err
	}
	all, err := certificate.ReadAll(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.Add(all...)
	return nil
}

// loadDir passes over files that hold no certificate: such a directory may have
// a README or a key in it. One without any certificate is an error.
func (r *Ring) loadDir(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	before := len(r.certificates)
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := r.loadFile(name); err != nil && os.IsPermission(err) {
			return err
		}
	}
	if len(r.certificates) == before {
		return fmt.Errorf("%s: no certificate in this directory", path)
	}
	return nil
}

// maxBlacklist bounds a blacklist file, in bytes.
const maxBlacklist = 16 << 20

// LoadBlacklist reads entries from a file, one a line. Quotes and commas around
// them are those of CONFIG_SYSTEM_BLACKLIST_HASH_LIST; # begins a comment.
func (r *Ring) LoadBlacklist(path string) error {
	text, err := readLimited(path, maxBlacklist)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if entry := strings.Trim(line, " \t\r\n\","); entry != "" {
			if err := r.Blacklist(entry); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, err
}
