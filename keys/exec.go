package keys

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"filippo.io/mldsa/mldsacrypto"

	"sign-file/digest"
)

// execTimeout is how long a signing command may take: long enough for somebody to
// touch a token, short enough for a build to notice.
const execTimeout = 2 * time.Minute

// maxExecOutput bounds what is read of a command's answer, in bytes.
const maxExecOutput = 64 << 10

// execKey is a key that a command signs with. The command gets one line on its
// standard input, "<hash> <digest in hex>" or, for ML-DSA, "mu <mu in hex>", and
// writes the bare signature value to standard output: RSA PKCS#1 v1.5, ECDSA in DER,
// or ML-DSA. No shell is involved.
type execKey struct {
	ctx     context.Context
	command []string
}

func openExec(ctx context.Context, command string) (Key, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil, errors.New("exec: names no command")
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return nil, err
	}
	return &execKey{ctx: ctx, command: words}, nil
}

// Public is nil: only the certificate tells.
func (k *execKey) Public() crypto.PublicKey { return nil }

func (k *execKey) Close() error { return nil }

func (k *execKey) Sign(_ io.Reader, toSign []byte, opts crypto.SignerOpts) ([]byte, error) {
	line, err := execLine(toSign, opts.HashFunc())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(k.ctx, execTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.command[0], k.command[1:]...)
	cmd.WaitDelay = time.Second // for a grandchild that keeps the pipes open
	var out, errs bounded
	cmd.Stdin = strings.NewReader(line)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no answer within %v", execTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", k.command[0], err, errs.quote())
	}
	if out.kept.Len() == 0 || out.truncated {
		return nil, fmt.Errorf("%s: wrote no signature, or one of more than %d bytes%s", k.command[0], maxExecOutput, errs.quote())
	}
	return out.kept.Bytes(), nil
}

// execLine is what the command is told of what it shall sign.
func execLine(toSign []byte, hash crypto.Hash) (string, error) {
	if hash == mldsacrypto.MLDSAMu {
		return fmt.Sprintf("mu %x\n", toSign), nil
	}
	algorithm, sum := digest.ByHash(hash), toSign
	if algorithm == nil {
		var err error
		if algorithm, sum, err = digest.ParseDigestInfo(toSign); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%v %x\n", algorithm, sum), nil
}

// bounded keeps the beginning of what a command writes, and lets it write on. It
// embeds no bytes.Buffer, whose ReadFrom io.Copy would prefer to Write.
type bounded struct {
	kept      bytes.Buffer
	truncated bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := maxExecOutput - b.kept.Len()
	if len(p) > room {
		b.truncated = true
		b.kept.Write(p[:room])
	} else {
		b.kept.Write(p)
	}
	return len(p), nil
}

// quote puts what the command said on standard error behind an error, on one line.
func (b *bounded) quote() string {
	text := strings.Join(strings.Fields(b.kept.String()), " ")
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (it said: %.500q)", text)
}
