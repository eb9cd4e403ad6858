package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"sign-file/internal/bounded"
	"sign-file/keys"
)

// wantFile refuses a reference to a token or a command where only a file will do: it
// would be a file of that name, PIN and all.
func wantFile(what, reference, does string) error {
	if kind := keys.KindOf(reference); kind != keys.File {
		return usagef("%s only %s, and %s is a key's %s", what, does, keys.Name(reference), kind)
	}
	return nil
}

// concealer replaces references to keys among the arguments by what may be shown of
// them, wherever they appear: operands in the wrong order end up in the messages about
// files, hashes and flags.
func concealer(args []string) *strings.Replacer {
	var pairs []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			_, arg, _ = strings.Cut(arg, "=")
		}
		if name := keys.Name(arg); name != arg {
			pairs = append(pairs, arg, name)
		}
	}
	return strings.NewReplacer(pairs...)
}

// keyAdvice adds to an error of keys.Open what to do about it. Both files are looked at
// before one is blamed: swapped they are the commonest mistake.
func keyAdvice(err error, certificateFile string) error {
	advice := adviceFor(err)
	switch {
	case advice == "" || keys.KindOf(certificateFile) != keys.File:
	case errors.As(err, new(*keys.NoKeyError)) && lookAt(certificateFile).asCertificate == swapPlaces+"<key>":
		advice = fmt.Sprintf("the two are swapped: the key is %s", certificateFile)
	}
	return advised(err, advice)
}

// certificateAdvice adds to an error of reading a certificate what the file is.
func certificateAdvice(err error, path string) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	is := lookAt(path)
	if is.name == "" || is.asCertificate == "" {
		return err
	}
	return advised(err, fmt.Sprintf("it is %s; %s", is.name, is.asCertificate))
}

// advised puts advice behind the reason of an error that names a file.
func advised(err error, advice string) error {
	var pathErr *fs.PathError
	if advice == "" || !errors.As(err, &pathErr) {
		return err
	}
	return &fs.PathError{Op: pathErr.Op, Path: pathErr.Path, Err: fmt.Errorf("%w (%s)", pathErr.Err, advice)}
}

// notTheKey refuses to write what is signed over the key or the certificate that it was
// signed with: both would be lost.
func notTheKey(dest string, files ...string) error {
	info, err := os.Stat(dest)
	if err != nil {
		return nil // it is yet to be made, or the error is another's to tell
	}
	for _, file := range files {
		other, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && os.SameFile(info, other) {
			return &fs.PathError{Op: "write", Path: dest, Err: errors.New("is the key, the certificate or another input, which would be overwritten")}
		}
	}
	return nil
}

// lookAt says what a file is. What can't be read is nothing that is known.
func lookAt(path string) kindOfFile {
	b, err := bounded.ReadFile(path, maxLook)
	if err != nil {
		return kindOfFile{}
	}
	defer clear(b)
	return whatIs(b)
}

// keyPlaces are where distributions and their tools keep the key that modules built on the
// machine are signed with.
func keyPlaces() []string {
	return []string{"/var/lib/dkms/mok.key", "/var/lib/shim-signed/mok/MOK.priv", "/etc/pki/akmods/private/private_key.priv"}
}

// noKeyFile is the way out of the question that is asked most: no signing_key.pem.
func noKeyFile() string {
	advice := "no package has a distribution's own key; sign-file keygen KEY X509 makes one, mokutil --import X509 enrols it"
	for _, place := range keyPlaces() {
		if _, err := os.Stat(place); err == nil {
			advice += "; this machine has one at " + place
		}
	}
	return advice
}

func adviceFor(err error) string {
	var (
		encryption *keys.EncryptionError
		curve      *keys.CurveError
		noKey      *keys.NoKeyError
	)
	_, set := os.LookupEnv(pinVariable)
	switch {
	case errors.Is(err, keys.ErrPassphrase) && set:
		return "the passphrase is that of " + pinVariable
	case errors.Is(err, fs.ErrNotExist) && !errors.Is(err, keys.ErrReference):
		return noKeyFile()
	case errors.As(err, &encryption):
		return "re-encrypt it with: " + reencrypt(encryption)
	case errors.As(err, &curve) && curve.Explicit:
		return "if it is a usual curve, name it with: openssl ec -param_enc named_curve -in OLD -out NEW"
	case errors.As(err, &curve):
		return "the kernel verifies ECDSA with P-256, P-384 and P-521, and sign-file keygen makes such keys"
	case errors.As(err, &noKey) && slices.Contains(noKey.Found, "CERTIFICATE"):
		return "a certificate goes in the place of <x509>"
	case errors.As(err, &noKey) && noKey.UTF16:
		return "convert it with: iconv -f UTF-16 -t UTF-8 OLD > NEW"
	}
	return ""
}

// reencrypt is the command that writes a key as keys.Open reads it.
func reencrypt(e *keys.EncryptionError) string {
	switch {
	case e.PKCS12 && e.Legacy:
		return "openssl pkcs12 -legacy -nocerts -in OLD -out NEW"
	case e.PKCS12:
		return "openssl pkcs12 -nocerts -in OLD -out NEW"
	case e.Legacy:
		return "openssl pkcs8 -topk8 -v2 aes-256-cbc -provider legacy -provider default -in OLD -out NEW"
	}
	return "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW"
}
