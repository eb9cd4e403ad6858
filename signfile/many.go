package signfile

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
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
	// SignAgain puts another signature behind those that it has, which no kernel looks at
	// any more: what sign-file does. It is RefuseSigned in a Many.
	SignAgain
)

// Dest is the file that is written for an item, or "" for the module itself.
func (m Many) Dest(item Item) string {
	suffix := ""
	if m.Detach {
		suffix = ".p7s"
	}
	switch {
	case m.OutputDir != "":
		return paths.Join(m.OutputDir, item.Relative()) + suffix
	case m.Detach:
		return item.Path + suffix
	}
	return ""
}

// Result is what became of an item.
type Result struct {
	Item
	Skipped bool
	Note    string   // what Many.Examine said
	Lost    []string // see Module.Lost
	Err     error
}

// Many says how to sign many modules.
type Many struct {
	Jobs     int // modules worked on at once, at least one
	Existing Existing
	// Examine is asked about each module before it is signed, or skipped, by several
	// goroutines at once. Its error is that of the module.
	Examine func(m *Module, skipped bool) (note string, err error)
	// Message returns the finished PKCS#7 message of a module, DER, which is checked with
	// the certificate and attached; the key signs nothing then.
	Message func(Item) ([]byte, error)
	Detach  bool // write only <module>.p7s, next to where the module would go
	// OutputDir is where the signed modules go, each to its path below the directory
	// that it was found in; empty means in place. Directories that are missing are made.
	OutputDir string
	FailFast  bool // begin nothing new after the first failure
	// Sync makes the new files durable before they replace the old ones, with
	// one syncfs for as many as may be open at once.
	Sync bool
}

// ErrSigned refuses a module that is signed already.
var ErrSigned = errors.New("is signed already")

// maxLoaded is what finit_module reads at most, in bytes.
const maxLoaded = math.MaxInt32

var errTooLarge = errors.New("has 2 GiB or more, and no kernel loads it")

// capacity is what the file descriptors that the process may have are enough for: modules
// under way at once, of which the key signs so many beside the jobs, and finished files
// that wait for one syncfs.
func (m Many) capacity(signing int) (underWay, group int) {
	const (
		forJob   = 14 // a module, what it becomes and replaces, their folders, a compressor and its pipes
		waiting  = 6  // a module and what it becomes and replaces, their folders
		forOther = 16 // standard streams, the key, Go's poller, a directory
	)
	// The runtime opens its poller with the first timer or pipe, and dies if that fails:
	// now, while there is room.
	time.AfterFunc(time.Hour, func() {}).Stop()
	limit := unix.Rlimit{Cur: 1024}
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	free := max(int(min(limit.Cur, math.MaxInt32))-forOther, 2)
	underWay = free / forJob
	if m.Sync {
		underWay /= 2
	}
	underWay = max(min(underWay, m.Jobs+signing), 1)
	return underWay, max((free-underWay*forJob)/waiting, 1)
}

// SignMany signs modules, compressed ones too, and reports each from one
// goroutine, in the order of the items. One failure doesn't stop the others. When ctx is
// cancelled no further module is begun; those not begun or not finished, which are as
// they were, are not reported.
func (s *Signer) SignMany(ctx context.Context, items []Item, how Many, report func(Result)) {
	opened := false
	s, signing, work := s.forMany(how)
	run := manyRun{Signer: s, how: how, signing: signing, work: work, output: sync.OnceValues(func() (*atomicfile.Folder, error) {
		opened = true
		return atomicfile.MakeFolder(how.OutputDir)
	})}
	run.sign(ctx, items, report)
	if opened {
		if output, err := run.output(); err == nil {
			output.Close()
		}
	}
}

// batcher is keys.Batcher.
type batcher interface{ Batch() int }

// forMany returns a Signer whose key signs several digests at once if it can: while it
// signs one module, others are read. With FailFast none is begun ahead.
func (s *Signer) forMany(how Many) (many *Signer, signing int, work chan struct{}) {
	work = make(chan struct{}, max(how.Jobs, 1))
	key, ok := s.options.Key.(batcher)
	if !ok || key.Batch() < 2 || how.FailFast {
		return s, 0, work
	}
	copied := *s
	copied.options.Key = yielding{s.options.Key, work}
	return &copied, key.Batch() * runtime.GOMAXPROCS(0), work
}

// yielding is a key that lets others work while it signs.
type yielding struct {
	crypto.Signer
	work chan struct{}
}

// KnowsHashes is true of every key that signs several digests at once.
func (yielding) KnowsHashes() bool { return true }

func (y yielding) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return y.SignContext(context.Background(), random, digest, opts)
}

// SignContext implements contextSigner, for keys that do.
func (y yielding) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	<-y.work
	defer func() { y.work <- struct{}{} }()
	return signWith(ctx, y.Signer, random, digest, opts)
}

// manyRun is SignMany on its way.
type manyRun struct {
	*Signer
	how Many
	// signing is how many modules more than jobs may be under way, for the key to have
	// company, and work has a place for each job: who waits for the key holds none.
	signing int
	work    chan struct{}
	// output opens the output directory when the first module is ready for it.
	output func() (*atomicfile.Folder, error)
}

func (s manyRun) sign(ctx context.Context, items []Item, report func(Result)) {
	how := s.how
	begin, cancel := context.WithCancel(ctx)
	defer cancel()
	ordered := inOrder{report: report, wait: map[int]Result{}}
	defer ordered.flush()
	items = how.distinct(items, report)
	todo := feed(begin, items)
	done := make(chan finished)
	underWay, group := how.capacity(s.signing)
	var workers sync.WaitGroup
	for range min(underWay, len(items)) {
		workers.Go(func() {
			for next := range todo {
				if begin.Err() != nil {
					return // feed's select may have chosen the item all the same
				}
				s.work <- struct{}{}
				f := s.one(ctx, next.Item)
				f.number = next.number
				<-s.work
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
	collect(ctx, done, group, func(f finished) {
		if f.Err != nil && how.FailFast {
			cancel() // one that could not get its name
		}
		ordered.add(f)
	})
}

// inOrder reports in the order of the items, whatever order they are finished in.
type inOrder struct {
	report func(Result)
	next   int
	wait   map[int]Result // what is finished and waits for one before it
}

func (o *inOrder) add(f finished) {
	o.wait[f.number] = f.Result
	for {
		result, ok := o.wait[o.next]
		if !ok {
			return
		}
		delete(o.wait, o.next)
		o.next++
		o.report(result)
	}
}

// flush reports what waits for items that were not begun, or not finished.
func (o *inOrder) flush() {
	for _, number := range slices.Sorted(maps.Keys(o.wait)) {
		o.report(o.wait[number])
	}
}

// distinct leaves out items that would become the file of an earlier one, and reports them.
func (m Many) distinct(items []Item, report func(Result)) []Item {
	if m.OutputDir == "" {
		return items
	}
	from := map[string]string{}
	var all []Item
	for _, item := range items {
		dest := m.Dest(item)
		if other, taken := from[dest]; taken && other != item.Path {
			report(Result{Item: item, Err: paths.About("create", dest, fmt.Errorf("is written from %s already", other))})
			continue
		}
		from[dest] = item.Path
		all = append(all, item)
	}
	return all
}

// numbered is an item and how many come before it.
type numbered struct {
	Item
	number int
}

// feed hands out items until ctx is cancelled.
func feed(ctx context.Context, items []Item) <-chan numbered {
	todo := make(chan numbered)
	go func() {
		defer close(todo)
		for i, item := range items {
			select {
			case todo <- numbered{item, i}:
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
	number  int // see numbered
	pending *pending
}

// collect commits what waits for a sync, in groups of at most so many, and reports
// everything.
func collect(ctx context.Context, done <-chan finished, most int, report func(finished)) {
	var group []finished
	flush := func() {
		for _, f := range syncAndCommit(ctx, group) {
			report(f)
		}
		group = group[:0]
	}
	for f := range done {
		if f.pending == nil {
			report(f)
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
func syncAndCommit(ctx context.Context, group []finished) []finished {
	disks := disksOf(group)
	defer disks.close()
	before := disks.sync(ctx)
	var results []finished
	for _, f := range group {
		if ctx.Err() != nil {
			f.pending.Discard()
			continue
		}
		if f.Err = before; before == nil {
			module := f.pending.module
			f.Err = f.pending.Commit()
			f.Lost = module.Lost()
		}
		f.pending.Discard()
		results = append(results, f)
	}
	after := disks.sync(ctx)
	if ctx.Err() != nil {
		return results // in their places, though a power cut may bring the old ones back
	}
	for i := range results {
		results[i].Err = cmp.Or(results[i].Err, after)
	}
	return results
}

// disks has one directory of each filesystem that files go to.
type disks map[uint64]*atomicfile.Folder

func disksOf(group []finished) disks {
	d := disks{}
	for _, f := range group {
		for _, file := range f.pending.files {
			if device, err := file.Device(); err == nil && d[device] == nil {
				if folder, err := file.Folder(); err == nil {
					d[device] = folder
				}
			}
		}
	}
	return d
}

func (d disks) close() {
	for _, folder := range d {
		folder.Close()
	}
}

// sync is syncfs(2), which takes as long as the disk does, without waiting in vain.
func (d disks) sync(ctx context.Context) error {
	synced := make(chan error, 1)
	folders := slices.Collect(maps.Values(d))
	go func() {
		var err error
		for _, folder := range folders {
			err = cmp.Or(err, folder.Syncfs())
		}
		synced <- err
	}()
	select {
	case err := <-synced:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// one signs one module. What waits for its sync keeps the module open.
func (s manyRun) one(ctx context.Context, item Item) finished {
	f := finished{Result: Result{Item: item}}
	module, err := item.Open(ctx)
	if err != nil {
		f.Err = err
		return f
	}
	defer func() {
		if f.pending == nil {
			module.Close()
		}
	}()
	_, f.Skipped, f.Err = s.how.Covers(module)
	if f.Err == nil && s.how.Examine != nil {
		f.Note, f.Err = s.how.Examine(module, f.Skipped)
	}
	if f.Err == nil && !f.Skipped && s.how.Message != nil {
		s.Signer, f.Err = s.withMessage(item)
	}
	if f.Err == nil && !f.Skipped {
		f.pending, f.Err = s.prepareOne(ctx, module, item)
	}
	if f.pending != nil && !s.how.Sync {
		f.Err, f.pending = f.pending.Commit(), nil
		f.Lost = module.Lost()
	}
	if f.pending != nil {
		f.pending.module = module
	}
	return f
}

// withMessage is the Signer with the message of one module.
func (s manyRun) withMessage(item Item) (*Signer, error) {
	message, err := s.how.Message(item)
	if err != nil {
		return nil, err
	}
	return s.Signer.finished(message)
}

// isUnsigned reports whether an error of Module.Find says no more than that.
func isUnsigned(err error) bool { return errors.Is(err, modsig.ErrUnsigned) }

// prepareOne writes the one file that is asked for, next to its place.
func (s manyRun) prepareOne(ctx context.Context, m *Module, item Item) (*pending, error) {
	replace := s.how.Existing == ReplaceSigned
	if s.how.Detach {
		target, err := s.target(m, item, ".p7s")
		if err != nil {
			return nil, err
		}
		file, err := s.prepareMessage(ctx, m, target, replace)
		if err != nil {
			return nil, err
		}
		return &pending{files: []*atomicfile.File{file}}, nil
	}
	target, err := s.target(m, item, "")
	if err != nil {
		return nil, err
	}
	return s.prepare(ctx, m, target, Output{Existing: s.how.Existing})
}

// target is where a module, or with a suffix its message, goes. No link that is found
// there is followed.
func (s manyRun) target(m *Module, item Item, suffix string) (*atomicfile.Target, error) {
	switch {
	case s.how.OutputDir != "":
		output, err := s.output()
		if err != nil {
			return nil, m.named(err)
		}
		place, err := output.Below(item.Relative()+suffix, true)
		if err != nil {
			return nil, err
		}
		target, err := place.Target()
		if err == nil && suffix == "" {
			m.hide(target)
		}
		return target, err
	case suffix != "":
		return m.place.Sibling(m.place.Name() + suffix).Target()
	}
	return m.target("")
}
