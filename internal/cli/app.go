package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// command is one line of the table that the first word and --help go by.
type command struct {
	name string
	make func(*program) *cli.Command
}

// commands is the table. None of these words is a hash algorithm, so that the kernel's
// sign-file could do nothing with them as its first operand.
func commands() []command {
	return []command{
		{"sign", (*program).signCommand},
		{"map", (*program).mapCommand},
		{"bpf", (*program).bpfCommand},
		{"verify", (*program).verifyCommand},
		{"explain", (*program).explainCommand},
		{"inspect", (*program).inspectCommand},
		{"strip", (*program).stripCommand},
		{"extract", (*program).extractCommand},
		{"digest", (*program).digestCommand},
		{"attach", (*program).attachCommand},
		{"size", (*program).sizeCommand},
		{"keygen", (*program).keygenCommand},
		{"completion", (*program).completionCommand},
	}
}

// Table is every command, with its flags and subcommands: what the manual is made of.
func Table() []*cli.Command {
	return (&program{argv0: "sign-file"}).app().Commands
}

// opensSecondFace tells whether the first argument is a subcommand.
func opensSecondFace(first string) bool {
	return slices.Contains([]string{"help", "--help", "version", "--version"}, first) ||
		slices.ContainsFunc(commands(), func(c command) bool { return c.name == first })
}

// usageError is an error of the command line itself: exit code 2.
type usageError struct{ text, command string }

func (e *usageError) Error() string { return fmt.Sprintf("%s (see %s --help)", e.text, e.command) }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), "sign-file"}
}

// exitError ends a run whose answers are printed already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// subcommand runs the second face.
func (p *program) subcommand(ctx context.Context, args []string) int {
	if args[0] == "version" {
		args = []string{"--version"}
	}
	app := p.app()
	err := app.RunContext(ctx, append([]string{app.Name}, orderFlags(app.Commands, args)...))
	if err == nil {
		err = about("standard output", p.lost) // what urfave/cli does not look at
	}
	var exit exitError
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit) && exit == exitOK && p.lost != nil:
		return p.fail(about("standard output", p.lost))
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		p.fail(err)
		return exitUsage
	}
	return p.fail(err)
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:  "sign-file",
		Usage: "sign kernel modules, BPF map values and BPF programs",
		UsageText: "sign-file [-dpk] <hash algo> <key> <x509> <module> [<dest>]\n" +
			"sign-file -s <raw sig> <hash algo> <x509> <module> [<dest>]\n" +
			"sign-file <command> [flags] <operands>",
		Version:                   version(),
		Writer:                    p.answers(),
		ErrWriter:                 p.err,
		HideHelp:                  true, // of whose flag -h is another name: the real tool's usage, exit 2
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a file's name may contain a comma
		ExitErrHandler:            func(*cli.Context, error) {},
		Action:                    noSuchCommand,
		OnUsageError:              onUsageError,
		HideVersion:               true, // of whose flag -v is another name
	}
	app.Flags = []cli.Flag{
		&cli.BoolFlag{Name: "help", Usage: "show help", DisableDefaultText: true},
		&cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true},
	}
	app.Before = func(c *cli.Context) error {
		if c.Bool("version") {
			cli.ShowVersion(c)
			return exitError(exitOK)
		}
		return nil
	}
	for _, c := range commands() {
		made := c.make(p)
		finishCommand(made)
		app.Commands = append(app.Commands, made)
	}
	return app
}

// finishCommand gives a command what all of them have.
func finishCommand(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		finishCommand(sub)
	}
	action := c.Action
	if action == nil {
		action = noSuchCommand
	}
	c.Action = func(ctx *cli.Context) error { return seeHelpOf(c, action(ctx)) }
}

// seeHelpOf names the command whose help shows what is wrong with the command line.
func seeHelpOf(c *cli.Command, err error) error {
	var usage *usageError
	if errors.As(err, &usage) {
		usage.command = c.HelpName
	}
	return err
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return seeHelpOf(c.Command, usagef("%v", err))
}

func noSuchCommand(c *cli.Context) error {
	if c.Args().First() == "help" {
		return showHelp(c, c.Args().Tail())
	}
	if c.Args().Len() == 0 {
		return usagef("%s: no command named: %s", strings.TrimPrefix(c.Command.HelpName, "sign-file "), names(c.Command.Subcommands))
	}
	return noCommand(c.Args().First(), c.Command.Subcommands)
}

func names(commands []*cli.Command) string {
	var list []string
	for _, c := range commands {
		list = append(list, c.Name)
	}
	return strings.Join(list, ", ")
}

// showHelp is help [command...].
func showHelp(c *cli.Context, words []string) error {
	switch {
	case len(words) == 0:
		return cli.ShowSubcommandHelp(c)
	case words[0] == "version":
		cli.ShowVersion(c)
		return nil
	}
	return c.App.RunContext(c.Context, append(append([]string{c.App.Name}, words...), "--help"))
}

// noCommand names the nearest command, if half of its letters are right.
func noCommand(word string, commands []*cli.Command) error {
	distance := func(c *cli.Command) int { return smetrics.WagnerFischer(word, c.Name, 1, 1, 1) }
	near := slices.MinFunc(commands, func(a, b *cli.Command) int { return distance(a) - distance(b) })
	if 2*distance(near) <= len(near.Name) {
		return usagef("no command %q: did you mean %s?", word, near.Name)
	}
	return usagef("no command %q", word)
}

// orderFlags puts flags before operands, where urfave/cli/v2 looks for them: a
// later one would be an operand to it. What follows "--" stays an operand.
func orderFlags(commands []*cli.Command, args []string) []string {
	var words []string
	var flags []cli.Flag
	for len(args) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
		if i < 0 {
			break
		}
		words, args = append(words, args[0]), args[1:]
		flags, commands = commands[i].Flags, commands[i].Subcommands
	}
	var operands []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			operands = append(operands, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			operands = append(operands, arg)
			continue
		}
		if len(words) == 1 && words[0] == "explain" && strings.Trim(arg[1:], "0123456789") == "" {
			operands = append(operands, arg) // an errno
			continue
		}
		if len(arg) > 2 && strings.Trim(arg[2:], "0123456789") == "" && takesValue(flags, arg[:2]) {
			words = append(words, arg[:2], arg[2:]) // -j8, as in make and xargs
			continue
		}
		words = append(words, arg)
		if takesValue(flags, arg) && i+1 < len(args) {
			i++
			words = append(words, args[i])
		}
	}
	if len(operands) == 0 {
		return words
	}
	return append(append(words, "--"), operands...)
}

// takesValue reports whether the argument is a flag whose value is the next one.
func takesValue(flags []cli.Flag, arg string) bool {
	name := arg[1:]
	if name[0] == '-' {
		name = name[1:]
	}
	for _, flag := range flags {
		if _, isBool := flag.(*cli.BoolFlag); !isBool && slices.Contains(flag.Names(), name) {
			return true
		}
	}
	return false
}

// operands returns the operands of a command, or an error if their number is off.
func operands(c *cli.Context, least, most int) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < least || len(args) > most {
		return nil, usagef("%d operands, want %s", len(args), c.Command.ArgsUsage)
	}
	return args, nil
}
