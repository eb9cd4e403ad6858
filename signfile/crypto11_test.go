//go:build cgo

package signfile_test

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/ThalesGroup/crypto11"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/signfile"
	"sign-file/test/keystest"
)

// A key of package crypto11, on a PKCS#11 token, is a crypto.Signer and so a key.
func Example_crypto11() {
	token, err := crypto11.Configure(&crypto11.Config{
		Path: "/usr/lib/softhsm/libsofthsm2.so", TokenLabel: "vault", Pin: os.Getenv("PIN"),
	})
	check(err)
	defer token.Close()
	key, err := token.FindKeyPair(nil, []byte("modsign"))
	check(err)
	cert, err := certificate.FromFile("modsign.pem")
	check(err)
	err = signfile.SignFile(context.Background(), "hello.ko", signfile.Options{Key: key, Certificate: cert})
	check(err)
}

// RSA and ECDSA with every hash come out right through crypto11. It signs the bare digest
// if it is asked for RSA with SHA-3, without an error; that the signature is checked, and
// asked for again as a DigestInfo, makes it right.
func TestCrypto11(t *testing.T) {
	names := []string{"rsa2048", "p256", "p384"}
	keystest.NewToken(t, "../testdata", names...)
	token, err := crypto11.Configure(&crypto11.Config{Path: os.Getenv("PKCS11_PROVIDER_MODULE"), TokenLabel: "vault", Pin: keystest.PIN})
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	for _, name := range names {
		key, err := token.FindKeyPair(nil, []byte(name))
		if err != nil || key == nil {
			t.Fatalf("%s: %v", name, err)
		}
		cert, err := certificate.FromFile("../testdata/keys/" + name + ".x509")
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range []string{"sha1", "sha224", "sha256", "sha384", "sha512", "sha512-256", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "md5", "ripemd160", "sm3"} {
			algorithm, err := digest.Lookup(hash)
			if err != nil {
				t.Fatal(err)
			}
			options := signfile.Options{Key: key, Certificate: cert, Digest: algorithm}
			if name != "rsa2048" && algorithm.ECDSA() == nil {
				continue // refused before the key is asked
			}
			var signed bytes.Buffer
			if err := signfile.Sign(context.Background(), &signed, bytes.NewReader([]byte("a module")), options); err != nil {
				t.Errorf("%s, %s: %v", name, hash, err)
				continue
			}
			if name != "rsa2048" {
				continue
			}
			// RSA has one right answer, which the key file gives too.
			options.Key = golden{pair: name, hash: hash}.options(t).Key
			var judged bytes.Buffer
			if err := signfile.Sign(context.Background(), &judged, bytes.NewReader([]byte("a module")), options); err != nil || !bytes.Equal(judged.Bytes(), signed.Bytes()) {
				t.Errorf("%s, %s: not the bytes of the key file, %v", name, hash, err)
			}
		}
	}
}
