package keys

import (
	"net/url"
	"strings"

	"sign-file/keys/token"
)

// Kind is what a reference names.
type Kind string

// The kinds of references.
const (
	File     Kind = "file"
	TokenURI Kind = "pkcs11: URI"
	Command  Kind = "exec: command"
)

const (
	commandScheme = "exec:"
	linesScheme   = "exec-lines:"
)

// KindOf returns what a reference is meant to name: the scheme counts in any case and
// behind spaces, though Open, like sign-file, takes anything but the exact scheme for a
// file's name. A file that is really called so is named with its folder: ./exec:x.
func KindOf(reference string) Kind {
	scheme, _, ok := strings.Cut(strings.TrimSpace(reference), ":")
	if !ok {
		return File
	}
	switch strings.ToLower(scheme) {
	case "pkcs11":
		return TokenURI
	case "exec", "exec-lines":
		return Command
	}
	return File
}

// IsTokenURI tells a pkcs11: URI from a file's name exactly as sign-file does.
func IsTokenURI(reference string) bool { return token.IsURI(reference) }

func isCommand(reference string) bool { return strings.HasPrefix(reference, commandScheme) }

func isLines(reference string) bool { return strings.HasPrefix(reference, linesScheme) }

// Name returns a reference as it may be shown: of a pkcs11: URI what names the key,
// without the PIN; of a command its name, without its arguments; of a file its name. Of
// what only resembles one of the first two, the scheme is all that is sure to be none
// of its secrets.
func Name(reference string) string {
	switch {
	case IsTokenURI(reference):
		return token.Show(reference)
	case isCommand(reference):
		return commandName(reference, commandScheme)
	case isLines(reference):
		return commandName(reference, linesScheme)
	case KindOf(reference) != File || holdsPIN(reference):
		scheme, _, ok := strings.Cut(reference, ":")
		if !ok || holdsPIN(scheme) {
			return "..."
		}
		return scheme + ":..."
	}
	return reference
}

// commandName leaves out a first word that would set a variable in a shell.
func commandName(reference, scheme string) string {
	words := strings.Fields(strings.TrimPrefix(reference, scheme))
	switch {
	case len(words) == 0:
		return scheme
	case strings.Contains(words[0], "=") || holdsPIN(words[0]):
		return scheme + "..."
	case len(words) == 1:
		return scheme + words[0]
	}
	return scheme + words[0] + " ..."
}

// holdsPIN reports whether a text has the attribute in it that a pkcs11: URI holds its
// PIN in, however it is written.
func holdsPIN(text string) bool {
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	text = strings.ToLower(text)
	return strings.Contains(text, "pin-value") || strings.Contains(text, "pin%2dvalue")
}
