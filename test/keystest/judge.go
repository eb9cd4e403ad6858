// Package keystest holds keys against OpenSSL, wherever the keys are kept, and makes
// tokens to keep them on. Only tests import it.
package keystest

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sign-file/digest"
	"sign-file/internal/scheme"
	"sign-file/test/testenv"
)

const text = "what is signed"

// hashes are those that a key signs and OpenSSL verifies, by OpenSSL's names.
var hashes = []string{
	"md5", "ripemd160", "sha1", "sha224", "sha256", "sha384", "sha512", "sha512-224", "sha512-256",
	"sha3-224", "sha3-256", "sha3-384", "sha3-512",
}

// Judge has openssl verify signatures of text.
type Judge struct {
	testing.TB
	openssl, public, text, signature string
}

// NewJudge makes one for the public half of a private key in a file.
func NewJudge(t testing.TB, privateKey string) *Judge {
	t.Helper()
	dir := t.TempDir()
	j := &Judge{t, testenv.Tool(t, "openssl"), filepath.Join(dir, "public"), filepath.Join(dir, "text"), filepath.Join(dir, "signature")}
	if out, err := exec.Command(j.openssl, "pkey", "-in", privateKey, "-pubout", "-out", j.public).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(j.text, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return j
}

// verify asks for a PKCS#1 v1.5 or ECDSA signature.
func (j *Judge) verify(hash string, signature []byte) error {
	if err := os.WriteFile(j.signature, signature, 0o600); err != nil {
		return err
	}
	out, err := exec.Command(j.openssl, "dgst", "-"+hash, "-verify", j.public, "-signature", j.signature, j.text).CombinedOutput()
	if err != nil {
		return fmt.Errorf("openssl: %w: %s", err, out)
	}
	return nil
}

// CheckSigner holds every hash, in both forms, against OpenSSL.
func (j *Judge) CheckSigner(key crypto.Signer, public crypto.PublicKey) {
	j.Helper()
	_, isRSA := public.(*rsa.PublicKey)
	for _, name := range hashes {
		algorithm, err := digest.Lookup(name)
		if err != nil {
			j.Fatal(err)
		}
		h := algorithm.New()
		h.Write([]byte(text))
		sum := h.Sum(nil)
		signature, err := key.Sign(nil, sum, algorithm.Hash())
		if err == nil {
			err = j.verify(name, signature)
		}
		if err != nil {
			j.Errorf("%s: %v", name, err)
		}
		if isRSA {
			signature, err := key.Sign(nil, algorithm.DigestInfo(sum), crypto.Hash(0))
			if err == nil {
				err = j.verify(name, signature)
			}
			if err != nil {
				j.Errorf("%s as DigestInfo: %v", name, err)
			}
		}
	}
	sum := sha256.Sum256([]byte(text))
	for name, opts := range map[string]crypto.SignerOpts{
		"RSA-PSS":      &rsa.PSSOptions{Hash: crypto.SHA256},
		"no options":   nil,
		"another hash": crypto.SHA384,
		"no such hash": crypto.Hash(200),
		"Ed25519ph":    &ed25519.Options{Hash: crypto.SHA512},
	} {
		if signature, err := key.Sign(nil, sum[:], opts); err == nil {
			j.Errorf("%s: signs %x", name, signature)
		}
	}
	if _, err := key.Sign(nil, sum[:], &rsa.PSSOptions{Hash: crypto.SHA256}); !errors.Is(err, scheme.ErrPSS) {
		j.Errorf("RSA-PSS: %v", err)
	}
	if signature, err := key.Sign(nil, sum[:], crypto.Hash(0)); isRSA && err == nil {
		j.Errorf("a bare digest as DigestInfo: signs %x", signature)
	}
}

// CheckSM3 has an RSA key sign a hash that has no crypto.Hash, and OpenSSL recover the
// DigestInfo.
func (j *Judge) CheckSM3(key crypto.Signer) {
	j.Helper()
	info := digest.SM3.DigestInfo(make([]byte, 32))
	signature, err := key.Sign(nil, info, crypto.Hash(0))
	if err != nil {
		j.Fatal(err)
	}
	if err := os.WriteFile(j.signature, signature, 0o600); err != nil {
		j.Fatal(err)
	}
	got, err := exec.Command(j.openssl, "pkeyutl", "-verifyrecover", "-pubin", "-inkey", j.public, "-in", j.signature).Output()
	if err != nil || !bytes.Equal(got, info) {
		j.Errorf("openssl recovers %x (%v), not %x", got, err, info)
	}
}
