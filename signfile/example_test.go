package signfile_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/keys"
	modsig "sign-file/module_signature"
	"sign-file/signfile"
)

// A module is signed in place with a key file, as sign-file sha512 key x509 module does.
func ExampleSignFile() {
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	module := filepath.Join(dir, "hello.ko")
	check(os.WriteFile(module, []byte("a module"), 0o644))

	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	check(err)
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	check(err)
	err = signfile.SignFile(context.Background(), module, signfile.Options{Key: key, Certificate: cert})
	check(err)

	signed, err := os.ReadFile(module)
	check(err)
	fmt.Println(len(signed), bytes.HasSuffix(signed, []byte(modsig.Marker)))
	// Output: 493 true
}

// From a reader to a writer, nothing touches a disk.
func ExampleSign() {
	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	check(err)
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	check(err)
	var signed bytes.Buffer
	err = signfile.Sign(context.Background(), &signed, bytes.NewReader([]byte("a module")), signfile.Options{Key: key, Certificate: cert})
	check(err)
	fmt.Println(signed.Len())
	// Output: 493
}

// service stands for a key management service that signs digests: any crypto.Signer is a
// key. Its answers are checked with the certificate before they are used.
type service struct {
	public crypto.PublicKey
	sign   func(hash crypto.Hash, digest []byte) ([]byte, error) // the service's API
}

func (s service) Public() crypto.PublicKey { return s.public }

func (s service) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(opts.HashFunc(), digest)
}

// A signer of one's own: a KMS, here played by a key file.
func ExampleSign_keyService() {
	remote, err := keys.Open(context.Background(), "../testdata/keys/p384.key", nil)
	check(err)
	defer remote.Close()
	kms := service{remote.Public(), func(hash crypto.Hash, digest []byte) ([]byte, error) {
		fmt.Println("asked to sign", len(digest), "bytes of", hash)
		return remote.Sign(nil, digest, hash)
	}}
	cert, err := certificate.FromFile("../testdata/keys/p384.x509")
	check(err)
	err = signfile.Sign(context.Background(), io.Discard, bytes.NewReader([]byte("a module")), signfile.Options{Key: kms, Certificate: cert})
	fmt.Println(err)
	// Output:
	// asked to sign 64 bytes of SHA-512
	// <nil>
}

// A whole tree is signed by a few goroutines; one bad module does not stop the others.
func ExampleTree() {
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	for _, name := range []string{"a.ko", "b.ko", "README"} {
		check(os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o644))
	}
	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	check(err)
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	check(err)
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert})
	check(err)

	var tree signfile.Tree
	defer tree.Close()
	var items []signfile.Item
	tree.Add(dir, func(item signfile.Item, err error) {
		check(err)
		items = append(items, item)
	})
	signed := 0
	signer.SignMany(context.Background(), items, signfile.Many{Jobs: 4}, func(r signfile.Result) {
		check(r.Err)
		signed++
	})
	fmt.Println(signed, "modules signed")
	// Output: 2 modules signed
}

// What a signed module says of its signer, without verifying it.
func ExampleModule_Find() {
	module, err := signfile.OpenModule(context.Background(), "../testdata/golden/hello-rsa2048-sha256.ko")
	check(err)
	defer module.Close()
	layout, err := module.Find()
	check(err)
	message := make([]byte, layout.SignatureSize())
	_, err = module.ReadAt(message, layout.ContentSize)
	check(err)
	signed, err := cms.Parse(message)
	check(err)
	fmt.Println(layout.ContentSize, "bytes signed by", certificate.FormatName(signed.Signers[0].ID.Issuer))
	// Output: 5248 bytes signed by O=sign-file, CN=rsa2048: test key known to everyone
}

// The message alone, as sign-file -d writes it.
func ExampleSigner_Detach() {
	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	check(err)
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	check(err)
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert})
	check(err)
	message, err := signer.Detach(context.Background(), bytes.NewReader([]byte("a module")))
	check(err)
	fmt.Println(len(message))
	// Output: 445
}

// check keeps the examples short: a program would return the error.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
