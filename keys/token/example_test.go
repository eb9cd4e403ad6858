package token_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"

	"sign-file/keys/token"
)

// A key on a token signs, and a certificate beside it is read. The example runs where
// there is such a token: it is only compiled by go test.
func ExampleOpen() {
	const uri = "pkcs11:token=vault;object=modsign?pin-source=file:/run/pin"
	key, err := token.Open(context.Background(), uri, func(prompt string) ([]byte, error) {
		return nil, fmt.Errorf("%w: %s", token.ErrNoPIN, prompt)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, token.Show(uri), err)
		return
	}
	defer key.Close()
	sum := sha256.Sum256([]byte("the module"))
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	fmt.Printf("%x %v\n", signature, err)

	certificate, err := token.Certificate(context.Background(), uri, nil)
	fmt.Printf("%x %v\n", certificate, err)
}
