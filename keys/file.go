package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"sign-file/internal/bounded"
	"sign-file/internal/ecdsaonce"
	"sign-file/internal/rsalanes"
	"sign-file/internal/scheme"
	"sign-file/keys/internal/pkcs8"
	"sign-file/keys/token"
)

// maxFileSize bounds what is read as a key file, in bytes. Bags of keys and
// certificates with their text are some kilobytes long.
const maxFileSize = 16 << 20

// ErrPassphrase says that a passphrase does not open a key, or that the file is damaged:
// the formats can't tell.
var ErrPassphrase = pkcs8.ErrPassphrase

// Errors about key files, for errors.As.
type (
	// NoKeyError says that a file holds no private key. Found has the PEM types of
	// what it holds instead; UTF16 says that it is text in UTF-16, in which nothing
	// was looked for.
	NoKeyError = pkcs8.NoKeyError
	// KeyTypeError says that a private key is of a Type that signs no module.
	KeyTypeError = pkcs8.KeyTypeError
	// CurveError says that an EC key is on a curve that is not supported: Name is
	// OpenSSL's name of it or its object identifier. Explicit says that the curve is
	// spelled out instead of named.
	CurveError = pkcs8.CurveError
	// EncryptionError says that a key is encrypted with a Scheme that is not
	// supported, but may be to OpenSSL; Legacy says that OpenSSL 3 needs its legacy
	// provider for it, PKCS12 that the key is in a PKCS#12 file.
	EncryptionError = pkcs8.EncryptionError
)

// fileKey is a private key in memory. It needs no closing.
type fileKey struct {
	crypto.Signer
	name string
}

func (fileKey) Close() error { return nil }

func (fileKey) KnowsHashes() bool { return true }

// check reads the key as crypto/x509 does, which Parse leaves out where it can.
func (k fileKey) check() error {
	if c, ok := k.Signer.(checker); ok {
		return c.check()
	}
	return nil
}

// Sign names the file: numbers that do not belong together are met when it signs.
func (k fileKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	value, err := k.Signer.Sign(random, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	return value, nil
}

// Batch implements Batcher.
func (k fileKey) Batch() int {
	if b, ok := k.Signer.(Batcher); ok {
		return b.Batch()
	}
	return 1
}

// Faults implements FaultCounter.
func (k fileKey) Faults() int {
	if b, ok := k.Signer.(FaultCounter); ok {
		return b.Faults()
	}
	return 0
}

func openFile(ctx context.Context, path string, pin PINFunc) (Key, error) {
	data, err := readFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	if isReferenceFile(data) {
		return openReferenceFile(ctx, path, pin)
	}
	if pin != nil {
		ask := pin
		pin = func(string) ([]byte, error) { return ask("passphrase of " + Name(path)) }
	}
	signer, err := Parse(data, pin)
	if err != nil {
		return nil, err
	}
	return fileKey{signer, Name(path)}, nil
}

// readFile reads a file. A pipe may never be written to, and is waited for as long as ctx
// lasts.
func readFile(ctx context.Context, path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		return bounded.ReadFile(path, maxFileSize)
	}
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		data, err := bounded.ReadFile(path, maxFileSize)
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Parse reads the first private key of a PEM file, whatever text, certificates and
// parameters are in front of it, or the key of a DER file, and returns a signer as Key
// describes it. An encrypted key's passphrase comes from pin, which is called for no
// other. A nil pin has none.
func Parse(data []byte, pin PINFunc) (crypto.Signer, error) {
	key, err := pkcs8.Parse(data, func(prompt string) ([]byte, error) {
		if pin == nil {
			return nil, ErrNoPIN
		}
		passphrase, err := pin(prompt)
		if err == nil && len(passphrase) > token.MaxPINSize {
			clear(passphrase)
			return nil, errLongPassphrase
		}
		return passphrase, err
	})
	if err != nil {
		return nil, err
	}
	return usable(key), nil
}

var errLongPassphrase = fmt.Errorf("passphrase longer than %d bytes", token.MaxPINSize)

// usable turns a private key that crypto packages made into a signer as Key describes
// it. Those of filippo.io/mldsa are that already.
func usable(key crypto.Signer) crypto.Signer {
	switch key := key.(type) {
	case *pkcs8.RSA:
		standard := sync.OnceValues(key.Standard)
		return rsaKey{&key.Numbers.Public, engineFor(key.Numbers, standard), standard}
	case *rsa.PrivateKey:
		standard := func() (*rsa.PrivateKey, error) { return key, nil }
		return rsaKey{&key.PublicKey, engineFor(rsalanes.NumbersOf(key), standard), standard}
	case *ecdsa.PrivateKey:
		return ecdsaKey{key}
	case *ecdsaonce.PrivateKey:
		return &onceKey{PrivateKey: key, std: sync.OnceValues(key.ECDSA)}
	}
	return key
}

// EngineRSA is the environment variable that has RSA keys in files sign with less than the
// processor has: "avx2" without AVX-512, and "std" with crypto/rsa.
const EngineRSA = "SIGN_FILE_RSA"

// Instructions are those that RSA keys in files sign with: the best that the processor has,
// or what EngineRSA leaves of them; none in FIPS 140 mode.
func Instructions() rsalanes.Instructions {
	best := rsalanes.Best()
	switch wish := os.Getenv(EngineRSA); {
	case fips140.Enabled() || wish == "std":
		return rsalanes.None
	case wish == "avx2" && best == rsalanes.IFMA:
		return rsalanes.AVX2
	}
	return best
}

// engineFor returns nil for keys that crypto/rsa signs with.
func engineFor(numbers rsalanes.Numbers, standard func() (*rsa.PrivateKey, error)) *rsalanes.Signer {
	engine, err := rsalanes.NewSigner(numbers, Instructions(), standard)
	if err != nil {
		return nil
	}
	return engine
}

// rsaKey is an RSA key that signs PKCS#1 v1.5 only.
type rsaKey struct {
	public   *rsa.PublicKey
	engine   *rsalanes.Signer // nil: crypto/rsa
	standard func() (*rsa.PrivateKey, error)
}

// Batch implements Batcher.
func (k rsaKey) Batch() int {
	if k.engine == nil {
		return 1
	}
	return k.engine.Batch()
}

// Faults implements FaultCounter.
func (k rsaKey) Faults() int {
	if k.engine == nil {
		return 0
	}
	return k.engine.Faults()
}

func (k rsaKey) check() error {
	_, err := k.standard()
	return err
}

func (k rsaKey) Public() crypto.PublicKey { return k.public }

// Sign signs a DigestInfo that is made here: crypto/rsa has another object identifier
// for RIPEMD-160 than OpenSSL, and none for SM3. FIPS 140-only mode can't say of a bare
// DigestInfo whether it is allowed, and panics; there the hash is named.
func (k rsaKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	algorithm, sum, err := scheme.ReadRequest(digest, opts)
	if err != nil {
		return nil, err
	}
	if k.engine != nil {
		return k.engine.Sign(algorithm.DigestInfo(sum))
	}
	private, err := k.standard()
	if err != nil {
		return nil, err
	}
	if !fips140.Enforced() {
		return private.Sign(rand.Reader, algorithm.DigestInfo(sum), crypto.Hash(0))
	}
	if algorithm.Hash() == 0 {
		return nil, fmt.Errorf("%v is not allowed in FIPS 140-only mode", algorithm)
	}
	return private.Sign(rand.Reader, sum, algorithm.Hash())
}

// ecdsaKey is an ECDSA key that looks at what it is asked for: crypto/ecdsa signs any
// bytes whatever the options are, and without a source of randomness it panics over
// crypto.Hash(0).
type ecdsaKey struct{ private *ecdsa.PrivateKey }

func (k ecdsaKey) Public() crypto.PublicKey { return k.private.Public() }

func (k ecdsaKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sum, err := scheme.ReadSum(digest, opts)
	if err != nil {
		return nil, err
	}
	return k.private.Sign(rand.Reader, sum, opts)
}

// few is how many signatures package ecdsaonce makes faster than crypto/ecdsa, which has to
// get ready first.
const few = 3

// onceKey is an ECDSA key on P-384 or P-521.
type onceKey struct {
	*ecdsaonce.PrivateKey
	made atomic.Int32
	std  func() (*ecdsa.PrivateKey, error)
}

func (k *onceKey) check() error {
	_, err := k.std()
	return err
}

func (k *onceKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.made.Add(1) > few {
		std, err := k.std()
		if err != nil {
			return nil, err
		}
		return ecdsaKey{std}.Sign(nil, digest, opts)
	}
	sum, err := scheme.ReadSum(digest, opts)
	if err != nil {
		return nil, err
	}
	return k.PrivateKey.Sign(rand.Reader, sum, opts)
}
