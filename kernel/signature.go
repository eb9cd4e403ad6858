package kernel

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync/atomic"
	"syscall"

	"filippo.io/mldsa"

	"sign-file/internal/fips204"
	"sign-file/internal/rsalanes"
	"sign-file/internal/scheme"
	"sign-file/kernel/internal/ber"
)

// publicKey is a certificate's key, by the kernel's name of it, and as far as it
// can be read. What is wrong with it the kernel finds out when it uses it.
type publicKey struct {
	kind  keyKind
	curve string // OID
	raw   []byte // the BIT STRING without its first octet

	rsa atomic.Pointer[rsalanes.PublicKey] // of raw, once it has verified something
}

// openRSA is the key of numbers that were read from raw.
func (k *publicKey) openRSA(n, e *big.Int) *rsalanes.PublicKey {
	if k.rsa.Load() == nil {
		k.rsa.Store(rsalanes.NewPublicKey(n, e))
	}
	return k.rsa.Load()
}

// noteKey is x509_extract_key_data.
func (p *certificateParser) noteKey(e ber.Element) error {
	const where = "x509_extract_key_data"
	key := &p.x509.key
	unknown := refuse(syscall.ENOPKG, where, "kernel %s has no use for keys of type %s", p.kernel.title(), formatOID(p.lastOID))
	switch p.lastOID {
	case oidRSA:
		key.kind = kindRSA
	case oidGOST256, oidGOST512:
		key.kind = kindECRDSA
	case oidSM2:
		key.kind = kindSM2
	case oidMLDSA44, oidMLDSA65, oidMLDSA87:
		key.kind = mldsaKind(p.lastOID)
	case oidEC:
		// parse_OID: the parameters are an OID, its length in one octet.
		if len(p.params) < 3 || p.params[0] != ber.TagOID || int(p.params[1]) != len(p.params)-2 {
			return refuse(syscall.EBADMSG, where, "the key's curve is not named by an object identifier")
		}
		key.kind, key.curve = kindECDSA, string(p.params[2:])
		if key.curve == oidSM2 {
			key.kind = kindSM2
		} else if !slices.Contains(p.kernel.curves, key.curve) {
			return refuse(syscall.ENOPKG, where, "kernel %s does not know the curve %s", p.kernel.title(), formatOID(key.curve))
		}
	}
	if key.kind == "" || key.kind == kindSM2 && !p.kernel.sm2 || key.kind.isMLDSA() && !p.kernel.mldsa {
		return unknown
	}
	raw, ok := bitString(e)
	if !ok {
		return refuse(syscall.EBADMSG, where, "the key is no whole number of bytes")
	}
	key.raw = raw
	return nil
}

// signature is struct public_key_signature.
type signature struct {
	kind  keyKind
	hash  *hash // nil in a certificate signed with ML-DSA
	value []byte
	// sum gives the digest of the signed data.
	sum func() ([]byte, error)
	// write writes the signed data, for ML-DSA, which hashes on its own.
	write func(io.Writer) error
	// unhashed: it's the content itself, and the hash is named for nothing.
	unhashed bool
	// undigested: the kernel lacks the hash, and verifies with a digest of no bytes.
	undigested bool
}

// over sets the data that the signature covers.
func (s *signature) over(data []byte) {
	s.sum = func() ([]byte, error) { return s.hash.sum(data) }
	s.write = func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// sum hashes in memory.
func (h *hash) sum(data []byte) ([]byte, error) {
	if h.algorithm == nil {
		return nil, fmt.Errorf("%s is not implemented here", h.name)
	}
	w := h.algorithm.New()
	w.Write(data)
	return w.Sum(nil), nil
}

const verifyFunction = "public_key_verify_signature"

var errMismatch = refuse(syscall.EKEYREJECTED, verifyFunction, "the data or its signature was changed after signing")

// verifySignature is public_key_verify_signature with what it calls. The error is
// a *Refusal, or says why there is no telling.
func (k *Kernel) verifySignature(key *publicKey, s *signature) error {
	if key.kind != s.kind {
		return refuse(syscall.EKEYREJECTED, verifyFunction, "a signature of type %s for a key of type %s", s.kind, key.kind)
	}
	switch {
	case key.kind == kindRSA:
		if s.hash.noPrefix {
			return refuse(syscall.EINVAL, "rsassa_pkcs1_create", "the kernel does not verify %s with RSA", s.hash.name)
		}
		if s.undigested {
			return k.undigestedRSA(key, s)
		}
		return k.verifyRSA(key, s)
	case key.kind == kindECDSA:
		return k.verifyECDSA(key, s)
	case key.kind.isMLDSA():
		return k.verifyMLDSA(key, s)
	}
	return fmt.Errorf("%s signatures are not verified here", key.kind)
}

// undigestedRSA is what pkcs1pad_verify and rsassa_pkcs1_verify say to a digest of no bytes:
// x509_get_sig_params leaves it empty, and nobody asks unsupported_sig before
// pkcs7_verify_sig_chain and pkcs7_validate_trust use it.
func (k *Kernel) undigestedRSA(key *publicKey, s *signature) error {
	if _, _, err := k.rsaKey(key.raw); err != nil {
		return err
	}
	return advised(refuse(syscall.EINVAL, "rsassa_pkcs1_verify", "the certificate that came with the message is signed with %s, which kernel %s does not have loaded", s.hash.name, k.title()),
		causeUnsupported, "sign without the certificate in the message, or have this kernel load the hash (CONFIG_%s)", s.hash.option)
}

// verifyRSA is pkcs1pad_verify (rsassa_pkcs1_verify since 6.13) over rsa_enc.
func (k *Kernel) verifyRSA(key *publicKey, s *signature) error {
	const where = "rsassa_pkcs1_verify"
	n, e, err := k.rsaKey(key.raw)
	if err != nil {
		return err
	}
	size := limbBytes(n)
	if !k.rsaSize(size * 8) {
		return refuse(syscall.EINVAL, "rsa_check_key_length", "the kernel does not take RSA keys of %d bits", size*8)
	}
	if len(s.value) != size && e.BitLen() > usualExponent {
		return wrongLength(s, size) // and whether it would be right with zeros costs too much
	}
	if err := k.rsaPayload(n, s.value); err != nil {
		return err
	}
	public := key.openRSA(n, e)
	opened, ok := public.Raise(s.value)
	if !ok {
		return refuse(syscall.EINVAL, where, "the signature is a larger number than the RSA key")
	}
	sum, err := s.sum()
	if err != nil {
		return err
	}
	err = checkRSA(s, opened, size, sum)
	if err != nil && e.BitLen() <= usualExponent {
		opened, _ = public.RaiseAgain(s.value) // this machine may have erred
		err = checkRSA(s, opened, size, sum)
	}
	return err
}

// checkRSA judges what a signature's value was raised to.
func checkRSA(s *signature, opened []byte, size int, sum []byte) error {
	block := append(make([]byte, size-len(opened)), opened...)
	if len(s.value) != size {
		return shortRSA(s, block, sum)
	}
	return checkPadding(block, s.hash.algorithm.DigestInfo(sum), len(sum))
}

// rsaPayload is rsa_check_payload, since 6.9: 0, 1 and n-1 are what they were to any power.
// What is larger, and of another length, is told otherwise.
func (k *Kernel) rsaPayload(n *big.Int, value []byte) error {
	if !k.Since(6, 9) || len(value) != limbBytes(n) {
		return nil
	}
	one, m := big.NewInt(1), new(big.Int).SetBytes(value)
	if m.Cmp(one) > 0 && m.Cmp(new(big.Int).Sub(n, one)) != 0 {
		return nil
	}
	return refuse(syscall.EINVAL, "rsa_check_payload", "the signature's value is 0, 1 or one less than the modulus, which is no signature")
}

// usualExponent is how long an RSA key's exponent is at most, in bits, where nobody wants to
// waste time.
const usualExponent = 32

func wrongLength(s *signature, size int) error {
	return refuse(syscall.EINVAL, "rsassa_pkcs1_verify", "the signature's value has %d bytes, and the RSA key %d", len(s.value), size)
}

// shortRSA refuses a value that is not as long as the key, and tells one that has lost
// its leading zeros and would be right with them.
func shortRSA(s *signature, block, sum []byte) error {
	const where = "rsassa_pkcs1_verify"
	size := len(block)
	missing := size - len(s.value)
	if missing > 0 && checkPadding(block, s.hash.algorithm.DigestInfo(sum), len(sum)) == nil {
		return advised(refuse(syscall.EINVAL, where, "the signature's value has %d bytes instead of %d: it is right, but %d zero byte(s) at its beginning are missing, and the kernel wants them", len(s.value), size, missing),
			"", "have it signed again by something that does not drop zero bytes (sign-file attach takes such a value, and puts them there)")
	}
	return wrongLength(s, size)
}

// checkPadding compares what the signature holds with what it should, and tells
// the kernel's three errors apart.
func checkPadding(block, digestInfo []byte, sumSize int) error {
	const where = "rsassa_pkcs1_verify"
	if block[0] != 0 {
		return refuse(syscall.EINVAL, where, "the data or its signature was changed after signing, or another key has signed")
	}
	at := 2
	for at < len(block) && block[at] == 0xff {
		at++
	}
	info, ok := bytes.CutPrefix(block[at:], []byte{0})
	if block[1] != 1 || !ok || at < 10 || !bytes.HasPrefix(info, digestInfo[:len(digestInfo)-sumSize]) {
		return refuse(syscall.EBADMSG, where, "the signature's padding is not that of the hash algorithm that the message names")
	}
	if !bytes.Equal(info, digestInfo) {
		return errMismatch
	}
	return nil
}

// rsaKey reads an RSAPublicKey (rsapubkey.asn1).
func (k *Kernel) rsaKey(der []byte) (n, e *big.Int, err error) {
	n, e = new(big.Int), new(big.Int)
	size := len(der)
	read := func(into *big.Int) ber.Action {
		return func(v ber.Element) error {
			if len(v.Content) == 0 || len(v.Content) > size {
				return refuse(syscall.EINVAL, "rsa_parse_pub_key", "a number of the RSA key is empty, or the exponent longer than the modulus")
			}
			size = len(v.Content)
			into.SetBytes(v.Content)
			return nil
		}
	}
	err = ber.Decode(der, func(d *ber.Decoder) {
		d.Need(ber.Compound(ber.TagSequence, func() {
			d.Need(ber.Leaf(ber.TagInteger, read(n)))
			d.Need(ber.Leaf(ber.TagInteger, read(e)))
		}, nil))
	})
	switch {
	case err != nil:
	case e.BitLen() > maxMPI:
		err = tooLong("exponent", e)
	case n.BitLen() > maxMPI:
		err = tooLong("modulus", n)
	case n.Sign() == 0:
		err = refuse(syscall.EINVAL, "rsa_check_key_length", "the RSA modulus is zero")
	case k.FIPS && k.Since(6, 5) && (e.BitLen() < 17 || e.BitLen() > 256 || e.Bit(0) == 0 || e.Cmp(big.NewInt(1<<16)) <= 0):
		err = refuse(syscall.EINVAL, "rsa_check_exponent_fips", "the RSA exponent is not allowed in FIPS mode")
	}
	return n, e, err
}

// maxMPI is MAX_EXTERN_MPI_BITS, which mpi_read_raw_data compares whole bytes with.
const maxMPI = 16384

func tooLong(what string, number *big.Int) error {
	return refuse(syscall.ENOMEM, "mpi_read_raw_data", "the RSA %s has %d bits, and the kernel reads numbers of %d", what, number.BitLen(), maxMPI)
}

// limbBytes is mpi_get_size: whole 64-bit words.
func limbBytes(n *big.Int) int { return (n.BitLen() + 63) / 64 * 8 }

// rsaSize is rsa_check_key_length.
func (k *Kernel) rsaSize(bits int) bool {
	switch bits {
	case 2048, 3072, 4096:
		return true
	case 512, 1024, 1536:
		return !k.FIPS
	}
	return false
}

// verifyECDSA is ecdsa_verify; the digest is cut to the curve's size.
func (k *Kernel) verifyECDSA(key *publicKey, s *signature) error {
	const where = "ecdsa_verify"
	if s.hash.algorithm == nil || s.hash.algorithm.ECDSA() == nil {
		return refuse(syscall.EINVAL, "software_key_determine_akcipher", "the kernel does not verify %s with ECDSA", s.hash.name)
	}
	if !k.finds(k.hasECDSA) && k.between {
		return k.differ("ECDSA, as Debian builds them (--config tells)")
	}
	if !k.finds(k.hasECDSA) || k.FIPS && key.curve == oidP192 {
		return refuse(syscall.ENOENT, verifyFunction, "kernel %s is built without ECDSA for this curve", k.title())
	}
	curve := curveOf(key.curve)
	if curve == nil {
		return errors.New("P-192 is not implemented here")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, key.raw)
	if err != nil {
		return refuse(syscall.EINVAL, "ecdsa_set_pub_key", "the ECDSA key is not an uncompressed point of its curve")
	}
	n := curve.Params().N
	r, v, err := ecdsaValue(s.value, limbBytes(n))
	if err != nil {
		return err
	}
	if r.Sign() == 0 || v.Sign() == 0 || r.Cmp(n) >= 0 || v.Cmp(n) >= 0 {
		return refuse(syscall.EBADMSG, where, "the ECDSA signature is out of range")
	}
	sum, err := s.sum()
	if err != nil {
		return err
	}
	if !ecdsa.Verify(public, sum, r, v) {
		return errMismatch
	}
	return nil
}

// ecdsaValue reads an ECDSA-Sig-Value (ecdsasignature.asn1). The numbers are
// unsigned: their first bit is no sign.
func ecdsaValue(der []byte, size int) (r, s *big.Int, err error) {
	r, s = new(big.Int), new(big.Int)
	read := func(into *big.Int) ber.Action {
		return func(e ber.Element) error {
			v := e.Content
			if len(v) > size && v[0] == 0 {
				v = v[1:]
			}
			if len(v) == 0 || len(v) > size {
				return refuse(syscall.EINVAL, "ecdsa_get_signature_rs", "a number of the ECDSA signature is empty or too large")
			}
			into.SetBytes(v)
			return nil
		}
	}
	err = ber.Decode(der, func(d *ber.Decoder) {
		d.Need(ber.Compound(ber.TagSequence, func() {
			d.Need(ber.Leaf(ber.TagInteger, read(r)))
			d.Need(ber.Leaf(ber.TagInteger, read(s)))
		}, nil))
	})
	return r, s, err
}

// verifyMLDSA is mldsa_verify behind crypto_mldsa_set_pub_key. A malformed
// signature, EBADMSG there, is told from a wrong one only by its length.
func (k *Kernel) verifyMLDSA(key *publicKey, s *signature) error {
	if !s.unhashed && s.hash != nil && s.hash.name != "sha512" {
		return refuse(syscall.EINVAL, "software_key_determine_akcipher", "the kernel verifies ML-DSA over signed attributes only with sha512, not with %s", s.hash.name)
	}
	if !k.finds(k.hasMLDSA) {
		return refuse(syscall.ENOENT, verifyFunction, "kernel %s is built without ML-DSA, as Debian's are", k.title())
	}
	parameters := map[keyKind]mldsa.Parameters{"mldsa44": mldsa.MLDSA44(), "mldsa65": mldsa.MLDSA65(), "mldsa87": mldsa.MLDSA87()}[key.kind]
	public, err := mldsa.NewPublicKey(parameters, key.raw)
	if err != nil {
		return refuse(syscall.EINVAL, "crypto_mldsa_set_pub_key", "the ML-DSA key is not as long as one of its kind")
	}
	if len(s.value) != parameters.SignatureSize() {
		return refuse(syscall.EBADMSG, "mldsa_verify", "the signature is not as long as one of %v", parameters)
	}
	mu := fips204.NewMu(public)
	if err := s.write(mu); err != nil {
		return err
	}
	if !fips204.VerifyMu(public, mu.Sum(nil), s.value) {
		return errMismatch
	}
	return nil
}

// curveOf returns nil for P-192, which crypto/elliptic lacks.
func curveOf(oid string) elliptic.Curve { return scheme.CurveByOID(objectIdentifier(oid)) }
