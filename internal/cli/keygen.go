package cli

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	mldsax509 "filippo.io/mldsa/x509"
	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/cryptobyte"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/internal/atomicfile"
	"sign-file/keys"
)

func (p *program) keygenCommand() *cli.Command {
	return &cli.Command{
		Name:      "keygen",
		Usage:     "make a key and its certificate as a kernel build does",
		ArgsUsage: "<key> [<x509>]",
		Description: "<key> gets both in PEM, as the kernel's certs/signing_key.pem; <x509> the certificate\n" +
			"in DER, as certs/signing_key.x509. The defaults are those of certs/Makefile.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Value: "rsa:4096", Usage: "`KIND` of key: " + strings.Join(keys.Kinds(), ", ")},
			&cli.StringFlag{Name: "subject", Usage: "`NAME` of the signer, as openssl req's -subj; default: one with this machine's name that\ndistinguishes the key from others"},
			&cli.StringSliceFlag{Name: "eku", Usage: "extended key `USAGE`: codesign, which openSUSE wants, modules, which shim takes for modules alone,\nor an object identifier; may be repeated"},
			&cli.BoolFlag{Name: "ca", Usage: "the key may sign certificates too, which some kernels want of enrolled keys (CONFIG_INTEGRITY_CA_MACHINE_KEYRING)"},
			&cli.IntFlag{Name: "days", Value: 36500, Usage: "`NUMBER` of days that the certificate is valid"},
			&cli.StringFlag{Name: "hash", Value: "sha512", Usage: "hash `ALGORITHM` of the certificate's signature"},
			&cli.BoolFlag{Name: "encrypt", Usage: "encrypt the key, with " + pinVariable + " or a passphrase asked for at the terminal"},
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
		},
		Action: p.keygen,
	}
}

func (p *program) keygen(c *cli.Context) error {
	files, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := wantFile("keygen", file, "makes files"); err != nil {
			return err
		}
	}
	if err := checkKeyFiles(files, c.Bool("force")); err != nil {
		return err
	}
	subject, algorithm, err := keygenOptions(c)
	if err != nil {
		return err
	}
	purpose := certificate.Purpose{CA: c.Bool("ca")}
	if purpose.Extended, err = extendedUsages(c.StringSlice("eku")); err != nil {
		return err
	}
	var passphrase []byte
	if c.Bool("encrypt") {
		if passphrase, err = p.newPassphrase(files[0]); err != nil {
			return err
		}
		defer clear(passphrase)
	}
	key, err := keys.Generate(c.String("type"))
	if err != nil {
		return usagef("--type %v", err)
	}
	if subject == nil {
		if subject, err = defaultSubject(key.Public()); err != nil {
			return err
		}
	}
	now := time.Now()
	cert, err := certificate.SelfSigned(key, subject, purpose, algorithm, now, now.AddDate(0, 0, c.Int("days")))
	if err != nil {
		return about(files[0], err)
	}
	private, err := keys.MarshalPEM(key, passphrase)
	if err != nil {
		return about(files[0], err)
	}
	defer clear(private)
	if err := writeKeyFiles(c.Context, files, private, cert.Raw, c.Bool("force")); err != nil {
		return err
	}
	p.whatNext(files, cert)
	return nil
}

// extendedUsages are those of RFC 5280, section 4.2.1.12, and of shim, whose MOK_EKU keeps
// a key from being trusted for what boots.
func extendedUsages(names []string) (all []asn1.ObjectIdentifier, err error) {
	for _, name := range names {
		oid, err := extendedUsage(name)
		if err != nil {
			return nil, usagef("--eku %s: want codesign, modules or an object identifier", name)
		}
		all = append(all, oid)
	}
	return all, nil
}

func extendedUsage(name string) (asn1.ObjectIdentifier, error) {
	switch name {
	case "codesign":
		name = "1.3.6.1.5.5.7.3.3"
	case "modules":
		name = "1.3.6.1.4.1.2312.16.1.2"
	}
	var oid asn1.ObjectIdentifier
	for arc := range strings.SplitSeq(name, ".") {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil {
			return nil, err
		}
		oid = append(oid, int(n))
	}
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(oid) // which knows how an identifier may begin
	_, err := b.Bytes()
	return oid, err
}

// defaultSubject names the machine and the key: two keys of one name are told apart by
// nothing that mokutil --list-enrolled or /proc/keys shows first.
func defaultSubject(public crypto.PublicKey) ([]byte, error) {
	const most = 64 // ub-common-name of RFC 5280
	der, err := mldsax509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	name := fmt.Sprintf("module signing key %X", sum[:4])
	host, err := os.Hostname()
	if err == nil && len(host)+1+len(name) <= most && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-_") == "" && host != "" {
		name = host + " " + name
	}
	return certificate.ParseName("/CN=" + name)
}

// whatNext tells a person what was made and what to do with it.
func (p *program) whatNext(files []string, cert *certificate.Certificate) {
	if !isTerminal(p.err) {
		return
	}
	sum := sha256.Sum256(cert.Raw)
	p.say("made %s: the key and its certificate, %s", files[0], certificate.FormatName(cert.Subject))
	p.say("SHA-256 fingerprint %s", certificate.FormatKeyID(sum[:]))
	if len(files) < 2 {
		p.say("next: sign-file sha512 %s %s <module>", files[0], files[0])
		return
	}
	p.say("made %s: the certificate in DER", files[1])
	p.say("next: sign-file sha512 %s %s <module>; mokutil --import %s and a reboot have a machine with Secure Boot trust it", files[0], files[1], files[1])
}

// checkKeyFiles finds before a long computation what writeKeyFiles would find
// after it, and that the second file is not the first.
func checkKeyFiles(files []string, force bool) error {
	for _, file := range files {
		if _, err := os.Lstat(file); err == nil && !force {
			return about(file, errKeyExists)
		}
	}
	if len(files) < 2 {
		return nil
	}
	first, err := placeOf(files[0])
	if err != nil {
		return err
	}
	if second, err := placeOf(files[1]); err == nil && first == second {
		return usagef("%s would be both key and certificate (leave the second one out: the first holds both)", files[0])
	}
	return nil
}

var errKeyExists = fmt.Errorf("%w (--force replaces it)", fs.ErrExist)

// newPassphrase takes the passphrase of a new key, at the terminal twice.
func (p *program) newPassphrase(file string) ([]byte, error) {
	_, given := os.LookupEnv(pinVariable)
	ask := p.askPIN()
	first, err := ask("new passphrase of " + file)
	if err == nil && len(first) == 0 {
		err = errors.New("an empty passphrase (leave --encrypt out)")
	}
	if errors.Is(err, keys.ErrNoPIN) {
		err = fmt.Errorf("no passphrase for the new key: set %s, or run it at a terminal", pinVariable)
	}
	if err != nil || given {
		return first, about("--encrypt", err)
	}
	again, err := ask("the same again")
	defer clear(again)
	switch {
	case err != nil:
	case !bytes.Equal(first, again):
		err = errors.New("the two passphrases differ")
	}
	return first, about("--encrypt", err)
}

// keygenOptions checks what can be wrong with the flags before a key is made. subject is
// nil for the default.
func keygenOptions(c *cli.Context) (subject []byte, algorithm *digest.Algorithm, err error) {
	const mostDays = 366 * 10_000
	if days := c.Int("days"); days < 1 || days > mostDays {
		return nil, nil, usagef("--days %d: want 1 or more, up to the year 9999", days)
	}
	if c.IsSet("subject") {
		if subject, err = certificate.ParseName(c.String("subject")); err != nil {
			return nil, nil, usagef("--subject: %v", err)
		}
	}
	if algorithm, err = digest.Lookup(c.String("hash")); err != nil {
		return nil, nil, usagef("--hash: %v", err)
	}
	return subject, algorithm, nil
}

// writeKeyFiles writes both files or none. What replaces a key takes over none of
// its permissions: they may have been too wide.
func writeKeyFiles(ctx context.Context, files []string, private, cert []byte, force bool) error {
	bundle := append(bytes.Clone(private), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	defer clear(bundle)
	contents := []struct {
		bytes []byte
		perm  os.FileMode
	}{{bundle, 0o600}, {cert, 0o644}}
	var made []*atomicfile.File
	for i, path := range files {
		target, err := atomicfile.New(path, contents[i].perm, force)
		if err != nil {
			return err
		}
		f, err := target.CreateWith(contents[i].bytes)
		if err != nil {
			return err
		}
		defer f.Discard()
		made = append(made, f)
	}
	ctx.Done() // to ask is to listen: a signal now waits for both names
	if err := ctx.Err(); err != nil {
		return err
	}
	return atomicfile.CommitAll(made...)
}
