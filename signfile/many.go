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

	"sign-file/internal/paths"
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

// Message is the file that has the PKCS#7 message alone, where that is asked for.
func (i Item) Message() string { return cmp.Or(i.Dest, i.Path) + ".p7s" }

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

// capacity is what the file descriptors that the process may have are enough for:
// modules worked on at once, and finished files that wait for one syncfs.
func (m Many) capacity() (jobs, group int) {
	const (
		forJob   = 12 // a module, what it becomes, a compressor and its pipes
		forOther = 16 // standard streams, the key, Go's poller, a directory
	)
	limit := unix.Rlimit{Cur: 1024}
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	free := max(int(min(limit.Cur, math.MaxInt32))-forOther, 2)
	jobs = free / forJob
	if m.Sync {
		jobs /= 2
	}
	jobs = max(min(jobs, m.Jobs), 1)
	return jobs, max(free-jobs*forJob, 1)
}

// SignMany signs modules, compressed ones too, and reports each from one
// goroutine, in no particular order. One failure doesn't stop the others. Directories
// that a Dest is in are made. When ctx is cancelled no further module is begun; those
// not begun or not finished, which are as they were, are not reported.
func (s *Signer) SignMany(ctx context.Context, items []Item, how Many, report func(Result)) {
	begin, cancel := context.WithCancel(ctx)
	defer cancel()
	todo := feed(begin, items)
	done := make(chan finished)
	jobs, group := how.capacity()
	var workers sync.WaitGroup
	for range min(jobs, len(items)) {
		workers.Go(func() {
			for item := range todo {
				if begin.Err() != nil {
					return // feed's select may have chosen the item all the same
				}
				f := s.one(ctx, item, how)
				switch {
				case f.Err != nil && ctx.Err() != nil:
					continue // cancelled, which is no failure
				case f.Err != nil && how.FailFast:
					cancel() // before this worker takes another
				}
				done <- f
			}
		})
	}
	go func() { workers.Wait(); close(done) }()
	collect(ctx, done, group, func(r Result) {
		if r.Err != nil && how.FailFast {
			cancel() // one that could not get its name
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

// collect commits what waits for a sync, in groups of at most so many, and reports
// everything.
func collect(ctx context.Context, done <-chan finished, most int, report func(Result)) {
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
// process that is told to end has seconds to do so.
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
	if ctx.Err() != nil {
		return results // in their places, though a power cut may bring the old ones back
	}
	for i := range results {
		results[i].Err = cmp.Or(results[i].Err, after)
	}
	return results
}

// directories lists where the files will be, each once.
func directories(group []finished) []string {
	var dirs []string
	for _, f := range group {
		for _, file := range f.pending.files {
			dirs = append(dirs, file.Dir())
		}
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
	_, err = module.Find()
	signed := err == nil
	switch {
	case !signed && !errors.Is(err, modsig.ErrUnsigned):
		f.Err = err // neither signed nor unsigned: its trailer is broken
	case signed && how.Existing == SkipSigned:
		f.Skipped = true
	case signed && how.Existing == RefuseSigned:
		f.Err = named(module.source, ErrSigned)
	default:
		f.pending, f.Err = s.prepare(ctx, module, item, how)
	}
	if f.pending != nil && !how.Sync {
		f.Err, f.pending = f.pending.Commit(), nil
	}
	return f
}

// prepare writes the one file that is asked for, next to its place.
func (s *Signer) prepare(ctx context.Context, module *Module, item Item, how Many) (*Pending, error) {
	out := Output{Dest: item.Dest, Replace: how.Existing == ReplaceSigned}
	if item.Dest != "" {
		if err := os.MkdirAll(paths.Dir(item.Dest), 0o777); err != nil {
			return nil, fmt.Errorf("%s: %w", item.Path, err)
		}
	}
	switch {
	case how.Detach:
		return s.prepareDetached(ctx, module, item.Message(), out.Replace)
	case module.Compressed():
		return s.prepareCompressed(ctx, module, out)
	}
	return s.PrepareFile(ctx, module.File, out)
}
