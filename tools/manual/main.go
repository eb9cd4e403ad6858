// Command manual writes the manual pages: those of man/, with the commands and flags that
// their lines .\"@ ask for, and one for each command with subcommands that has none there.
// What it writes comes out of the table of commands, so that no flag can be missing.
//
//	go run ./tools/manual DIR
//
//	.\"@ synopsis [COMMAND]     how the commands below COMMAND are called
//	.\"@ commands [COMMAND]     what they do, with their flags
//	.\"@ flags COMMAND          the flags of one command
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	signfile "sign-file/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manual DIR")
		os.Exit(2)
	}
	if err := write(os.DirFS("man"), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

// write makes the pages of the templates, and those that no template makes.
func write(templates fs.FS, dir string) error {
	root := &cli.Command{Name: "sign-file", Subcommands: signfile.Table()}
	names, err := fs.Glob(templates, "*.1")
	if err != nil {
		return err
	}
	m := manual{root: root, pages: names}
	texts := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(templates, name)
		if err != nil {
			return err
		}
		texts[name] = string(text)
	}
	m.walk(root, nil, func(words []string, c *cli.Command) {
		page := pageOf(words)
		if len(c.Subcommands) > 0 && texts[page] == "" {
			texts[page] = template(words, c)
		}
	})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range texts {
		filled, err := m.fill(name, text)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(filled), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manual is the table, and the pages that are written by hand.
type manual struct {
	root  *cli.Command
	pages []string
}

// walk visits the commands below one.
func (m manual) walk(c *cli.Command, words []string, visit func([]string, *cli.Command)) {
	for _, sub := range c.Subcommands {
		below := append(slices.Clone(words), sub.Name)
		visit(below, sub)
		m.walk(sub, below, visit)
	}
}

// pageOf is the page of a command: sign-file-gate.1 for map gate.
func pageOf(words []string) string { return "sign-file-" + words[len(words)-1] + ".1" }

// hasPage tells whether a command has a page of its own.
func (m manual) hasPage(words []string, c *cli.Command) bool {
	return len(c.Subcommands) > 0 || slices.Contains(m.pages, pageOf(words))
}

// template is the page of a command that nobody has written one for.
func template(words []string, c *cli.Command) string {
	name, path := strings.TrimSuffix(pageOf(words), ".1"), strings.Join(words, " ")
	return fmt.Sprintf(`.TH %s 1 "" sign-file "User Commands"
.SH NAME
%s \- %s
.SH SYNOPSIS
.\"@ synopsis %[4]s
.SH DESCRIPTION
%[5]s
.SH COMMANDS
.\"@ commands %[4]s
.SH SEE ALSO
.BR sign-file (1)
`, strings.ToUpper(name), name, escape(c.Usage), path, prose(c))
}

var directive = regexp.MustCompile(`(?m)^\.\\"@ (synopsis|commands|flags) ?(.*)$`)

// fill replaces the lines that ask for something.
func (m manual) fill(name, text string) (string, error) {
	var failed error
	filled := directive.ReplaceAllStringFunc(text, func(line string) string {
		parts := directive.FindStringSubmatch(line)
		words := strings.Fields(parts[2])
		c := m.find(words)
		if c == nil {
			failed = fmt.Errorf("man/%s: no command %q", name, parts[2])
			return ""
		}
		var out strings.Builder
		switch parts[1] {
		case "flags":
			writeFlags(&out, c)
		case "synopsis":
			m.writeSynopsis(&out, words, c)
		case "commands":
			m.writeCommands(&out, words, c)
		}
		return strings.TrimSuffix(out.String(), "\n")
	})
	return filled, failed
}

func (m manual) find(words []string) *cli.Command {
	c := m.root
	for _, word := range words {
		i := slices.IndexFunc(c.Subcommands, func(sub *cli.Command) bool { return sub.Name == word })
		if i < 0 {
			return nil
		}
		c = c.Subcommands[i]
	}
	return c
}

func (m manual) writeSynopsis(out *strings.Builder, words []string, c *cli.Command) {
	for _, sub := range c.Subcommands {
		path := append(slices.Clone(words), sub.Name)
		operands := sub.ArgsUsage
		if len(sub.Subcommands) > 0 {
			operands = "<command>"
		}
		for _, form := range strings.Split(operands, " | ") {
			fmt.Fprintf(out, "\\fBsign\\-file %s\\fR%s %s\n.br\n", escape(strings.Join(path, " ")), options(sub), arguments(form))
		}
	}
}

func options(c *cli.Command) string {
	if len(c.Flags) == 0 {
		return ""
	}
	return " [\\fIflags\\fR]"
}

func (m manual) writeCommands(out *strings.Builder, words []string, c *cli.Command) {
	for _, sub := range c.Subcommands {
		path := append(slices.Clone(words), sub.Name)
		fmt.Fprintf(out, ".SS %s\n", escape(strings.Join(path, " ")))
		if m.hasPage(path, sub) {
			fmt.Fprintf(out, "%s. See\n.BR %s (1).\n", escape(capital(sub.Usage)), strings.TrimSuffix(pageOf(path), ".1"))
			continue
		}
		fmt.Fprintln(out, prose(sub))
		writeFlags(out, sub)
	}
}

// prose is what --help says of a command. Indented lines stay as they are.
func prose(c *cli.Command) string {
	text := escape(capital(c.Usage)) + "."
	for _, line := range strings.Split(c.Description, "\n") {
		switch {
		case line == "":
			continue
		case line[0] == ' ' || line[0] == '\t':
			text += "\n.br\n" + escape(line)
		default:
			text += "\n" + escape(line)
		}
	}
	return text
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// writeFlags writes the list of a command's flags.
func writeFlags(out *strings.Builder, c *cli.Command) {
	for _, flag := range c.VisibleFlags() {
		documented, ok := flag.(cli.DocGenerationFlag)
		if !ok || flag.Names()[0] == "help" {
			continue
		}
		usage, value := documented.GetUsage(), ""
		if !strings.HasPrefix(usage, "`") {
			usage = capital(usage)
		}
		if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
			value, usage = parts[1], parts[0]+parts[1]+parts[2]
		}
		var names []string
		for _, name := range flag.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, "\\fB"+escape(dashes+name)+"\\fR")
		}
		term := strings.Join(names, ", ")
		if documented.TakesValue() {
			if value == "" || value == strings.ToLower(value) {
				value = "value"
			}
			term += " \\fI" + escape(strings.ToLower(value)) + "\\fR"
			if text := documented.GetDefaultText(); text != "" && text != `""` && !strings.Contains(usage, "default") {
				usage += " (default: " + strings.Trim(text, `"`) + ")"
			}
		}
		fmt.Fprintf(out, ".TP\n%s\n%s.\n", term, escape(strings.Join(strings.Fields(usage), " ")))
	}
}

// arguments is a usage such as "<key> [<x509>]" with its names in italics.
func arguments(usage string) string {
	return regexp.MustCompile(`<[^>]*>`).ReplaceAllStringFunc(usage, func(name string) string {
		return "\\fI" + escape(strings.ReplaceAll(strings.Trim(name, "<>"), " ", "-")) + "\\fR"
	})
}

// escape keeps roff from reading text as its own.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
