package cli

import (
	"errors"
	"fmt"

	"golang.org/x/term"

	"sign-file/keys"
)

// pinVariable is where sign-file takes the passphrase or PIN from.
const pinVariable = "KBUILD_SIGN_PIN"

// askPIN takes the PIN from the environment and, unlike the classic face, asks for
// it where that has none and somebody sits at the terminal.
func (p *program) askPIN() keys.PINFunc {
	fromEnv := keys.PINFromEnv(pinVariable)
	return func(prompt string) ([]byte, error) {
		pin, err := fromEnv(prompt)
		if !errors.Is(err, keys.ErrNoPIN) || !isTerminal(p.in) || !isTerminal(p.err) {
			return pin, err
		}
		fmt.Fprintf(p.err, "%s: ", prompt)
		pin, err = term.ReadPassword(int(p.in.Fd()))
		fmt.Fprintln(p.err)
		return pin, err
	}
}
