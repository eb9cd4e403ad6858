package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sign-file/test/corpus"
)

// oneFile is the classic face: one process, one module, copied and signed.
func (b *bench) oneFile() ([]contest, error) {
	var rows []contest
	for _, w := range []struct {
		name, key, hash string
		size            int64 // of the module, in bytes
		rounds          int
	}{
		{"one 200 KB module, RSA-4096, sha512", "rsa4096", "sha512", 200 << 10, 60},
		{"one 200 KB module, RSA-2048, sha256", "rsa2048", "sha256", 200 << 10, 60},
		{"one 200 KB module, P-384, sha384", "p384", "sha384", 200 << 10, 60},
		{"one 200 KB module, P-521, sha512", "p521", "sha512", 200 << 10, 60},
		{"one 300 MB module, RSA-4096, sha512", "rsa4096", "sha512", 300 << 20, 5},
	} {
		module, signed := filepath.Join(b.dir, fmt.Sprintf("%d.ko", w.size)), filepath.Join(b.dir, "signed.ko")
		if err := makeModule(module, w.size); err != nil {
			return nil, err
		}
		args := append(b.operands(w.hash, w.key), module, signed)
		rows = append(rows, contest{
			name:    w.name,
			theirs:  side{args: append([]string{b.theirs}, args...), files: 1},
			ours:    side{args: append([]string{b.ours}, args...), files: 1},
			outputs: []string{signed},
			rounds:  w.rounds * b.factor,
			signs:   true,
		})
	}
	return rows, nil
}

// makeModule writes random bytes: to hash and copy, a module is no more.
func makeModule(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

const (
	treeSize = 1000
	// openssl takes so long for a module that these must do.
	opensslSize = 25
)

// tree is the work on a thousand real modules: signed out of place by two workers,
// and verified by one.
func (b *bench) tree() ([]contest, error) {
	modules, err := corpus.Find()
	if err != nil {
		return nil, err
	}
	unsigned := filepath.Join(b.dir, "unsigned")
	names, err := modules.Copy(unsigned, treeSize)
	if err != nil {
		return nil, err
	}
	rows := []contest{
		b.signTree(unsigned, names, "rsa4096", "sha512"),
		b.signTree(unsigned, names, "rsa2048", "sha256"),
	}
	for _, w := range [][2]string{{"rsa4096", "sha512"}, {"rsa2048", "sha256"}} {
		row, err := b.verifyTree(unsigned, names, w[0], w[1])
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	passes, err := b.twoPasses(unsigned, names)
	return append(rows, passes...), err
}

func (b *bench) signTree(unsigned string, names []string, key, hash string) contest {
	theirs, ours := filepath.Join(b.dir, "signed-theirs"), filepath.Join(b.dir, "signed-ours")
	var pairs strings.Builder // module and dest, for xargs
	for _, name := range names {
		// sign-file makes no folders, and to make each module's is no part of its work.
		dest := filepath.Join(theirs, strings.ReplaceAll(name, "/", ","))
		pairs.WriteString(filepath.Join(unsigned, name) + "\x00" + dest + "\x00")
	}
	return contest{
		name: fmt.Sprintf("%d modules, %s, %s, 2 workers", len(names), keyName(key), hash),
		theirs: side{
			args: append([]string{"sh", "-c", `mkdir "$1" && shift && exec xargs -0 -n2 -P2 "$@"`, "sh", theirs, b.theirs},
				b.operands(hash, key)...),
			stdin: pairs.String(), files: len(names),
		},
		ours: side{
			args:  append(append([]string{b.ours, "sign", "--jobs", "2", "--output-dir", ours}, b.operands(hash, key)...), unsigned),
			files: len(names),
		},
		outputs: []string{theirs, ours},
		rounds:  3 * b.factor,
		signs:   true,
	}
}

func keyName(key string) string { return strings.Replace(key, "rsa", "RSA-", 1) }

// opensslVerify is how one verifies a module that is taken apart already.
const opensslVerify = `cert=$1; shift
for p7s; do
	openssl cms -verify -binary -inform DER -in "$p7s" -content "${p7s%.p7s}" -certfile "$cert" -noverify -nointern -out /dev/null || exit 1
done`

func (b *bench) verifyTree(unsigned string, names []string, key, hash string) (contest, error) {
	signed := filepath.Join(b.dir, "to-verify-"+key)
	operands := append(b.operands(hash, key), unsigned)
	for _, args := range [][]string{{"--output-dir", signed}, {"-d", "--output-dir", signed + "-parts"}} {
		cmd := exec.Command(b.ours, append(append([]string{"sign", "--quiet"}, args...), operands...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return contest{}, fmt.Errorf("%w: %s", err, out)
		}
	}
	certificate := operands[2]
	ours := []string{b.ours, "verify", "--trusted", certificate}
	theirs := []string{"sh", "-c", opensslVerify, "sh", certificate}
	for i, name := range names {
		ours = append(ours, filepath.Join(signed, name))
		if i%(len(names)/opensslSize) == 0 {
			part := filepath.Join(signed+"-parts", name)
			if err := os.Link(filepath.Join(unsigned, name), part); err != nil {
				return contest{}, err
			}
			theirs = append(theirs, part+".p7s")
		}
	}
	return contest{
		name:   fmt.Sprintf("verify modules, %s, %s, against openssl cms -verify", keyName(key), hash),
		theirs: side{args: theirs, files: len(theirs) - 5},
		ours:   side{args: ours, files: len(names)},
		rounds: 3 * b.factor,
	}, nil
}
