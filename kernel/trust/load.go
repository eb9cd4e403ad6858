// Package trust finds the certificates that a kernel trusts, and what it refuses: in
// files, kernel images, UEFI's variables and the running machine.
package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sign-file/certificate"
	"sign-file/internal/bounded"
	"sign-file/internal/paths"
	"sign-file/kernel"
	modsig "sign-file/module_signature"
)

// Load has the ring trust every certificate of the named sources: files with
// certificates (PEM, DER, PKCS#7 bundles, EFI signature lists), kernel images with those
// that are built into them, directories of such files, and Running. The notes say what
// is known to be missing.
func Load(ring *kernel.Ring, sources ...string) (notes []string, err error) {
	l := &loader{ring: ring}
	for _, source := range sources {
		if err := l.load(source); err != nil {
			return l.notes, err
		}
	}
	return l.notes, nil
}

// loader is Load on its way.
type loader struct {
	ring    *kernel.Ring
	keyring kernel.Keyring // where what is found now goes
	notes   []string
}

func (l *loader) load(source string) error {
	if source == Running {
		release, err := kernel.Release()
		if err != nil {
			return err
		}
		return l.loadRunning(machine{root: "/", release: release, read: readKeyring})
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return l.loadDir(source)
	}
	return l.loadFile(source)
}

func (l *loader) loadFile(path string) error {
	f, err := bounded.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, imageHead)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	limit, parse := int64(certificate.MaxFileSize), l.addFile
	if isImage(head[:n]) {
		limit, parse = maxImage, l.addImage
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := bounded.ReadExpected(io.MultiReader(bytes.NewReader(head[:n]), f), limit, info.Size())
	if err == nil {
		err = parse(data)
	}
	if err != nil {
		return paths.About("read", path, err)
	}
	return nil
}

func (l *loader) addFile(data []byte) error {
	const attributes = 4 // that efivarfs puts before a variable; the kernel knows no more than 7 bits
	if len(data) > attributes && isSignatureList(data[attributes:]) && bytes.Equal(data[1:attributes], []byte{0, 0, 0}) {
		data = data[attributes:]
	}
	if isSignatureList(data) {
		before := len(l.ring.Certificates())
		err := l.addSignatureLists(data)
		if err == nil && len(l.ring.Certificates()) == before {
			err = errors.New("no certificate in these EFI signature lists")
		}
		return err
	}
	switch {
	case bytes.HasSuffix(data, []byte(modsig.Marker)):
		return ErrModule // what a signed file begins like is its own affair
	case certificate.Signed(data):
		return ErrMessage
	}
	list, ignored, err := certificate.Split(data)
	if err != nil {
		return asCertificate(data, err)
	}
	if odd := bytes.Trim(ignored, "\x00\r\n"); len(odd) > 0 {
		l.note("%d bytes behind certificate %d are no certificate, and whatever follows them is not read", len(ignored), len(list))
	}
	before := l.ring.Size()
	err = l.addList(list, func(number int, err error) {
		if len(list) > 1 {
			l.note("certificate %d: %v: no kernel takes it, and it is passed over", number, err)
		}
	})
	if l.ring.Size() > before {
		return nil
	}
	return asCertificate(data, err)
}

// addList trusts what a kernel can read of a list of certificates, and tells of the
// others. The error is the last of those.
func (l *loader) addList(list [][]byte, tell func(number int, err error)) (last error) {
	var all []*certificate.Certificate
	for i, der := range list {
		c, err := kernel.ReadCertificate(der)
		if err != nil {
			tell(i+1, err)
			last = err
			continue
		}
		all = append(all, c)
	}
	l.ring.AddTo(l.keyring, all...)
	return last
}

// asCertificate marks an error about a file that was to be a certificate.
func asCertificate(data []byte, err error) error {
	if bytes.HasPrefix(data, []byte("0\x82")) || bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")) {
		return fmt.Errorf("%w: %w", errCertificate, err)
	}
	return err
}

// errCertificate: who names a folder means every certificate in it.
var errCertificate = errors.New("looks like a certificate, and is not read as one")

// ErrMessage refuses a signature as a source of certificates: those in it came with what
// it signs.
var ErrMessage = errors.New("a PKCS#7 signature, which is no source of trust (name the signer's certificate)")

func (l *loader) addImage(image []byte) error {
	image, err := unpackedImage(image)
	if err != nil {
		return err
	}
	list, dropped, err := imageCertificates(image)
	if err != nil {
		return err
	}
	l.ring.ReadImage(revocationList(image)...)
	if err := l.ring.Blacklist(builtinHashes(image)...); err != nil {
		return err
	}
	before := l.ring.Size()
	l.addList(list, func(number int, err error) {
		l.note("built-in certificate %d: %v: the kernel passes over it", number, err)
	})
	if l.ring.Size() == before {
		return fmt.Errorf("no kernel reads one of the %d certificates that are built into the image", len(list))
	}
	if dropped > 0 {
		l.note("the image's list of built-in certificates has %d bytes behind certificate %d that are none, and the kernel reads no further", dropped, len(list))
	}
	return nil
}

// loadDir passes over files that hold no certificate: such a directory may have
// a README or a key in it. One without any certificate is an error.
func (l *loader) loadDir(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	before := len(l.ring.Certificates())
	for _, entry := range entries {
		name := paths.Join(path, entry.Name())
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		switch err := l.loadFile(name); {
		case err != nil && os.IsPermission(err):
			return err
		case errors.Is(err, errCertificate):
			l.note("%v", err)
			l.ring.Incomplete(err.Error())
		}
	}
	if len(l.ring.Certificates()) == before {
		return paths.About("read", path, errors.New("no certificate in this directory"))
	}
	return nil
}

// maxBlacklist bounds a blacklist file, in bytes.
const maxBlacklist = 16 << 20

// LoadBlacklist reads entries from a file, one a line. Quotes and commas around
// them are those of CONFIG_SYSTEM_BLACKLIST_HASH_LIST; # begins a comment.
func LoadBlacklist(ring *kernel.Ring, path string) error {
	text, err := bounded.ReadFile(path, maxBlacklist)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if entry := strings.Trim(line, " \t\r\n\","); entry != "" {
			if err := ring.Blacklist(entry); err != nil {
				return paths.About("read", path, err)
			}
		}
	}
	return nil
}
