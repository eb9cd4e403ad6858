package keys

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sign-file/internal/bounded"
)

// linesKey is a key that one process signs with for as long as the key is open, so that
// a service's client is not started for each of four thousand modules. It gets the lines
// that an exec: command gets, one for each signature, and answers each with a line, in
// their order: the signature value in base64, or the word error and why there is none. It may read ahead, and its
// standard input ends when the key is closed.
type linesKey struct {
	commandKey
	mutex   sync.Mutex
	started *lines
	failed  error // why there is no process any more
	hurried bool  // an answer is not waited for any more, nor is the process's end
}

// lines is a process that answers.
type lines struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	said    *bounded.Buffer
	waiting chan chan reply // in the order of the questions
	last    atomic.Int64    // when it answered last, in nanoseconds since 1970
	ended   chan struct{}   // closed when the process's output is
	silent  atomic.Bool     // it was killed for want of an answer
	strayed atomic.Bool     // and for one that nobody asked for
}

type reply struct {
	line string
	err  error
}

// ahead is how many questions may wait for their answers.
const ahead = 256

// stopAfter is how long a process that gets no more questions may take to end.
const stopAfter = 5 * time.Second

// Batch implements Batcher: a service that has a call for many digests gets as many as may
// wait, less those of the caller's jobs.
func (*linesKey) Batch() int { return max(ahead/2/runtime.GOMAXPROCS(0), 2) }

// Close ends the process.
func (k *linesKey) Close() error {
	k.mutex.Lock()
	p, hurried := k.started, k.hurried
	k.failed, k.started = errors.New("the key is closed"), nil
	k.mutex.Unlock()
	if p == nil {
		return nil
	}
	p.in.Close()
	if !hurried {
		select {
		case <-p.ended:
		case <-time.After(stopAfter):
		}
	}
	p.kill()
	return nil
}

func (p *lines) kill() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// Sign implements crypto.Signer.
func (k *linesKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), rand, digest, opts)
}

// SignContext implements ContextSigner. An answer that is not waited for is read all the
// same: the next question's comes behind it.
func (k *linesKey) SignContext(ctx context.Context, _ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	line, err := commandLine(digest, opts)
	if err != nil {
		return nil, err
	}
	answer, p, err := k.ask(ctx, line)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.words[0], err)
	}
	timeout := time.NewTimer(commandTimeout)
	defer timeout.Stop()
	for {
		select {
		case r := <-answer:
			if r.err != nil {
				return nil, fmt.Errorf("%s: %w", k.words[0], r.err)
			}
			return k.signature(r.line, p)
		case <-timeout.C:
			if left := commandTimeout - time.Since(time.Unix(0, p.last.Load())); left > 0 {
				timeout.Reset(left) // others that asked before had their answers meanwhile
				continue
			}
			p.silent.Store(true) // whoever waits behind this would wait as long again
			p.kill()
			return nil, fmt.Errorf("%s: %w", k.words[0], p.why(k))
		case <-ctx.Done():
			k.mutex.Lock()
			k.hurried = true
			k.mutex.Unlock()
			return nil, ctx.Err()
		}
	}
}

// signature reads an answer. What is wrong is often told on standard error alone.
func (k *linesKey) signature(line string, p *lines) ([]byte, error) {
	if why, refused := strings.CutPrefix(line, "error"); refused {
		return nil, fmt.Errorf("%s: refused%s", k.words[0], k.quote([]byte(why+" "+lastLine(p.said.Bytes()))))
	}
	value, err := base64.StdEncoding.DecodeString(line)
	if err != nil || len(value) == 0 {
		return nil, fmt.Errorf("%s: its answer is no line of base64%s", k.words[0], k.quote([]byte(lastLine(p.said.Bytes()))))
	}
	return value, nil
}

func lastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// ask puts a question, and returns where its answer will be.
func (k *linesKey) ask(ctx context.Context, line string) (<-chan reply, *lines, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.started == nil && k.failed == nil {
		k.started, k.failed = k.start()
	}
	if k.failed != nil {
		return nil, nil, k.failed
	}
	answer := make(chan reply, 1)
	select {
	case k.started.waiting <- answer:
	case <-k.started.ended:
		k.failed = k.started.why(k)
		return nil, nil, k.failed
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if _, err := io.WriteString(k.started.in, line); err != nil {
		<-k.started.ended
		k.failed = k.started.why(k)
		return nil, nil, k.failed
	}
	return answer, k.started, nil
}

func (k *linesKey) start() (*lines, error) {
	p := &lines{cmd: exec.Command(k.words[0], k.words[1:]...), waiting: make(chan chan reply, ahead), ended: make(chan struct{}), said: &bounded.Buffer{Limit: maxCommandOutput}}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for who closes the key
	p.cmd.Stderr = p.said
	p.cmd.WaitDelay = time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(out, k)
	return p, nil
}

// read hands each line to who waits for it, until the process ends or says too much.
func (p *lines) read(out io.Reader, k *linesKey) {
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, maxCommandOutput)
	for scanner.Scan() {
		select {
		case answer := <-p.waiting:
			p.last.Store(time.Now().UnixNano())
			answer <- reply{line: strings.TrimSpace(scanner.Text())}
			continue
		default:
		}
		p.strayed.Store(true) // those after it would be another's
		break
	}
	p.kill()
	p.cmd.Wait()
	close(p.ended)
	for {
		select {
		case answer := <-p.waiting:
			answer <- reply{err: p.why(k)}
		case <-time.After(time.Second):
			return
		}
	}
}

// why is the error of all that is left once the process has ended.
func (p *lines) why(k *linesKey) error {
	what := "ended before it answered"
	switch {
	case p.silent.Load():
		what = fmt.Sprintf("no answer within %v, and it may not wait for more lines than it has got", commandTimeout)
	case p.strayed.Load():
		what = "wrote a line that it was not asked for (one for each: base64 -w0)"
	}
	return fmt.Errorf("%s%s", what, k.quote(p.said.Bytes()))
}
