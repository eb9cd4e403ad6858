package cli

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"filippo.io/mldsa"
	"github.com/urfave/cli/v2"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/internal/bounded"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
)

// messageFlags say how the PKCS#7 message is made.
func messageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "k", Usage: "name the signer by subject key identifier"},
		&cli.BoolFlag{Name: "include-cert", Usage: "embed the certificates of <x509> in the message, for chains by way of an intermediate (IMA, MOK)"},
		signedAttributesFlag(),
	}
}

func signedAttributesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "signed-attributes", Usage: "with an ML-DSA key, sign attributes as OpenSSL 3.5 must; few kernels take them in a module"}
}

func wantedMessage(c *cli.Context) messageForm {
	return messageForm{useKeyID: c.Bool("k"), signedAttributes: c.Bool("signed-attributes"), include: c.Bool("include-cert")}
}

// warnOfHash tells of a hash that no kernel from 6.12 on verifies.
func (p *program) warnOfHash(name string) {
	verified := []*digest.Algorithm{digest.SHA1, digest.SHA224, digest.SHA256, digest.SHA384, digest.SHA512, digest.SHA3_256, digest.SHA3_384, digest.SHA3_512}
	if algorithm, err := digest.Lookup(name); err == nil && !slices.Contains(verified, algorithm) {
		p.warn("no kernel from 6.12 on verifies a signature with %s: use sha256, sha384 or sha512", algorithm)
	}
}

// warnOfKey tells of a key whose signatures no kernel verifies.
func (p *program) warnOfKey(signer *signfile.Signer, certificateFile string, cert *certificate.Certificate) {
	public, err := cert.PublicKey()
	if err != nil || usualKey(public) {
		return
	}
	message, _, err := signer.Draft()
	if err != nil {
		return
	}
	why := ""
	ring := &kernel.Ring{}
	ring.Add(cert)
	for _, series := range kernel.Series() {
		rules, err := kernel.Of(series)
		if err != nil {
			return
		}
		verdict, err := kernel.NewJudge(rules, ring, kernel.Module).Message(message, io.NewSectionReader(strings.NewReader(""), 0, 0))
		if err != nil || cameToTheSignature(verdict, public) {
			return
		}
		why = verdict.Reason
	}
	p.warn("%s: no kernel verifies a signature by this key: %s (sign-file keygen makes keys that kernels take)", keys.Name(certificateFile), why)
}

// cameToTheSignature reports whether a kernel refuses no more than the value that signs
// nothing. RSA numbers are whole words to it (mpi_get_size), and so a value of fewer bytes is
// never right.
func cameToTheSignature(v *kernel.Verdict, public crypto.PublicKey) bool {
	const word = 8
	key, isRSA := public.(*rsa.PublicKey)
	return v.Errno == syscall.EKEYREJECTED && v.Func == "rsassa_pkcs1_verify" && isRSA && key.Size()%word == 0
}

// usualKey is true of the keys that kernels are known to take, so that nobody has to ask.
func usualKey(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return slices.Contains([]int{2048, 3072, 4096}, key.N.BitLen())
	case *ecdsa.PublicKey:
		return slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, key.Curve)
	case *mldsa.PublicKey:
		return true
	}
	return false
}

// messageForm is what can be chosen of a PKCS#7 message beside its hash.
type messageForm struct {
	useKeyID, signedAttributes, include bool
	// likeBPFTool names the signer by key identifier where the certificate has one.
	likeBPFTool bool
}

// openSigner opens key and certificate and looks up the hash, in the order in
// which sign-file reports what is wrong with them.
func (p *program) openSigner(ctx context.Context, pin keys.PINFunc, hash, key, certificateFile string, form messageForm) (*signfile.Signer, func() error, error) {
	return p.openSignerBy(ctx, keys.Open, pin, hash, key, certificateFile, form)
}

// openFunc is keys.Open or keys.OpenChecked.
type openFunc func(ctx context.Context, reference string, pin keys.PINFunc) (keys.Key, error)

func (p *program) openSignerBy(ctx context.Context, open openFunc, pin keys.PINFunc, hash, key, certificateFile string, form messageForm) (*signfile.Signer, func() error, error) {
	if which := os.Getenv(keys.EngineRSA); which != "" && which != "std" && which != "avx2" {
		p.warn("%s=%q means nothing: std leaves the fast code out, and avx2 that for AVX-512", keys.EngineRSA, which)
	}
	private, err := open(ctx, key, pin)
	if err != nil && keys.KindOf(key) == keys.Command {
		return nil, nil, err // the command's, which no advice about files helps
	}
	if err != nil {
		return nil, nil, keyAdvice(err, certificateFile)
	}
	cert, err := readCertificate(ctx, pin, certificateFile)
	var signer *signfile.Signer
	if err == nil {
		signer, err = newSigner(private, hash, certificateFile, cert, form)
	}
	if err != nil {
		private.Close()
		return nil, nil, err
	}
	p.warnOfHash(hash)
	p.warnOfKey(signer, certificateFile, cert)
	return signer, func() error { p.warnOfFaults(private); return private.Close() }, nil
}

// warnOfFaults: a processor that computes wrong results will do so elsewhere too.
func (p *program) warnOfFaults(key keys.Key) {
	if b, ok := key.(keys.FaultCounter); ok && b.Faults() > 0 {
		p.warn("%d signatures came out wrong and were made again: this machine computes wrong results (%s=std leaves the fast code out)", b.Faults(), keys.EngineRSA)
	}
}

func newSigner(key keys.Key, hash, certificateFile string, cert *certificate.Certificate, form messageForm) (*signfile.Signer, error) {
	algorithm, err := digest.Lookup(hash)
	if err != nil {
		return nil, err
	}
	var chain []*certificate.Certificate
	if form.include && keys.KindOf(certificateFile) == keys.File {
		if chain, err = restOf(certificateFile); err != nil {
			return nil, err
		}
	}
	signer, err := signfile.NewSigner(signfile.Options{
		Key: key, Certificate: cert, Digest: algorithm, IncludeCertificate: form.include, Chain: chain,
		UseKeyID: form.useKeyID || form.likeBPFTool && cert.SubjectKeyID != nil, SignedAttributes: form.signedAttributes,
	})
	return signer, about(keys.Name(certificateFile), err)
}

// restOf returns the certificates that follow the first in a file.
func restOf(path string) ([]*certificate.Certificate, error) {
	file, err := bounded.ReadFile(path, certificate.MaxFileSize)
	if err != nil {
		return nil, err
	}
	all, err := certificate.All(file)
	if err != nil {
		return nil, about(path, err)
	}
	return all[1:], nil
}

// readCertificate reads a certificate from a file, as sign-file does, or from a
// token, as it does not.
func readCertificate(ctx context.Context, pin keys.PINFunc, path string) (*certificate.Certificate, error) {
	if keys.IsTokenURI(path) {
		return certificateOnToken(ctx, pin, path)
	}
	cert, err := certificate.FromFile(path)
	return cert, certificateAdvice(err, path)
}

func certificateOnToken(ctx context.Context, pin keys.PINFunc, reference string) (*certificate.Certificate, error) {
	der, err := keys.OpenCertificate(ctx, reference, pin)
	if err != nil {
		return nil, about(keys.Name(reference), err)
	}
	cert, err := certificate.Parse(der)
	return cert, about(keys.Name(reference), err)
}

// otherSigner is whose signatures are made elsewhere: all that is here of the key is in the
// certificate.
type otherSigner struct {
	file   string // as it was named
	cert   *certificate.Certificate
	public crypto.PublicKey
}

// otherSigner reads such a certificate.
func (p *program) otherSigner(c *cli.Context, file string) (*otherSigner, error) {
	cert, err := readCertificate(c.Context, p.askPIN(), file)
	if err != nil {
		return nil, err
	}
	public, err := cert.PublicKey()
	return &otherSigner{file, cert, public}, about(keys.Name(file), err)
}

// with makes a signer of a signature value, which may be yet to come.
func (o *otherSigner) with(p *program, value []byte, hash string, form messageForm) (*signfile.Signer, error) {
	signer, err := newSigner(keys.Presigned(o.public, value), hash, o.file, o.cert, form)
	if err == nil {
		p.warnOfKey(signer, o.file, o.cert)
	}
	return signer, err
}

// attachFlags name the parts of a signature that was made elsewhere.
func attachFlags() []cli.Flag {
	return append(madeElsewhereFlags(""), messageFlags()...)
}

// madeElsewhereFlags are those of attachFlags that say what was made, and by whom.
func madeElsewhereFlags(hash string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "signature", Usage: "`FILE` with the bare signature value: RSA, ML-DSA, or ECDSA in DER or as r and s"},
		&cli.StringFlag{Name: "cert", Usage: "`FILE` with the signer's certificate"},
		&cli.StringFlag{Name: "hash", Value: hash, Usage: "hash `ALGORITHM` that was signed with"},
	}
}

// maxSignature bounds a signature value, in bytes: more than RSA-16384 or ML-DSA-87.
const maxSignature = 16 << 10

// presigned makes a signer of --signature, --cert and --hash, and a way to tell what is
// wrong with a value that it refuses.
func (p *program) presigned(c *cli.Context, form messageForm) (*signfile.Signer, mistakeFunc, error) {
	for _, flag := range []string{"signature", "cert", "hash"} {
		if c.String(flag) == "" {
			return nil, nil, usagef("no --%s", flag)
		}
	}
	file := c.String("signature")
	value, err := p.readAll(file, maxSignature)
	if err != nil {
		return nil, nil, err
	}
	other, err := p.otherSigner(c, c.String("cert"))
	if err != nil {
		return nil, nil, err
	}
	missing, err := checkValue(other.public, value)
	if err != nil {
		return nil, nil, about(file, err)
	}
	if missing > 0 {
		p.say("%s: lacks %d zero bytes at its beginning, which many signers drop; they are put there, and the signature is checked with them", file, missing)
		value = append(make([]byte, missing), value...)
	}
	signer, err := other.with(p, value, c.String("hash"), form)
	if err != nil {
		return nil, nil, err
	}
	p.warnOfHash(c.String("hash"))
	return signer, func(err error, content io.Reader) error {
		if !errors.Is(err, certificate.ErrSignature) {
			return err
		}
		what, failed := signer.Mistake(value, content)
		if failed != nil || c.Bool("signed-attributes") {
			return err
		}
		var path *fs.PathError
		if !errors.As(err, &path) {
			return fmt.Errorf("%w: %s: %s", err, file, what)
		}
		return &fs.PathError{Op: path.Op, Path: path.Path, Err: fmt.Errorf("%w: %s: %s", path.Err, file, what)}
	}, nil
}

// mistakeFunc adds to an error of signing what is wrong with the value, if it is that.
type mistakeFunc func(err error, content io.Reader) error

// checkValue tells what is no signature value of a key by its length and form, and how many
// zero bytes one of RSA lacks.
func checkValue(public crypto.PublicKey, value []byte) (missing int, err error) {
	const word = 8 // more zero bytes than chance ever makes
	size := valueSize(public)
	text := strings.Join(strings.Fields(string(value)), "")
	fits := func(n int) bool { return n == size || size == 0 && n > 0 }
	switch unhexed, err := hex.DecodeString(text); {
	case len(value) == 0:
		return 0, errors.New("not a bare signature value: it is empty")
	case len(value) == size:
		return 0, nil
	case err == nil && fits(len(unhexed)):
		return 0, errors.New("not a bare signature value: it is hexadecimal text (xxd -r -p turns it into bytes)")
	}
	unbased, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		unbased, err = base64.RawURLEncoding.DecodeString(text)
	}
	switch {
	case err == nil && fits(len(unbased)):
		return 0, errors.New("not a bare signature value: it is base64 text (base64 -d turns it into bytes)")
	case len(value) == size+1 && value[size] == '\n':
		return 0, fmt.Errorf("not a bare signature value: a line end follows it (head -c %d takes it off)", size)
	}
	if is := whatIs(value); is.name == aMessage {
		return 0, errors.New("it is a whole PKCS#7 message, and no bare signature value: sign-file -s attaches it")
	} else if is.name != "" && formOfText(value) != textHex { // which may be a digest: see Mistake
		return 0, fmt.Errorf("not a bare signature value: it is %s", is.name)
	}
	if _, isRSA := public.(*rsa.PublicKey); isRSA && len(value) < size && size-len(value) < word {
		return size - len(value), nil
	}
	return 0, nil
}

// valueSize is the length of a key's signature values in bytes, 0 where it varies.
func valueSize(public crypto.PublicKey) int {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return key.Size()
	case *mldsa.PublicKey:
		return key.Parameters().SignatureSize()
	}
	return 0
}
