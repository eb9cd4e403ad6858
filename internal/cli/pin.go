package cli

import (
	"errors"
	"fmt"
	"os/signal"

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
		fmt.Fprintf(p.err, "%s: ", oneLine(prompt))
		pin, err = readHidden(int(p.in.Fd()))
		fmt.Fprintln(p.err)
		return pin, err
	}
}

// readHidden reads a line that the terminal does not show. A signal meanwhile ends
// the process as ever, but leaves no terminal that goes on showing nothing.
func readHidden(terminal int) ([]byte, error) {
	state, err := term.GetState(terminal)
	if err != nil {
		return nil, err
	}
	signals := notify()
	go func() {
		for s := range signals {
			term.Restore(terminal, state)
			die(s)
		}
	}()
	defer close(signals)
	defer signal.Stop(signals)
	return term.ReadPassword(terminal)
}
