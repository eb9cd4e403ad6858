package cli

import (
	"fmt"
	"os"
	"time"
)

// progress is one line on a terminal, for work that lasts over a second: how many
// of how many, the rate, the time left and the current file. A nil one is silent.
type progress struct {
	out         *os.File
	total, done int
	start, last time.Time
	shown       bool
}

// newProgress returns nil where nobody looks.
func (p *program) newProgress(total int, silent bool) *progress {
	if silent || !isTerminal(p.err) {
		return nil
	}
	return &progress{out: p.err, total: total, start: time.Now()}
}

const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

func (p *progress) step(file string) {
	if p == nil {
		return
	}
	p.done++
	now := time.Now()
	elapsed := now.Sub(p.start)
	if elapsed < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	rate := float64(p.done) / elapsed.Seconds()
	left := time.Duration(float64(p.total-p.done)/rate) * time.Second
	const width = 40 // of the file's name, from its end
	if len(file) > width {
		file = "..." + file[len(file)-width:]
	}
	fmt.Fprintf(p.out, "\r\033[K%d of %d, %.0f/s, %v left, %q", p.done, p.total, rate, left, file)
}

// clear removes the line.
func (p *progress) clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.out, "\r\033[K")
		p.shown = false
	}
}
