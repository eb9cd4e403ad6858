package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"sign-file/gate"
	"sign-file/gate/reader"
	"sign-file/mapvalue"
)

func (p *program) gateCommand() *cli.Command {
	dir := &cli.StringFlag{Name: "dir", Value: gate.DefaultDir, Usage: "the folder of gates, on a BPF filesystem: `DIR`"}
	return &cli.Command{
		Name:  "gate",
		Usage: "let only authentic values into a BPF map",
		Description: "A gate is a BPF map that user space can't write to. Values get into it only through\n" +
			"load, which has the kernel verify them. See sign-file-gate(1).",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a gate that outlives this process",
				ArgsUsage: "<name>",
				Flags: []cli.Flag{
					dir, trustedFlag(),
					&cli.StringFlag{Name: "keyring", Usage: "trust the kernel's `KEYRING`: secondary, builtin or platform"},
					&cli.UintFlag{Name: "value-size", DefaultText: "none", Usage: "size of a map value with its signature, `N` bytes"},
					&cli.UintFlag{Name: "key-size", Value: 4, Usage: "size of a key, `N` bytes"},
					&cli.UintFlag{Name: "max-entries", Value: 64, Usage: "room for `N` values"},
					&cli.StringFlag{Name: "trigger", Usage: "`program` (Linux 6.18) or inbox (BPF LSM); default: what the kernel has"},
				},
				Action: p.gateCreate,
			},
			{
				Name: "load", Usage: "publish map values that the kernel finds authentic",
				ArgsUsage:   "<name> <key>=<value file>...",
				Description: "A key is a decimal number, or hex: and the bytes.",
				Flags:       []cli.Flag{dir, jsonFlag()},
				Action:      p.gateLoad,
			},
			{Name: "list", Usage: "list the gates", Flags: []cli.Flag{dir, jsonFlag()}, Action: p.gateList},
			{
				Name: "show", Usage: "show a gate and what is in its map", ArgsUsage: "<name>",
				Flags: []cli.Flag{dir, jsonFlag()}, Action: p.gateShow,
			},
			{Name: "remove", Usage: "take a gate down", ArgsUsage: "<name>", Flags: []cli.Flag{dir}, Action: p.gateRemove},
		},
	}
}

func (p *program) gateCreate(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	if !c.IsSet("value-size") {
		return usagef("no --value-size")
	}
	spec := gate.Spec{
		Name:       args[0],
		KeySize:    uint32(c.Uint("key-size")),
		ValueSize:  uint32(min(c.Uint("value-size"), gate.MaxValueSize+1)),
		MaxEntries: uint32(c.Uint("max-entries")),
	}
	if spec.Trigger, err = trigger(c.String("trigger")); err != nil {
		return err
	}
	if spec.Keyring, err = p.gateKeyring(c); err != nil {
		return err
	}
	err = gate.Create(c.String("dir"), spec)
	var lacking *gate.MissingError
	if errors.As(err, &lacking) {
		for _, m := range lacking.Missing {
			p.say("missing: %s: %s", m.What, m.Do)
		}
		return errors.New("this system can't have a gate, and nothing was changed")
	}
	return about("gate "+spec.Name, err)
}

func trigger(name string) (gate.Trigger, error) {
	for _, t := range []gate.Trigger{gate.Program, gate.Inbox} {
		if name == t.String() {
			return t, nil
		}
	}
	if name != "" {
		return 0, usagef("--trigger %s: want program or inbox", name)
	}
	return 0, nil
}

func (p *program) gateKeyring(c *cli.Context) (gate.Keyring, error) {
	var k gate.Keyring
	name := c.String("keyring")
	if (name == "") == !c.IsSet("trusted") {
		return k, usagef("name either --trusted certificates or a --keyring")
	}
	if name == "" {
		ring, err := p.trustedRing(c)
		if err == nil {
			k.Certificates = ring.Certificates()
		}
		return k, err
	}
	for _, k.System = range []gate.SystemKeyring{gate.Builtin, gate.Secondary, gate.Platform} {
		if name == k.System.String() {
			return k, nil
		}
	}
	return k, usagef("--keyring %s: want secondary, builtin or platform", name)
}

// gateKey reads a key: a decimal number in the machine's byte order, or hex:bytes.
func gateKey(text string, size uint32) ([]byte, error) {
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		key, err := hex.DecodeString(digits)
		if err != nil || len(key) != int(size) {
			return nil, usagef("key %s: want %d bytes in hex", text, size)
		}
		return key, nil
	}
	bits := 8 * int(size)
	if bits != 8 && bits != 16 && bits != 32 && bits != 64 {
		return nil, usagef("key %s: a key of %d bytes can only be given as hex:", text, size)
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return nil, usagef("key %s: want a decimal number of %d bits, or hex: and %d bytes", text, bits, size)
	}
	key := binary.NativeEndian.AppendUint64(nil, n)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return key[:size], nil
	}
	return key[8-size:], nil
}

// loadReport is what gate load says of one value.
type loadReport struct {
	Key string `json:"key"`
	fileField
	Accepted bool   `json:"accepted"`
	Errno    string `json:"errno,omitempty"`
	Number   int    `json:"errno_number,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (p *program) gateLoad(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) < 2 {
		return usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	g, err := openGate(c, args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	loader, err := g.Loader()
	if err != nil {
		return err
	}
	defer loader.Close()
	keys := make([][]byte, len(args)-1)
	for i, pair := range args[1:] {
		key, _, ok := strings.Cut(pair, "=")
		if !ok {
			return usagef("%s: want <key>=<value file>", pair)
		}
		if keys[i], err = gateKey(key, g.KeySize); err != nil {
			return err
		}
	}
	failed := false
	for i, pair := range args[1:] {
		key, path, _ := strings.Cut(pair, "=")
		report := loadReport{Key: key, fileField: fileNamed(path)}
		p.loadOne(loader, g, keys[i], &report)
		failed = failed || !report.Accepted
		if err := p.printLoad(c, report); err != nil {
			return err
		}
	}
	if failed {
		return exitError(exitFailure)
	}
	return nil
}

func (p *program) loadOne(loader *gate.Loader, g *gate.Gate, key []byte, r *loadReport) {
	value, err := p.readValue(r.File)
	if err == nil {
		err = loader.Publish(key, value)
	}
	var errno syscall.Errno
	switch {
	case err == nil:
		r.Accepted = true
	case errors.As(err, &errno) && value != nil:
		r.Errno, r.Number = unix.ErrnoName(errno), int(errno)
		r.Reason = diagnose(value, errno, g)
	default:
		r.Error = errorText(about(r.File, err))
	}
}

func (p *program) printLoad(c *cli.Context, r loadReport) error {
	if r.Error != "" {
		p.say("%s", r.Error)
	}
	switch {
	case c.Bool("json"):
		return p.writeJSON(r)
	case r.Error != "":
		return nil
	case r.Accepted:
		return p.printf("%s: published as key %s\n", r.File, r.Key)
	}
	return p.printf("%s: refused: %s (%s)\n", r.File, r.Reason, r.Errno)
}

// diagnose says in words why the kernel refused a value. The container tells for
// itself; of the signature the kernel gives no more than its errno.
func diagnose(value []byte, errno syscall.Errno, g *gate.Gate) string {
	switch errno {
	case syscall.E2BIG:
		return fmt.Sprintf("the map has all of its %d entries (create the gate with more --max-entries)", g.MaxEntries)
	case syscall.EBUSY:
		return "the gate is busy with other values (try again)"
	case syscall.EPERM:
		return "no permission (run it as root, or with CAP_BPF)"
	}
	decoded, err := mapvalue.Decode(value)
	if err != nil {
		return err.Error()
	}
	report := reportMessage(decoded.Message, int64(len(decoded.Message)), int64(len(decoded.Data)))
	if report.Error != "" {
		return report.Error
	}
	signer := report.Signers[0]
	switch errno {
	case syscall.ENOKEY:
		return fmt.Sprintf("no certificate in the gate's %v for the signer %s", g.Keyring, signer.who())
	case syscall.EKEYREJECTED, syscall.EBADMSG:
		return fmt.Sprintf("the data or the signature of %s was changed after signing", signer.who())
	case syscall.ENOPKG:
		return fmt.Sprintf("the kernel can't verify %s with %s (load its modules)", signer.Algorithm, signer.Hash)
	}
	return errno.Error()
}

func openGate(c *cli.Context, name string) (*gate.Gate, error) {
	g, err := gate.Open(c.String("dir"), name)
	if errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("no gate %s in %s (sign-file map gate list)", name, c.String("dir"))
	}
	return g, about("gate "+name, err)
}

// gateReport is what gate list and gate show say of a gate.
type gateReport struct {
	Name       string        `json:"name"`
	Trigger    string        `json:"trigger"`
	Keyring    string        `json:"keyring"`
	Guarded    bool          `json:"guarded"`
	KeySize    uint32        `json:"key_size"`
	ValueSize  uint32        `json:"value_size"`
	MaxEntries uint32        `json:"max_entries"`
	Entries    []entryReport `json:"entries"`
}

type entryReport struct {
	Key        string         `json:"key"`
	Generation uint64         `json:"generation"`
	DataSize   int            `json:"data_size"`
	Signers    []signerReport `json:"signers,omitempty"`
}

func reportGate(g *gate.Gate) (gateReport, error) {
	r := gateReport{
		Name: g.Name, Trigger: g.Trigger.String(), Keyring: g.Keyring.String(), Guarded: g.Guarded,
		KeySize: g.KeySize, ValueSize: g.ValueSize, MaxEntries: g.MaxEntries, Entries: []entryReport{},
	}
	entries, err := g.Entries()
	slices.SortFunc(entries, func(a, b reader.Entry) int { return bytes.Compare(a.Key, b.Key) })
	for _, e := range entries {
		entry := entryReport{Key: hex.EncodeToString(e.Key), Generation: e.Generation, DataSize: len(e.Data)}
		if v, err := mapvalue.Decode(e.Value); err == nil {
			entry.Signers = reportMessage(v.Message, int64(len(v.Message)), int64(len(v.Data))).Signers
		}
		r.Entries = append(r.Entries, entry)
	}
	return r, err
}

func (p *program) gateList(c *cli.Context) error {
	if _, err := operands(c, 0, 0); err != nil {
		return err
	}
	names, err := gate.List(c.String("dir"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.reportOne(c, name, gateReport.line); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) gateShow(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	return p.reportOne(c, args[0], gateReport.page)
}

func (p *program) reportOne(c *cli.Context, name string, page func(gateReport) string) error {
	g, err := openGate(c, name)
	if err != nil {
		return err
	}
	defer g.Close()
	report, err := reportGate(g)
	if err != nil {
		return about("gate "+name, err)
	}
	if c.Bool("json") {
		return p.writeJSON(report)
	}
	return p.printf("%s", plain(page(report)))
}

func (r gateReport) line() string {
	guarded := "guarded"
	if !r.Guarded {
		guarded = "not guarded (the BPF LSM is not active)"
	}
	return text("%s: %d of %d values of up to %d bytes, keys of %d bytes, %s, trigger %s, %s\n",
		r.Name, len(r.Entries), r.MaxEntries, r.ValueSize, r.KeySize, r.Keyring, r.Trigger, guarded)
}

func (r gateReport) page() string {
	var page strings.Builder
	page.WriteString(r.line())
	for _, e := range r.Entries {
		page.WriteString(text("  hex:%s generation %d, %d bytes", e.Key, e.Generation, e.DataSize))
		for _, s := range e.Signers {
			page.WriteString(text(", signed by %s (%s)", s.who(), s.Hash))
		}
		page.WriteString("\n")
	}
	return page.String()
}

func (p *program) gateRemove(c *cli.Context) error {
	args, err := operands(c, 1, 1)
	if err != nil {
		return err
	}
	g, err := openGate(c, args[0])
	if err != nil {
		return err
	}
	g.Close()
	return gate.Remove(c.String("dir"), args[0])
}
