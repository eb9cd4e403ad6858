package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// side is one way to do the work of a row.
type side struct {
	args  []string
	stdin string
	env   []string // beside the caller's
	files int      // that one run works on
}

// contest is one row of the table: the same work done by two programs.
type contest struct {
	name         string
	theirs, ours side
	// outputs are set aside before each run: a file that is there already would be
	// truncated by the one and kept until the end by the other.
	outputs []string
	rounds  int
	signs   bool // as the kernel's sign-file does
}

// sample is what one run took for each file.
type sample struct{ wall, cpu float64 } // milliseconds

func (c contest) run(out io.Writer) error {
	var samples [2][]sample
	sides := [2]side{c.theirs, c.ours}
	for round := range c.rounds {
		for turn := range sides {
			i := (turn + round) % 2 // who goes first alternates
			s, err := c.once(sides[i])
			if err != nil {
				return err
			}
			samples[i] = append(samples[i], s)
		}
	}
	var rss [2]float64
	for i, side := range sides {
		kilobytes, err := c.peakMemory(side)
		if err != nil {
			return err
		}
		rss[i] = float64(kilobytes) / 1024
	}
	wall, cpu := func(s sample) float64 { return s.wall }, func(s sample) float64 { return s.cpu }
	theirs, ours := valuesOf(samples[0], wall), valuesOf(samples[1], wall)
	fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f (%.2f) | %.2f (%.2f) | %.1f | %.1f |\n", c.name,
		ratio(samples, wall), ratio(samples, cpu), median(theirs), slices.Min(theirs), median(ours), slices.Min(ours), rss[0], rss[1])
	return nil
}

func (c contest) once(s side) (sample, error) {
	cmd, err := c.command(s, s.args)
	if err != nil {
		return sample{}, err
	}
	complaint := new(strings.Builder)
	cmd.Stderr = complaint
	start := time.Now()
	err = cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", s.args[0], err, complaint)
	}
	perFile := float64(time.Millisecond) * float64(s.files)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return sample{float64(wall) / perFile, float64(cpu) / perFile}, nil
}

func (c contest) command(s side, args []string) (*exec.Cmd, error) {
	for _, path := range c.outputs {
		if err := setAside(path); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	if s.stdin != "" {
		cmd.Stdin = strings.NewReader(s.stdin)
	}
	return cmd, nil
}

// setAside empties the file or the files under path and moves path out of the way.
// A removed file's inode would cost the next run: an ext4 without a journal looks
// again and again for one that was not freed in the last minute.
func setAside(path string) error {
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Truncate(path, 0)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	place, err := os.MkdirTemp(filepath.Dir(path), "aside-")
	if err != nil {
		return err
	}
	return os.Rename(path, filepath.Join(place, filepath.Base(path)))
}

// peakMemory asks time(1), which is small itself: the kernel counts the memory of
// the process that starts another towards the other's maximum.
func (c contest) peakMemory(s side) (kilobytes int, err error) {
	cmd, err := c.command(s, append([]string{"time", "-f", "%M"}, s.args...))
	if err != nil {
		return 0, err
	}
	var report strings.Builder
	cmd.Stderr = &report
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("time (package time): %w", err)
	}
	words := strings.Fields(report.String())
	return strconv.Atoi(words[len(words)-1])
}

// ratio is the median of ours divided by theirs, pair by pair.
func ratio(samples [2][]sample, of func(sample) float64) float64 {
	var ratios []float64
	for i, theirs := range samples[0] {
		ratios = append(ratios, of(samples[1][i])/of(theirs))
	}
	return median(ratios)
}

func valuesOf(samples []sample, of func(sample) float64) []float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, of(s))
	}
	return values
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
