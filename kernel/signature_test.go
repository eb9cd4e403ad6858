package kernel

import (
	"crypto/sha256"
	"math/big"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sign-file/digest"
)

// rsaPublicKey is an RSAPublicKey as somebody may write it: zeros are put before the modulus.
func rsaPublicKey(n, e *big.Int, zeros int) *publicKey {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(make([]byte, zeros), n.Bytes())) })
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(e.Bytes()) })
	})
	return &publicKey{kind: kindRSA, raw: b.BytesOrPanic()}
}

// TestOddRSA: fixed points of every key, and numbers that the kernel does not read. The
// errnos are those of a running 6.18.44, asked with the same keys and values by keyctl.
func TestOddRSA(t *testing.T) {
	sum := sha256.Sum256([]byte("data"))
	info := digest.SHA256.DigestInfo(sum[:])
	padded := slices.Concat([]byte{0, 1}, slices.Repeat([]byte{0xff}, 256-3-len(info)), []byte{0}, info)
	emsa, one := new(big.Int).SetBytes(padded), big.NewInt(1)
	more := func(by int64) *big.Int { return new(big.Int).Add(emsa, big.NewInt(by)) }
	bits := func(n uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(n-1), 1) }
	n2048 := new(big.Int).Sub(new(big.Int).Lsh(one, 2048), one)
	for name, c := range map[string]struct {
		key    *publicKey
		value  *big.Int
		errnos map[string]syscall.Errno
	}{
		"n-1":           {rsaPublicKey(more(1), big.NewInt(3), 0), emsa, map[string]syscall.Errno{"6.1": 0, "6.8": 0, "6.9": syscall.EINVAL, "6.18": syscall.EINVAL, "7.3": syscall.EINVAL}},
		"n-2":           {rsaPublicKey(more(2), one, 0), emsa, map[string]syscall.Errno{"6.1": 0, "6.18": 0}},
		"one":           {rsaPublicKey(n2048, big.NewInt(3), 0), one, map[string]syscall.Errno{"6.1": syscall.EBADMSG, "6.18": syscall.EINVAL}},
		"exponent":      {rsaPublicKey(n2048, bits(16385), 3000), big.NewInt(2), map[string]syscall.Errno{"6.1": syscall.ENOMEM, "6.18": syscall.ENOMEM}},
		"long exponent": {rsaPublicKey(n2048, bits(240000), 30000), big.NewInt(2), map[string]syscall.Errno{"6.18": syscall.ENOMEM}},
		"modulus":       {rsaPublicKey(bits(16385), big.NewInt(3), 0), big.NewInt(2), map[string]syscall.Errno{"6.1": syscall.ENOMEM, "6.18": syscall.ENOMEM}},
		"long modulus":  {rsaPublicKey(bits(16384), big.NewInt(3), 0), big.NewInt(2), map[string]syscall.Errno{"6.1": syscall.EINVAL, "6.18": syscall.EINVAL}},
	} {
		for release, want := range c.errnos {
			k, err := Of(release)
			if err != nil {
				t.Fatal(err)
			}
			s := &signature{kind: kindRSA, hash: k.hash(oidSHA256), value: c.value.FillBytes(make([]byte, 256)), sum: func() ([]byte, error) { return sum[:], nil }}
			got := syscall.Errno(0)
			if err := k.verifySignature(c.key, s); err != nil {
				got = RefusalOf(err).Errno
			}
			if got != want {
				t.Errorf("%s, %s: %v, want %v", name, release, got, want)
			}
		}
	}
}
