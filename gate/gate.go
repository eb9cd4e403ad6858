// Package gate protects a BPF map on stock kernels: only values that the kernel has
// verified get into it, and any BPF program reads it.
//
// The map of a gate is a hash map that is frozen as soon as it is made, so that user
// space can't write to it through any descriptor. The one writer is the gate's own
// BPF program. It copies a candidate once, checks and verifies that copy, as the 2022
// kernel series "bpf: Add support for maps with authenticated values" would, and
// publishes it. A program that has the right to load BPF programs can still write to
// the map: the gate is no defence against root.
package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sign-file/gate/reader"
	"sign-file/internal/paths"
	"sign-file/mapvalue"
)

// DefaultDir is where gates are pinned, one folder each.
const DefaultDir = "/sys/fs/bpf/sign-file"

// Bounds of a gate, in bytes.
const (
	// MaxKeySize is MAX_KEY of gate.bpf.c.
	MaxKeySize = 64
	// MaxValueSize is what a dynptr holds: DYNPTR_MAX_SIZE, 2^24 - 1.
	MaxValueSize = 1<<24 - 1
)

// Trigger is the way in which candidates reach a gate's program.
type Trigger uint32

const (
	// Program: BPF_PROG_RUN, from Linux 6.18 on.
	Program Trigger = iota + 1
	// Inbox: an LSM program sees the writes to a second map, from Linux 6.1 on.
	Inbox
)

func (t Trigger) String() string {
	switch t {
	case Program:
		return "program"
	case Inbox:
		return "inbox"
	}
	return fmt.Sprintf("trigger %d", uint32(t))
}

// Names of what is pinned in a gate's folder. Links hold their programs.
const (
	pinValues  = "values"  // the protected map
	pinAbout   = "about"   // the map that holds an about
	pinLoad    = "load"    // Program: the program to run
	pinInbox   = "inbox"   // Inbox: the map to write to
	pinReceive = "receive" // Inbox: the link of the LSM program that watches it
	pinGuard   = "guard"   // the link of the LSM program that refuses descriptors
)

// Spec says what gate to create.
type Spec struct {
	Name       string
	KeySize    uint32 // in bytes, 1 to MaxKeySize
	ValueSize  uint32 // of a map value with its be32, signature and tail, in bytes
	MaxEntries uint32
	Keyring    Keyring
	Trigger    Trigger // 0: Program where the kernel lets it, or else Inbox
}

// maxName is the length of the longest name of a gate.
const maxName = 64

// isName keeps names to what a BPF filesystem takes, without the "~" of folders that
// are not complete.
func isName(name string) bool {
	odd := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, odd)
}

func checkName(name string) error {
	if !isName(name) {
		return fmt.Errorf("gate name %q: want letters, digits, - and _, %d at most", name, maxName)
	}
	return nil
}

func (s Spec) check() error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	switch {
	case s.KeySize < 1 || s.KeySize > MaxKeySize:
		return fmt.Errorf("key size %d: want 1 to %d", s.KeySize, MaxKeySize)
	case s.ValueSize <= mapvalue.HeaderSize || s.ValueSize > MaxValueSize:
		return fmt.Errorf("value size %d: want %d to %d", s.ValueSize, mapvalue.HeaderSize+1, MaxValueSize)
	case s.MaxEntries < 1:
		return errors.New("max entries 0: want at least 1")
	}
	return nil
}

// about is what a gate remembers of its making, in a frozen map.
type about struct {
	Version uint32
	Trigger Trigger
	Serial  int32  // the user keyring, or 0
	System  uint32 // the system keyring if Serial is 0
}

const aboutVersion = 1

// Gate is an existing gate, opened with Open.
type Gate struct {
	Name       string
	Trigger    Trigger
	Keyring    Keyring
	Guarded    bool // new writable descriptors are refused
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32

	dir    string
	values *reader.Map
}

// Create makes a gate and pins it in a folder of dir, which is on a BPF filesystem.
// It is complete from one moment to the next, and outlives the process. The error
// is a *MissingError where the kernel lacks something.
func Create(dir string, spec Spec) (err error) {
	if err := spec.check(); err != nil {
		return err
	}
	if err := missing(dir); err != nil {
		return err
	}
	sweep(dir)
	if _, err := os.Stat(filepath.Join(dir, spec.Name)); err == nil {
		return paths.About("open", filepath.Join(dir, spec.Name), os.ErrExist)
	}
	ring, err := spec.Keyring.open(spec.Name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ring.drop()
		}
	}()
	spec.Keyring = ring
	objects, err := load(spec)
	if err != nil {
		return err
	}
	defer objects.close()
	return objects.pin(dir, spec.Name)
}

// pin pins the objects in a folder that nobody looks at, and gives it its name when
// it is complete. What a crash leaves behind the next call sweeps away.
func (o *objects) pin(dir, name string) error {
	scratch := filepath.Join(dir, fmt.Sprintf("%s~%d", name, os.Getpid()))
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	err := checkOwners(dir)
	if err == nil {
		err = o.pinAll(scratch)
	}
	if err == nil {
		path := filepath.Join(dir, name)
		err = unix.Renameat2(unix.AT_FDCWD, scratch, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		if err != nil {
			err = &os.PathError{Op: "rename", Path: path, Err: err}
		}
	}
	if err != nil {
		os.RemoveAll(scratch)
	}
	return err
}

// sweep removes what processes that are gone have left half-made or half-removed.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		_, pid, ok := strings.Cut(e.Name(), "~")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(pid); err == nil && unix.Kill(n, 0) == unix.ESRCH {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// List returns the names of the gates in dir, sorted.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && isName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// Open opens a gate that stands.
func Open(dir, name string) (*Gate, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	a, err := readAbout(filepath.Join(path, pinAbout))
	if err != nil {
		return nil, err
	}
	values, err := reader.Open(filepath.Join(path, pinValues))
	if err != nil {
		return nil, err
	}
	m := values.BPF()
	_, err = os.Stat(filepath.Join(path, pinGuard))
	return &Gate{
		Name:       name,
		Trigger:    a.Trigger,
		Keyring:    Keyring{System: SystemKeyring(a.System), serial: a.Serial},
		Guarded:    err == nil,
		KeySize:    m.KeySize(),
		ValueSize:  m.ValueSize() - reader.HeaderSize,
		MaxEntries: m.MaxEntries(),
		dir:        path,
		values:     values,
	}, nil
}

func readAbout(path string) (about, error) {
	var a about
	m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return a, paths.About("open", path, err)
	}
	defer m.Close()
	if err := m.Lookup(uint32(0), &a); err != nil {
		return a, paths.About("open", path, err)
	}
	if a.Version != aboutVersion {
		return a, fmt.Errorf("%s: made by another version of this program (format %d)", path, a.Version)
	}
	return a, nil
}

// Entries returns what is published, in no particular order.
func (g *Gate) Entries() ([]reader.Entry, error) { return g.values.Entries() }

// Close closes the gate's descriptors. The gate goes on standing.
func (g *Gate) Close() error { return g.values.Close() }

// Remove takes a gate down. Who has the map open keeps it, and nothing can be
// published to it any more.
func Remove(dir, name string) error {
	g, err := Open(dir, name)
	if err != nil {
		return err
	}
	g.Close()
	// Renamed first, so that a crash half-way leaves no half gate.
	scratch := filepath.Join(dir, fmt.Sprintf("%s~%d", name, os.Getpid()))
	if err := os.Rename(g.dir, scratch); err != nil {
		return err
	}
	g.Keyring.drop()
	return os.RemoveAll(scratch)
}

// objects are a gate's maps, programs and links before they are pinned.
type objects struct {
	collection *ebpf.Collection
	about      *ebpf.Map
	receive    *lsmLink
	guard      *lsmLink
}

func (o *objects) close() {
	for _, l := range []*lsmLink{o.receive, o.guard} {
		if l != nil {
			l.Close()
		}
	}
	if o.about != nil {
		o.about.Close()
	}
	if o.collection != nil {
		o.collection.Close()
	}
}

// pinAll pins the guard first, and the way in last.
func (o *objects) pinAll(dir string) error {
	type pinner interface{ Pin(string) error }
	pins := []struct {
		name   string
		object pinner
		have   bool
	}{
		{pinGuard, o.guard, o.guard != nil},
		{pinValues, o.collection.Maps["values"], true},
		{pinAbout, o.about, true},
		{pinReceive, o.receive, o.receive != nil},
		{pinInbox, o.collection.Maps["inbox"], o.receive != nil},
		{pinLoad, o.collection.Programs["load"], o.receive == nil},
	}
	for _, p := range pins {
		if !p.have {
			continue
		}
		if err := p.object.Pin(filepath.Join(dir, p.name)); err != nil {
			return paths.About("open", filepath.Join(dir, p.name), err)
		}
	}
	return nil
}

// load loads the programs for the trigger that is asked for, or for the first that
// the kernel lets.
func load(spec Spec) (*objects, error) {
	triggers := []Trigger{Program, Inbox}
	if spec.Trigger != 0 {
		triggers = []Trigger{spec.Trigger}
	}
	var lacking MissingError
	for _, t := range triggers {
		o, err := loadTrigger(spec, t)
		var requirement *Requirement
		if !errors.As(err, &requirement) {
			return o, err
		}
		lacking.Missing = append(lacking.Missing, *requirement)
	}
	return nil, &lacking
}

func loadTrigger(spec Spec, trigger Trigger) (_ *objects, err error) {
	lsm := lsmActive()
	if trigger == Inbox && !lsm {
		return nil, &Requirement{"the trigger inbox needs the BPF LSM, which is not active", "add bpf to the boot parameter lsm= (CONFIG_BPF_LSM)"}
	}
	collection, err := prepare(spec, trigger, lsm)
	if err != nil {
		return nil, err
	}
	o := &objects{}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.collection, err = ebpf.NewCollection(collection); err != nil {
		return nil, loadError(err, trigger)
	}
	// Before anybody else can have a descriptor.
	for _, name := range []string{"values", "slots", "generations"} {
		if err := o.collection.Maps[name].Freeze(); err != nil {
			return nil, fmt.Errorf("freezing the map %s: %w", name, err)
		}
	}
	if o.about, err = newAbout(spec, trigger); err != nil {
		return nil, err
	}
	if lsm {
		if o.guard, err = attach(o.collection.Programs["guard"]); err != nil {
			return nil, err
		}
	}
	if trigger == Inbox {
		o.receive, err = attach(o.collection.Programs["receive"])
	}
	return o, err
}

func attach(p *ebpf.Program) (*lsmLink, error) {
	l, err := attachLSM(p)
	if err != nil {
		return nil, fmt.Errorf("attaching the LSM program: %w", err)
	}
	return l, nil
}

// prepare fits the embedded programs and maps to the gate.
func prepare(spec Spec, trigger Trigger, guard bool) (*ebpf.CollectionSpec, error) {
	c, err := loadProgram()
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{
		"value_size":     spec.ValueSize,
		"key_size":       spec.KeySize,
		"keyring_serial": uint32(spec.Keyring.serial),
		"keyring_system": uint64(spec.Keyring.System),
	} {
		if err := c.Variables[name].Set(value); err != nil {
			return nil, err
		}
	}
	values, slots, inbox := c.Maps["values"], c.Maps["slots"], c.Maps["inbox"]
	values.KeySize, values.MaxEntries = spec.KeySize, spec.MaxEntries
	values.ValueSize += spec.ValueSize
	slots.ValueSize += spec.ValueSize
	inbox.KeySize, inbox.ValueSize, inbox.MaxEntries = spec.KeySize, spec.ValueSize, spec.MaxEntries
	for _, m := range []*ebpf.MapSpec{values, inbox} {
		m.Key, m.Value = nil, nil // their BTF has other sizes
	}
	unwanted := "load"
	if trigger == Program {
		unwanted = "receive"
		delete(c.Maps, "inbox")
	}
	delete(c.Programs, unwanted)
	if !guard {
		delete(c.Programs, "guard")
	}
	return c, nil
}

func newAbout(spec Spec, trigger Trigger) (*ebpf.Map, error) {
	a := about{Version: aboutVersion, Trigger: trigger, Serial: spec.Keyring.serial, System: uint32(spec.Keyring.System)}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: pinAbout, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(a)), MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: a}},
		Flags:    unix.BPF_F_RDONLY_PROG,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the map %s: %w", pinAbout, err)
	}
	if err := m.Freeze(); err != nil {
		m.Close()
		return nil, fmt.Errorf("freezing the map %s: %w", pinAbout, err)
	}
	return m, nil
}

// loadError finds what the verifier holds against the program: the line before its
// statistics.
func loadError(err error, trigger Trigger) error {
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) {
		if errors.Is(err, unix.EPERM) {
			// Capabilities of a user namespace are none to bpf(2), and ebpf's own advice, about
			// MEMLOCK, is for kernels before 5.11.
			missing := &MissingError{[]Requirement{{"the kernel lets this process load no BPF programs", "run it as root of the machine, in no user namespace or container, and look for a security module that forbids it"}}}
			return fmt.Errorf("%w: %w", missing, unix.EPERM)
		}
		return fmt.Errorf("loading the program: %w", err)
	}
	reason := ""
	for _, line := range refused.Log {
		if !strings.HasPrefix(line, "processed ") {
			reason = line
		}
	}
	if trigger == Program && strings.Contains(reason, "is not allowed") {
		return &Requirement{"the trigger program needs a kernel that lets such programs verify signatures", "Linux 6.18, or the trigger inbox"}
	}
	return fmt.Errorf("the kernel refuses the program: %w: %s", errno(err), reason)
}

// errno finds the kernel's own error in what a library made of it.
func errno(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}
