package rsalanes_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"sign-file/digest"
	"sign-file/internal/rsalanes"
	"sign-file/test/testenv"
)

// instructions are those of this processor.
func instructions(t testing.TB) []rsalanes.Instructions {
	t.Helper()
	switch rsalanes.Best() {
	case rsalanes.IFMA:
		return []rsalanes.Instructions{rsalanes.AVX2, rsalanes.IFMA}
	case rsalanes.AVX2:
		t.Log("a processor with AVX-512 IFMA is missing: its code is not tested")
		return []rsalanes.Instructions{rsalanes.AVX2}
	}
	t.Skip("a processor with AVX2 is missing")
	return nil
}

var sizes = []int{2048, 3072, 4096}

func newKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// each runs a test with a key for each of the instructions.
func each(t *testing.T, private *rsa.PrivateKey, test func(t *testing.T, key *rsalanes.Key)) {
	t.Helper()
	for _, i := range instructions(t) {
		t.Run(string(i), func(t *testing.T) {
			key, err := rsalanes.NewKey(rsalanes.NumbersOf(private), i)
			if err != nil {
				t.Fatal(err)
			}
			test(t, key)
		})
	}
}

// RSA PKCS#1 v1.5 has one right answer, which crypto/rsa gives too.
func TestSign(t *testing.T) {
	for _, bits := range sizes {
		private := newKey(t, bits)
		each(t, private, func(t *testing.T, key *rsalanes.Key) {
			for count := 1; count <= 6; count++ {
				infos := make([][]byte, count)
				for i := range infos {
					infos[i] = make([]byte, 51+i)
					rand.Read(infos[i])
				}
				got, err := key.SignBatch(infos)
				if err != nil {
					t.Fatalf("%d bits, %d at once: %v", bits, count, err)
				}
				for i, info := range infos {
					want, err := private.Sign(nil, info, crypto.Hash(0))
					if err != nil || !bytes.Equal(got[i], want) {
						t.Errorf("%d bits, %d of %d: %v", bits, i, count, err)
					}
				}
			}
		})
	}
}

// OpenSSL verifies what is signed here.
func TestOpenSSL(t *testing.T) {
	openssl := testenv.Tool(t, "openssl")
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096"} {
		block, _ := pem.Decode(read(t, "../../testdata/keys/"+name+".key"))
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		each(t, parsed.(*rsa.PrivateKey), func(t *testing.T, key *rsalanes.Key) {
			dir := t.TempDir()
			text := []byte("what OpenSSL reads")
			sum := sha256.Sum256(text)
			signature, err := key.Sign(digest.SHA256.DigestInfo(sum[:]))
			if err != nil {
				t.Fatal(err)
			}
			for file, content := range map[string][]byte{"text": text, "signature": signature} {
				if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(openssl, "dgst", "-sha256", "-prverify", absolute(t, "../../testdata/keys/"+name+".key"), "-signature", "signature", "text")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", name, err, out)
			}
		})
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Project Wycheproof's signatures, made by others with odd keys among the usual ones.
func TestWycheproof(t *testing.T) {
	judged := 0
	for _, file := range []string{"rsa_pkcs1_2048_sig_gen_test.json", "rsa_pkcs1_3072_sig_gen_test.json", "rsa_pkcs1_4096_sig_gen_test.json"} {
		var v struct {
			TestGroups []struct {
				PrivateKeyPkcs8 string
				Sha             string
				Tests           []struct {
					TcID     int
					Msg, Sig string
				}
			}
		}
		testenv.Wycheproof(t, file, &v)
		for _, g := range v.TestGroups {
			der, err := hex.DecodeString(g.PrivateKeyPkcs8)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				continue
			}
			algorithm, err := digest.Lookup(g.Sha)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range instructions(t) {
				key, err := rsalanes.NewKey(rsalanes.NumbersOf(parsed.(*rsa.PrivateKey)), i)
				if err != nil {
					continue // crypto/rsa signs with these
				}
				for _, c := range g.Tests {
					msg, _ := hex.DecodeString(c.Msg)
					h := algorithm.New()
					h.Write(msg)
					got, err := key.Sign(algorithm.DigestInfo(h.Sum(nil)))
					if err != nil || hex.EncodeToString(got) != c.Sig {
						t.Errorf("%s, %d, %s: %v", file, c.TcID, i, err)
					}
					judged++
				}
			}
		}
	}
	if judged < 80 {
		t.Errorf("%d vectors, want more", judged)
	}
}

// Many goroutines share a signer, and each gets its own signature.
func TestSigner(t *testing.T) {
	private := newKey(t, 2048)
	for _, i := range instructions(t) {
		t.Run(string(i), func(t *testing.T) {
			signer, err := rsalanes.NewSigner(rsalanes.NumbersOf(private), i, func() (*rsa.PrivateKey, error) { return private, nil })
			if err != nil {
				t.Fatal(err)
			}
			shared(t, private, signer)
		})
	}
}

func shared(t *testing.T, private *rsa.PrivateKey, signer *rsalanes.Signer) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			info := bytes.Repeat([]byte{byte(i)}, 19+i)
			want, err := private.Sign(nil, info, crypto.Hash(0))
			if err != nil {
				t.Error(err)
			}
			got, err := signer.Sign(info)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := signer.Faults(); n != 0 {
		t.Errorf("%d faults", n)
	}
	if _, err := signer.Sign(make([]byte, 250)); err == nil {
		t.Error("a DigestInfo that does not fit is signed")
	}
}

func BenchmarkSign(b *testing.B) {
	for _, bits := range sizes {
		private := newKey(b, bits)
		info := make([]byte, 83)
		run := func(name string, sign func()) {
			b.Run(fmt.Sprintf("%d/%s", bits, name), func(b *testing.B) {
				for b.Loop() {
					sign()
				}
			})
		}
		run("crypto/rsa", func() { private.Sign(nil, info, crypto.Hash(0)) })
		for _, i := range instructions(b) {
			key, err := rsalanes.NewKey(rsalanes.NumbersOf(private), i)
			if err != nil {
				b.Fatal(err)
			}
			run(string(i), func() { key.Sign(info) })
			if n := key.Batch(); n > 1 {
				run(fmt.Sprintf("%s, %d at once", i, n), func() { key.SignBatch(slices.Repeat([][]byte{info}, n)) })
			}
		}
	}
}
