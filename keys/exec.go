package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"filippo.io/mldsa/mldsacrypto"

	"sign-file/internal/bounded"
	"sign-file/internal/scheme"
)

// commandTimeout is how long a signing command may take: long enough for somebody to
// touch a token, short enough for a build to notice.
const commandTimeout = 2 * time.Minute

// maxCommandOutput bounds what is read of a command's answer, in bytes.
const maxCommandOutput = 64 << 10

// commandKey is a key that a command signs with. The command gets one line on its
// standard input, "<hash> <digest in hex>" or, for ML-DSA, "mu <mu in hex>", and
// writes the bare signature value to standard output: RSA PKCS#1 v1.5, ECDSA in DER,
// or ML-DSA. No shell is involved.
//
// The command inherits the environment, and with it the PIN that may be there: the
// command takes the place of the key that the PIN is for.
type commandKey struct {
	words []string
}

func openCommand(line string) (*commandKey, error) {
	words := strings.Fields(line)
	switch {
	case len(words) == 0:
		return nil, errors.New("names no command")
	case strings.Contains(words[0], "="):
		return nil, errors.New("begins with a variable instead of a command, and no shell is involved (exec:env sets variables)")
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		var lookup *exec.Error
		if errors.As(err, &lookup) {
			err = lookup.Err // the command is named by Open
		}
		return nil, err
	}
	return &commandKey{words}, nil
}

// Public is nil: only the certificate tells.
func (k *commandKey) Public() crypto.PublicKey { return nil }

func (k *commandKey) Close() error { return nil }

func (k *commandKey) KnowsHashes() bool { return true }

func (k *commandKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), rand, digest, opts)
}

// SignContext implements ContextSigner: the command ends with ctx.
func (k *commandKey) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	line, err := commandLine(digest, opts)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, k.words[0], k.words[1:]...)
	cmd.WaitDelay = time.Second // for a grandchild that keeps the pipes open
	out, said := bounded.Buffer{Limit: maxCommandOutput}, bounded.Buffer{Limit: maxCommandOutput}
	cmd.Stdin = strings.NewReader(line)
	cmd.Stdout, cmd.Stderr = upTo{&out}, &said
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		err = fmt.Errorf("no answer within %v", commandTimeout)
	case out.Truncated():
		err = fmt.Errorf("wrote an answer that is %w", &bounded.TooLargeError{Limit: maxCommandOutput})
	case err != nil:
	case len(out.Bytes()) == 0:
		err = errors.New("wrote no signature")
	default:
		return out.Bytes(), nil
	}
	return nil, fmt.Errorf("%s: %w%s", k.words[0], err, k.quote(said.Bytes()))
}

// upTo ends a command's output where the buffer does: whoever writes more is not waited for.
type upTo struct{ *bounded.Buffer }

func (u upTo) Write(b []byte) (int, error) {
	n, err := u.Buffer.Write(b)
	if u.Truncated() {
		err = io.ErrShortWrite
	}
	return n, err
}

// commandLine is what the command is told of what it shall sign.
func commandLine(toSign []byte, opts crypto.SignerOpts) (string, error) {
	if err := scheme.CheckRequest(opts); err != nil {
		return "", err
	}
	if opts.HashFunc() == mldsacrypto.MLDSAMu {
		return fmt.Sprintf("mu %x\n", toSign), nil
	}
	algorithm, sum, err := scheme.ReadRequest(toSign, opts)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v %x\n", algorithm, sum), nil
}

// quote puts what the command said on standard error behind an error, on one line and
// without the secrets that it was given.
func (k *commandKey) quote(said []byte) string {
	text := strings.Join(strings.Fields(hide(string(said), k.secrets())), " ")
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (it said: %.500q)", text)
}

// shortestSecret is how long a word must be to be taken for a secret, in bytes: a
// shorter one would be found in any text.
const shortestSecret = 4

// secrets are what the command was given and may be one: its arguments, apart from
// options and paths, and variables that are named like a PIN or passphrase.
func (k *commandKey) secrets() (found []string) {
	for _, word := range k.words[1:] {
		option, value, ok := strings.Cut(word, "=")
		switch {
		case ok && option != "":
			found = append(found, value)
		case !strings.HasPrefix(word, "-") && !strings.Contains(word, "/"):
			found = append(found, word)
		}
	}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		name = strings.ToUpper(name)
		if strings.Contains(name, "PIN") || strings.Contains(name, "PASS") {
			found = append(found, value)
		}
	}
	return found
}

func hide(text string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, "...")
		}
	}
	return text
}
