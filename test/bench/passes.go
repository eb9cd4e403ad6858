package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// twoPasses are the digests of a tree against sha256sum, and both passes together against
// signing the tree at once. What the signing side takes is not among them: its signatures
// are there already.
func (b *bench) twoPasses(unsigned string, names []string) ([]contest, error) {
	var files strings.Builder
	for _, name := range names {
		files.WriteString(filepath.Join(unsigned, name) + "\x00")
	}
	list := []string{b.ours, "digest", "--format", "json", "--jobs", "2", "sha256", unsigned}
	answers := filepath.Join(b.dir, "answers")
	if err := b.answer(list, answers); err != nil {
		return nil, err
	}
	once, twice := filepath.Join(b.dir, "signed-once"), filepath.Join(b.dir, "signed-twice")
	operands := b.operands("sha256", "rsa2048")
	both := `"$@" >/dev/null && exec "$0" attach --quiet --jobs 2 --signatures ` + answers + ` --cert ` + operands[2] + ` --output-dir ` + twice + ` ` + unsigned
	return []contest{
		{
			name:   fmt.Sprintf("digests of %d modules, 2 workers, against sha256sum", len(names)),
			theirs: side{args: []string{"xargs", "-0", "-n50", "-P2", "sha256sum"}, stdin: files.String(), files: len(names)},
			ours:   side{args: list, files: len(names)},
			rounds: 3 * b.factor,
		},
		{
			name: fmt.Sprintf("%d modules, RSA-2048, two passes against our one, without the signing side", len(names)),
			theirs: side{
				args:  append(append([]string{b.ours, "sign", "--quiet", "--jobs", "2", "--output-dir", once}, operands...), unsigned),
				files: len(names),
			},
			ours:    side{args: append([]string{"sh", "-c", both, b.ours}, list...), files: len(names)},
			outputs: []string{once, twice},
			rounds:  3 * b.factor,
		},
	}, nil
}

// answer signs a list of digests as a signing side does.
func (b *bench) answer(list []string, path string) error {
	lines, err := exec.Command(list[0], list[1:]...).Output()
	if err != nil {
		return err
	}
	key, err := b.signer("rsa2048")
	if err != nil {
		return err
	}
	var answers bytes.Buffer
	for line := range bytes.Lines(lines) {
		var answer map[string]any
		if err := json.Unmarshal(line, &answer); err != nil {
			return err
		}
		text, _ := answer["digest"].(string)
		sum, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		if answer["signature"], err = key.Sign(nil, sum, crypto.SHA256); err != nil {
			return err
		}
		if err := json.NewEncoder(&answers).Encode(answer); err != nil {
			return err
		}
	}
	return os.WriteFile(path, answers.Bytes(), 0o600)
}

func (b *bench) signer(name string) (crypto.Signer, error) {
	text, err := os.ReadFile(filepath.Join(b.keys, name+".key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}
