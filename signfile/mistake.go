package signfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"slices"

	"filippo.io/mldsa"

	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/internal/scheme"
)

// Mistake says in words why a signature value that was made elsewhere is not one of this
// content by the certificate's key, as far as the value itself tells. It is for a value
// that the Signer has refused; the content is read to its end.
func (s *Signer) Mistake(value []byte, content io.Reader) (string, error) {
	sums, err := sumsOf(content)
	if err != nil {
		return "", err
	}
	if what := sums.find(value); what != "" {
		return "it is " + what + ", which is what has to be signed, and no signature", nil
	}
	switch key := s.public.(type) {
	case *rsa.PublicKey:
		return s.mistakeRSA(key, value, sums), nil
	case *ecdsa.PublicKey:
		return s.mistakeECDSA(scheme.ECDSAInDER(key, value), sums), nil
	case *mldsa.PublicKey:
		if want := key.Parameters().SignatureSize(); len(value) != want {
			return fmt.Sprintf("it has %d bytes, and a value of %v %d", len(value), key.Parameters(), want), nil
		}
		return "another key has signed, or mu was signed as if it were the file (pkeyutl -pkeyopt mu:1), or something else was", nil
	}
	return unknownMistake, nil
}

const unknownMistake = "another key has signed, or something else than this file"

// sums are the digests of one content by all algorithms.
type sums []sum

type sum struct {
	algorithm *digest.Algorithm
	digest    []byte
}

func sumsOf(content io.Reader) (sums, error) {
	var all sums
	var hashes []io.Writer
	var finish []func()
	for _, a := range digest.All() {
		h := a.New()
		i := len(all)
		all, hashes = append(all, sum{algorithm: a}), append(hashes, h)
		finish = append(finish, func() { all[i].digest = h.Sum(nil) })
	}
	if _, err := io.Copy(io.MultiWriter(hashes...), content); err != nil {
		return nil, err
	}
	for _, f := range finish {
		f()
	}
	return all, nil
}

// find names bytes that are a digest of the content, or a form of one.
func (all sums) find(b []byte) string {
	for _, s := range all {
		switch {
		case bytes.Equal(b, s.digest):
			return "the " + s.algorithm.Name() + " digest"
		case bytes.Equal(b, s.algorithm.DigestInfo(s.digest)):
			return "the DigestInfo of " + s.algorithm.Name()
		case string(bytes.TrimSpace(b)) == hex.EncodeToString(s.digest):
			return "the " + s.algorithm.Name() + " digest in hexadecimal"
		}
	}
	return ""
}

// again are the digests that come of hashing a digest once more, which services do that
// take it for the file.
func (all sums) again() []sum {
	var twice []sum
	for _, s := range all {
		text := hex.EncodeToString(s.digest)
		for _, form := range [][]byte{s.digest, s.algorithm.DigestInfo(s.digest), []byte(text), []byte(text + "\n")} {
			for _, second := range all {
				h := second.algorithm.New()
				h.Write(form)
				twice = append(twice, sum{second.algorithm, h.Sum(nil)})
			}
		}
	}
	return twice
}

const hashedTwice = "the digest was hashed once more before it was signed: tell the service that it gets a digest, or give it the file"

// mistakeRSA looks into the block that the public key recovers from the value.
func (s *Signer) mistakeRSA(key *rsa.PublicKey, value []byte, all sums) string {
	opened := new(big.Int).SetBytes(value)
	switch {
	case len(value) != key.Size():
		return fmt.Sprintf("it has %d bytes, and a value of %s %d", len(value), certificate.KeyName(key), key.Size())
	case opened.Cmp(key.N) >= 0:
		return "another key has signed"
	}
	block := opened.Exp(opened, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
	inside, padded := unpad(block)
	if !padded {
		if what := all.find(bytes.TrimLeft(block, "\x00")); what != "" {
			return what + " was signed without any padding, and the kernel verifies PKCS#1 v1.5 (CKM_RSA_PKCS, and not CKM_RSA_X_509)"
		}
		if block[len(block)-1] == 0xbc { // RFC 8017, section 9.1.1
			return "it is an RSA-PSS signature, and the kernel verifies PKCS#1 v1.5"
		}
		return "another key has signed"
	}
	wanted := s.options.Digest
	if algorithm, signed, err := digest.ParseDigestInfo(inside); err == nil {
		if what := all.find(signed); what != "" && algorithm != wanted {
			return fmt.Sprintf("it was signed with %s and not with %s (--hash %s)", algorithm.Name(), wanted.Name(), algorithm.Name())
		}
		if slices.ContainsFunc(all.again(), func(s sum) bool { return bytes.Equal(s.digest, signed) }) {
			return hashedTwice
		}
		return "the right key has signed another file"
	}
	if what := all.find(inside); what != "" {
		return what + " was signed without a DigestInfo around it (sign-file digest --format digestinfo writes it)"
	}
	return "the right key has signed something that is no DigestInfo"
}

// unpad takes the padding of EMSA-PKCS1-v1_5 off (RFC 8017, section 9.2).
func unpad(block []byte) (inside []byte, ok bool) {
	body, ok := bytes.CutPrefix(block, []byte{0, 1})
	if !ok {
		return nil, false
	}
	inside, ok = bytes.CutPrefix(bytes.TrimLeft(body, "\xff"), []byte{0})
	return inside, ok
}

// mistakeECDSA has no block to look into, and tries.
func (s *Signer) mistakeECDSA(value []byte, all sums) string {
	verifies := func(b []byte) bool {
		return s.options.Certificate.CheckSignature(s.options.Digest, b, value) == nil
	}
	for _, one := range all {
		if verifies(one.digest) {
			return fmt.Sprintf("it was signed with %s and not with %s (--hash %s)", one.algorithm.Name(), s.options.Digest.Name(), one.algorithm.Name())
		}
	}
	if slices.ContainsFunc(all.again(), func(s sum) bool { return verifies(s.digest) }) {
		return hashedTwice
	}
	return unknownMistake
}
