package cli

import (
	"embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"sign-file/digest"
	"sign-file/kernel"
	"sign-file/keys"
)

//go:embed completion
var completionScripts embed.FS

// Answers that have the shell complete names of files.
const (
	completeFiles   = ":files"
	completeDirs    = ":dirs"
	completeModules = ":modules"
)

// shells are those that there is a script for.
func shells() []string { return []string{"bash", "fish", "zsh"} }

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a shell's completion script: " + strings.Join(shells(), ", "),
		ArgsUsage: "<shell>",
		Description: "For the shell that runs: source <(sign-file completion bash). Packages install the\n" +
			"scripts. They ask \"completion words -- sign-file <word>...\" what the last word may be.",
		Action: p.completion,
	}
}

func (p *program) completion(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) > 1 && args[0] == "words" {
		for _, candidate := range p.candidates(args[1], args[2:]) {
			fmt.Fprintln(p.answers(), candidate)
		}
		return nil
	}
	if len(args) != 1 || !slices.Contains(shells(), args[0]) {
		return usagef("want the name of a shell: %s", strings.Join(shells(), ", "))
	}
	script, err := completionScripts.Open("completion/" + args[0])
	if err != nil {
		return err
	}
	defer script.Close()
	_, err = io.Copy(p.answers(), script)
	return err
}

// candidates is what the last of the words may be, each with a tab and what it means, where
// that is known; of --flag=value it is what the value may be. The program is called by name.
func (p *program) candidates(name string, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := len(words) - 1
	current, before := words[last], words[:last]
	if name == "extract-cert" {
		return kindOfOperand("x509")
	}
	app := p.app()
	level, flags, usage := app.Commands, []cli.Flag(nil), ""
	for name == "sign-file" && len(before) > 0 {
		i := slices.IndexFunc(level, func(c *cli.Command) bool { return c.HasName(before[0]) })
		if i < 0 {
			break
		}
		flags, usage, level, before = level[i].Flags, level[i].ArgsUsage, level[i].Subcommands, before[1:]
	}
	if usage == "" && flags == nil && len(before) == len(words)-1 {
		return classicCandidates(name, app, before, current)
	}
	if len(before) > 0 && takesValue(flags, dashed(before[len(before)-1])) {
		return valuesOf(flags, before[len(before)-1])
	}
	if flag, _, found := strings.Cut(current, "="); found && strings.HasPrefix(flag, "--") && !slices.Contains(before, "--") {
		if !takesValue(flags, flag) {
			return nil
		}
		return valuesOf(flags, flag)
	}
	if strings.HasPrefix(current, "-") && !slices.Contains(before, "--") {
		return append(flagNames(flags), "--help\tshow help")
	}
	if len(level) > 0 {
		return commandNames(level)
	}
	return kindOfOperand(operandName(usage, len(operandsOf(flags, before))))
}

// dashed is an argument that takesValue can look at: of at least two characters.
func dashed(arg string) string {
	if len(arg) < 2 || arg[0] != '-' {
		return "--"
	}
	return arg
}

// classicCandidates is for the kernel's command line, whose first word may be a command.
func classicCandidates(name string, app *cli.App, before []string, current string) []string {
	operands := slices.DeleteFunc(slices.Clone(before), func(w string) bool { return strings.HasPrefix(w, "-") })
	if strings.HasPrefix(current, "-") {
		list := []string{"-d\twrite only <module>.p7s", "-p\twrite <module>.p7s as well", "-k\tname the signer by subject key identifier"}
		if name == "kmodsign" {
			return append(list, "-D\twrite only the signature with its trailer")
		}
		list = append(list, "-s\tattach a finished message")
		if len(before) == 0 {
			list = append(list, "--help\tshow help", "--version\tprint the version")
		}
		return list
	}
	usage := "<hash algo> <key> <x509> <module> [<dest>]"
	if slices.Contains(before, "-s") {
		usage = "<raw sig> <hash algo> <x509> <module> [<dest>]"
	}
	list := kindOfOperand(operandName(usage, len(operands)))
	if len(before) == 0 && name == "sign-file" {
		list = append(commandNames(app.Commands), list...)
	}
	return list
}

func commandNames(commands []*cli.Command) []string {
	var list []string
	for _, c := range commands {
		list = append(list, c.Name+"\t"+c.Usage)
	}
	return list
}

func flagNames(flags []cli.Flag) []string {
	var list []string
	for _, flag := range flags {
		name := flag.Names()[0]
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		_, usage := placeholder(flag)
		list = append(list, dashes+name+"\t"+strings.Join(strings.Fields(usage), " "))
	}
	return list
}

// operandsOf leaves out flags and their values.
func operandsOf(flags []cli.Flag, words []string) []string {
	var list []string
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "--":
			return append(list, words[i+1:]...)
		case len(words[i]) < 2 || words[i][0] != '-':
			list = append(list, words[i])
		case takesValue(flags, words[i]):
			i++
		}
	}
	return list
}

// operandName is the name that a command's usage gives its nth operand; the last may be
// repeated.
func operandName(usage string, n int) string {
	usage, _, _ = strings.Cut(usage, " | ")
	names := regexp.MustCompile(`<([^>]+)>(\.\.\.)?`).FindAllStringSubmatch(usage, -1)
	switch {
	case n < len(names):
		return names[n][1]
	case len(names) > 0 && names[len(names)-1][2] != "":
		return names[len(names)-1][1]
	}
	return ""
}

// kindOfOperand is what an operand of that name may be.
func kindOfOperand(name string) []string {
	switch name {
	case "":
		return nil
	case "hash algo":
		return hashNames()
	case "key":
		return []string{"pkcs11:\ta key on a token", "exec:\ta command that signs", "exec-lines:\ta command that signs line by line", completeFiles}
	case "x509":
		return []string{"pkcs11:\ta certificate on a token", completeFiles}
	case "module", "path":
		return []string{completeModules}
	case "shell":
		return shells()
	}
	return []string{completeFiles}
}

func hashNames() []string {
	var list []string
	for _, a := range digest.All() {
		list = append(list, a.Name())
	}
	return list
}

// valuesOf is what the value of a flag may be, by the name that its usage gives the value.
func valuesOf(flags []cli.Flag, arg string) []string {
	name := strings.TrimLeft(arg, "-")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	value, usage := placeholder(flags[i])
	switch value {
	case "FILE":
		return []string{completeFiles}
	case "DIR":
		return []string{completeDirs}
	case "SOURCE":
		return []string{"running\tthis machine's keys", completeFiles}
	case "KEYRING":
		return []string{"secondary", "builtin", "platform"}
	case "RELEASE":
		return kernel.Series()
	case "ALGORITHM":
		return hashNames()
	case "KIND":
		return keys.Kinds()
	case "WHAT":
		return kernel.Usages()
	}
	if value == "" || value != strings.ToLower(value) {
		return nil
	}
	return alternatives(usage)
}

// placeholder is the name that a flag's usage has for its value, in backticks, and the
// usage without them.
func placeholder(flag cli.Flag) (value, usage string) {
	documented, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return "", ""
	}
	usage = documented.GetUsage()
	if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
		return parts[1], parts[0] + parts[1] + parts[2]
	}
	return "", usage
}

// alternatives are the words of a usage such as "raw, hex (for bpftool) or c (an array)".
func alternatives(usage string) []string {
	usage, _, _ = strings.Cut(regexp.MustCompile(` *\([^)]*\)`).ReplaceAllString(usage, ""), ";")
	return strings.FieldsFunc(strings.ReplaceAll(usage, " or ", ","), func(r rune) bool { return r == ',' || r == ' ' })
}
