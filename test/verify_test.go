package test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signedForm is a module with a message and the trailer behind it, laid out by hand.
func signedForm(module, message []byte) []byte {
	size := len(message)
	info := []byte{0, 0, 2, 0, 0, 0, 0, 0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	return bytes.Join([][]byte{module, message, info, []byte(marker)}, nil)
}

// verifyMessage asks OpenSSL whether the message signs the content.
func verifyMessage(t *testing.T, message, content []byte, certificate, hash string) error {
	t.Helper()
	dir := t.TempDir()
	p7s, module, pem := filepath.Join(dir, "m.p7s"), filepath.Join(dir, "m"), filepath.Join(dir, "c.pem")
	writeFile(t, p7s, string(message), 0o600)
	writeFile(t, module, string(content), 0o600)
	read := []string{"x509"}
	if strings.HasSuffix(certificate, ".p7b") {
		read = []string{"pkcs7", "-print_certs"}
	}
	if out, err := run(t, nil, "openssl", append(read, "-in", certificate, "-out", pem)...); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if strings.Contains(hash, "sm3") || hash == "1.2.156.10197.1.401" {
		return verifySM3(t, message, module, pem)
	}
	out, err := run(t, nil, "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", p7s,
		"-content", module, "-certfile", pem, "-noverify", "-out", "/dev/null")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// verifySM3 takes the RSA signature apart itself: OpenSSL 3.0 knows the hash, but not
// together with RSA.
func verifySM3(t *testing.T, message []byte, module, pem string) error {
	t.Helper()
	dir := t.TempDir()
	public, value := filepath.Join(dir, "public"), filepath.Join(dir, "value")
	writeFile(t, public, mustRun(t, nil, "openssl", "x509", "-in", pem, "-pubkey", "-noout"), 0o600)
	writeFile(t, value, string(lastValue(message)), 0o600)
	info := mustRun(t, nil, "openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", public, "-in", value)
	sum, err := hex.DecodeString(strings.Fields(mustRun(t, nil, "openssl", "dgst", "-sm3", "-r", module))[0])
	if err != nil {
		return err
	}
	if !strings.HasSuffix(info, string(sum)) {
		return errors.New("the signature is not of the module's SM3 digest")
	}
	return nil
}

// lastValue is the content of the last primitive value of a message: the signature.
func lastValue(der []byte) []byte {
	for {
		var v asn1.RawValue
		if _, err := asn1.Unmarshal(der, &v); err != nil || !v.IsCompound {
			return v.Bytes
		}
		_, der = splitLast(v.Bytes)
	}
}

// symlinkTo makes a symbolic link.
func symlinkTo(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
