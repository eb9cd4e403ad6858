package signfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	modsig "sign-file/module_signature"
)

// Existing says what becomes of a module that is signed already.
type Existing int

const (
	// RefuseSigned makes it an error.
	RefuseSigned Existing = iota
	// SkipSigned leaves it as it is.
	SkipSigned
	// ReplaceSigned drops its signatures and signs it anew.
	ReplaceSigned
)

// Item is one module of many.
type Item struct {
	Path string
	Dest string // empty: in place
}

// Result is what became of an item.
type Result struct {
	Item
	Skipped bool
	Err     error
}

// Many says how to sign many modules.
type Many struct {
	Jobs     int // modules worked on at once
	Existing Existing
	Detach   bool // write <dest>.p7s alone
	FailFast bool // begin nothing new after the first failure
	// Sync makes the new files durable before they replace the old ones, with
	// one syncfs for as many as may be open at once.
	Sync bool
}

// ErrSigned refuses a module that is signed already.
var ErrSigned = errors.New("is signed already (--replace signs it anew, --unsigned-only skips it)")

// syncGroup is how many finished files may wait for one syncfs: each holds a file
// descriptor, and half of those that the process may have are enough.
func syncGroup() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(max(1, min(limit.Cur/2, math.MaxInt32)))
}

// SignMany signs modules, compressed ones too, and reports each from one
// goroutine, in no particular order. One failure doesn't stop the others. When ctx
// is cancelled no further module is begun; those not begun or not finished, which are
// as they were, are not reported.
func (s *Signer) SignMany(ctx context.Context, items []Item, how Many, report func(Result)) {
	begin, cancel := context.WithCancel(ctx)
	defer cancel()
	todo := feed(begin, items)
	done := make(chan finished)
	var workers sync.WaitGroup
	for range min(max(how.Jobs, 1), len(items)) {
		workers.Go(func() {
			for item := range todo {
				if begin.Err() != nil {
					return
				}
				f := s.one(ctx, item, how)
				if f.Err != nil {
					if ctx.Err() != nil {
						continue // cancelled, which is no failure
					}
					if how.FailFast {
						cancel()
					}
				}
				done <- f
			}
		})
	}
	go func() { workers.Wait(); close(done) }()
	collect(ctx, done, func(r Result) {
		if r.Err != nil && how.FailFast {
			cancel()
		}
		report(r)
	})
}

// feed hands out items until ctx is cancelled.
func feed(ctx context.Context, items []Item) <-chan Item {
	todo := make(chan Item)
	go func() {
		defer close(todo)
		for _, item := range items {
			if ctx.Err() != nil {
				return
			}
			select {
			case todo <- item:
			case <-ctx.Done():
				return
			}
		}
	}()
	return todo
}

// finished is a module that is signed, but not in its place if it's to be synced
// before.
type finished struct {
	Result
	pending *Pending
}

// collect commits what waits for a sync, group by group, and reports everything.
func collect(ctx context.Context, done <-chan finished, report func(Result)) {
	most := syncGroup()
	var group []finished
	flush := func() {
		for _, result := range syncAndCommit(ctx, group) {
			report(result)
		}
		group = group[:0]
	}
	for f := range done {
		if f.pending == nil {
			report(f.Result)
			continue
		}
		if group = append(group, f); len(group) == most {
			flush()
		}
	}
	flush()
}

// syncAndCommit makes the new files durable, gives them their names, and makes
// those durable. Once ctx is cancelled it drops what has no name yet, since a
// process that is told to end has a second to do so.
func syncAndCommit(ctx context.Context, group []finished) []Result {
	dirs := directories(group)
	before := syncUnlessDone(ctx, dirs)
	var results []Result
	for _, f := range group {
		if ctx.Err() == nil {
			f.Err = before
			if before == nil {
				f.Err = f.pending.Commit()
			}
			results = append(results, f.Result)
		}
		f.pending.Discard()
	}
	after := syncUnlessDone(ctx, dirs)
	for i := range results {
		results[i].Err = cmp.Or(results[i].Err, after)
	}
	return results
}

// directories lists where the files will be, each once.
func directories(group []finished) []string {
	var dirs []string
	for _, f := range group {
		dirs = append(dirs, f.pending.dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// syncUnlessDone is syncfs, which takes as long as the disk does, but for waiting
// in vain.
func syncUnlessDone(ctx context.Context, dirs []string) error {
	synced := make(chan error, 1)
	go func() { synced <- syncfs(dirs) }()
	select {
	case err := <-synced:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// syncfs syncs every filesystem that the directories are on, each once.
func syncfs(dirs []string) error {
	seen := map[uint64]bool{}
	for _, path := range dirs {
		dir, err := os.Open(path)
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err = unix.Fstat(int(dir.Fd()), &stat); err == nil && !seen[stat.Dev] {
			seen[stat.Dev] = true
			err = unix.Syncfs(int(dir.Fd()))
		}
		dir.Close()
		if err != nil {
			return fmt.Errorf("%s: sync: %w", path, err)
		}
	}
	return nil
}

// one signs one module.
func (s *Signer) one(ctx context.Context, item Item, how Many) finished {
	f := finished{Result: Result{Item: item}}
	module, err := OpenModule(item.Path)
	if err != nil {
		f.Err = err
		return f
	}
	defer module.Close()
	signed, err := modsig.HasMarker(module, module.Size)
	switch {
	case err != nil:
		f.Err = named(module.source, err)
	case signed && how.Existing == SkipSigned:
		f.Skipped = true
	case signed && how.Existing == RefuseSigned:
		f.Err = named(module.source, ErrSigned)
	default:
		f.pending, f.Err = s.prepare(ctx, module, item.Dest, how)
	}
	if f.pending != nil && !how.Sync {
		f.Err, f.pending = f.pending.Commit(), nil
	}
	return f
}

// prepare writes the one file that is asked for, next to its place.
func (s *Signer) prepare(ctx context.Context, module *Module, dest string, how Many) (*Pending, error) {
	out := Output{Dest: dest, Replace: how.Existing == ReplaceSigned}
	switch {
	case how.Detach:
		return s.prepareDetached(ctx, module, out)
	case module.Compressed():
		return s.prepareCompressed(ctx, module, out)
	}
	return s.PrepareFile(ctx, module.File, out)
}
