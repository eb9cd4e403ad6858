package keys

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sign-file/internal/bounded"
	"sign-file/keys/token"
)

// referenceLine begins a file that names a key instead of holding it, for callers that
// take a file's name only:
//
//	sign-file key reference
//	key pkcs11:token=vault;object=modsign
//	passphrase-file /etc/keys/pin
//
// Its other lines are key, which every such file has, and at most one of passphrase-file,
// passphrase-credential (a name in $CREDENTIALS_DIRECTORY) and passphrase-command. Paths
// are relative to the file's folder. Lines that begin with # are comments.
const referenceLine = "sign-file key reference"

// ErrReference says that a file names a key which can't be opened.
var ErrReference = errors.New("the key that it names")

// referenceFile is such a file.
type referenceFile struct {
	key        string
	passphrase PINFunc // nil where it says nothing
}

func isReferenceFile(data []byte) bool {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	return strings.TrimSpace(string(first)) == referenceLine
}

// maxReferenceFile bounds such a file, in bytes.
const maxReferenceFile = 64 << 10

// openReferenceFile opens the key that a file names. Who may write the file chooses what
// is run, and with which secret, so nobody but its reader and root may.
func openReferenceFile(ctx context.Context, path string, pin PINFunc) (Key, error) {
	path, err := filepath.EvalSymlinks(path) // its folder is the file's, and no link's to it
	if err != nil {
		return nil, err
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	data, err := readOwn(path, 0o022)
	if err != nil {
		return nil, err
	}
	ref, err := parseReferenceFile(ctx, data, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if ref.passphrase != nil {
		pin = ref.passphrase
	}
	if KindOf(ref.key) == File { // what names a token or a command is no name of a file
		if data, err := readFile(ctx, ref.key); err == nil && isReferenceFile(data) {
			return nil, errors.New("too many references: it names another one")
		}
	}
	if ref.passphrase != nil && KindOf(ref.key) == Command {
		return nil, errors.New("a passphrase is of no use to a command: it has its own, in its environment or of a file")
	}
	key, err := Open(ctx, ref.key, pin)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	return key, nil
}

// ownFolder: who may rename a file's name, or that of a folder on the way to it, can put
// another there, or an older one of its owner's. The group's bits of a folder with an ACL
// are the most that the ACL lets anybody do.
func ownFolder(folder string) error {
	folder, err := filepath.Abs(folder)
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if bounded.Stranger(owner) || info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s: others may change what is in this folder (chmod go-w)", folder)
		}
		if folder == "/" {
			return nil
		}
		folder = filepath.Dir(folder)
	}
}

// readOwn reads a file that belongs to root or to this user, and that no others have the
// given rights to.
func readOwn(path string, others fs.FileMode) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // no FIFO is waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case bounded.Stranger(owner):
		return nil, fmt.Errorf("%s: belongs to another user", path)
	case info.Mode()&others != 0:
		return nil, fmt.Errorf("%s: others have rights to it (chmod go-%s)", path, map[bool]string{true: "w", false: "rwx"}[others == 0o022])
	}
	return bounded.FromFile(f, maxReferenceFile)
}

func parseReferenceFile(ctx context.Context, data []byte, folder string) (ref referenceFile, err error) {
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Scan() // referenceLine
	for n := 2; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		word, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || line[0] == '#':
			continue
		case value == "":
			err = errors.New("names nothing")
		case word == "key" && ref.key == "":
			ref.key = inFolder(folder, value)
		case strings.HasPrefix(word, "passphrase-") && ref.passphrase == nil:
			ref.passphrase, err = passphraseFrom(ctx, word, value, folder)
		default:
			err = errors.New("is not known, or comes twice (want key, and one of passphrase-file, passphrase-credential and passphrase-command)")
		}
		if err != nil {
			return ref, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if ref.key == "" {
		return ref, errors.New("a key reference without a key line")
	}
	return ref, scanner.Err()
}

// inFolder is a path as the file in that folder means it.
func inFolder(folder, reference string) string {
	switch KindOf(reference) {
	case Command:
		scheme, words, _ := strings.Cut(reference, ":")
		return scheme + ":" + strings.Join(commandIn(folder, strings.Fields(words)), " ")
	case File:
		if !filepath.IsAbs(reference) {
			return filepath.Join(folder, reference)
		}
	}
	return reference
}

// commandIn finds a command that is named by a path where the reference is: who calls may be
// in any folder, with anybody's commands in it.
func commandIn(folder string, words []string) []string {
	if len(words) > 0 && strings.Contains(words[0], "/") && !filepath.IsAbs(words[0]) {
		if words[0] = filepath.Join(folder, words[0]); !strings.Contains(words[0], "/") {
			words[0] = "./" + words[0] // or PATH would say which
		}
	}
	return words
}

// passphraseFrom returns what gets the passphrase when it is asked for.
func passphraseFrom(ctx context.Context, how, value, folder string) (PINFunc, error) {
	switch how {
	case "passphrase-file":
		return func(string) ([]byte, error) { return onePassphrase(readOwn(inFolder(folder, value), 0o077)) }, nil
	case "passphrase-credential":
		if strings.Contains(value, "/") {
			return nil, errors.New("a credential's name has no slash")
		}
		return func(string) ([]byte, error) {
			dir := os.Getenv("CREDENTIALS_DIRECTORY")
			if dir == "" {
				return nil, fmt.Errorf("%w: no CREDENTIALS_DIRECTORY (systemd sets it for a unit with LoadCredential=)", ErrNoPIN)
			}
			return onePassphrase(bounded.ReadFile(filepath.Join(dir, value), maxReferenceFile))
		}, nil
	case "passphrase-command":
		words := commandIn(folder, strings.Fields(value))
		return func(string) ([]byte, error) { return onePassphrase(runForPassphrase(ctx, words)) }, nil
	}
	return nil, errors.New("is not known (want passphrase-file, passphrase-credential or passphrase-command)")
}

// onePassphrase is the first line of what was read.
func onePassphrase(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	passphrase, _, _ := bytes.Cut(data, []byte("\n"))
	passphrase = bytes.TrimSuffix(passphrase, []byte("\r"))
	if len(passphrase) > token.MaxPINSize {
		clear(data)
		return nil, errLongPassphrase
	}
	return passphrase, nil
}

// runForPassphrase runs a command without a shell, and takes what it writes.
func runForPassphrase(ctx context.Context, words []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.WaitDelay = time.Second
	out := bounded.Buffer{Limit: maxReferenceFile}
	cmd.Stdout, cmd.Stderr = upTo{&out}, io.Discard
	err := cmd.Run()
	if out.Truncated() {
		err = &bounded.TooLargeError{Limit: maxReferenceFile}
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // an agent that it has started
		return nil, fmt.Errorf("%s, which was to write the passphrase: %w", words[0], err)
	}
	return out.Bytes(), nil
}
