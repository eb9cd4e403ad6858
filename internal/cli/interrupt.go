package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// interruptible is a context that SIGINT, SIGTERM, SIGHUP and a broken pipe cancel, so that what
// the work has begun is cleaned up before the process dies of that same signal,
// as make and shells expect. It starts to listen when it is first asked for its channel,
// since that costs a short run a twentieth of its time, and files without a name,
// which is nearly all, need no cleaning up.
type interruptible struct {
	context.Context
	cancel context.CancelFunc
	listen func()
	got    chan os.Signal // holds the signal that came
	broken chan struct{}  // told of a standard output that nobody reads
}

func newInterruptible() *interruptible {
	c := &interruptible{got: make(chan os.Signal, 1), broken: make(chan struct{}, 1)}
	c.Context, c.cancel = context.WithCancel(context.Background())
	c.listen = sync.OnceFunc(c.start)
	return c
}

// Done implements context.Context.
func (c *interruptible) Done() <-chan struct{} {
	c.listen()
	return c.Context.Done()
}

func (c *interruptible) start() {
	signals := notify()
	// Otherwise the first write to a broken standard output would end the process.
	// Nobody reads this channel: the signal comes for pipes to children too.
	if !signal.Ignored(syscall.SIGPIPE) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	go func() {
		var s os.Signal
		select {
		case s = <-signals:
		case <-c.broken:
			s = syscall.SIGPIPE
		}
		c.got <- s
		c.cancel()
		// timeout(1) sends its signal twice; who sends another after a second has lost
		// patience. Work that hangs in a system call is not waited for long.
		time.Sleep(time.Second)
		signal.Stop(signals)
		time.Sleep(4 * time.Second)
		die(s)
	}()
}

// readOnly is a context for verbs that write no module: they die of a signal on the spot.
func readOnly(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// wrote looks at what became of a write to a standard stream.
func (c *interruptible) wrote(err error) {
	if errors.Is(err, syscall.EPIPE) && !signal.Ignored(syscall.SIGPIPE) {
		select {
		case c.broken <- struct{}{}:
		default: // it is known
		}
	}
}

// notify starts to listen to the signals that ask for an end.
func notify() chan os.Signal {
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		// What nohup(1), or a shell's "&", had ignored stays so: nobody would die of it.
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals
}

// finish ends the process if a signal asked for it.
func (c *interruptible) finish() {
	select {
	case s := <-c.got:
		die(s)
	default:
	}
}

func die(s os.Signal) {
	signal.Reset(s)
	switch s {
	case syscall.SIGQUIT:
		os.Exit(128 + int(syscall.SIGQUIT)) // of the signal itself Go dies with a dump
	case syscall.SIGPIPE:
		// Go ignores this signal unless it is its own answer to a failed write.
		os.Stdout.Write([]byte{'\n'})
		os.Stderr.Write([]byte{'\n'})
		os.Exit(128 + int(syscall.SIGPIPE))
	}
	syscall.Kill(os.Getpid(), s.(syscall.Signal))
	select {}
}
