package keys_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sign-file/keys"
)

// A key signs whatever crypto.Signers sign: here a digest, whose signature the standard
// library verifies. A pkcs11: URI or exec:COMMAND may be in the place of the file's name.
func ExampleOpen() {
	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer key.Close()
	sum := sha512.Sum512([]byte("the module"))
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA512)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA512, sum[:], signature))
	// Output: <nil>
}

// A new key is written encrypted, and read with its passphrase.
func ExampleGenerate() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	key, err := keys.Generate("ec:p384")
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := keys.MarshalPEM(key, []byte("a passphrase"))
	if err != nil {
		fmt.Println(err)
		return
	}
	path := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		fmt.Println(err)
		return
	}
	_, err = keys.Open(context.Background(), path, func(string) ([]byte, error) { return []byte("another one"), nil })
	fmt.Println(errors.Is(err, keys.ErrPassphrase))
	_, err = keys.Open(context.Background(), path, nil)
	fmt.Println(errors.Is(err, keys.ErrNoPIN))
	_, err = keys.Open(context.Background(), path, func(string) ([]byte, error) { return []byte("a passphrase"), nil })
	fmt.Println(err)
	// Output:
	// true
	// true
	// <nil>
}

// A log shows which key was used, and none of its secrets.
func ExampleName() {
	fmt.Println(keys.Name("pkcs11:token=vault;object=modsign?pin-value=1234"))
	fmt.Println(keys.Name("exec:/usr/bin/sign --api-key 1234"))
	fmt.Println(keys.Name("signing_key.pem"))
	// Output:
	// pkcs11:token=vault;object=modsign
	// exec:/usr/bin/sign ...
	// signing_key.pem
}
