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
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"sign-file/digest"
	"sign-file/internal/rsalanes"
	"sign-file/test/testenv"
)

func needIFMA(t testing.TB) {
	t.Helper()
	if !rsalanes.Supported() {
		t.Skip("a processor with AVX-512 IFMA is missing")
	}
}

var sizes = []int{2048, 3072, 4096}

func newKey(t testing.TB, bits int) (*rsa.PrivateKey, *rsalanes.Key) {
	t.Helper()
	needIFMA(t)
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsalanes.NewKey(rsalanes.NumbersOf(private))
	if err != nil {
		t.Fatal(err)
	}
	return private, key
}

// RSA PKCS#1 v1.5 has one right answer, which crypto/rsa gives too.
func TestSign(t *testing.T) {
	for _, bits := range sizes {
		private, key := newKey(t, bits)
		for batch := 1; batch <= rsalanes.Batch; batch++ {
			infos := make([][]byte, batch)
			for i := range infos {
				infos[i] = make([]byte, 51+i)
				rand.Read(infos[i])
			}
			got, err := key.SignBatch(infos)
			if err != nil {
				t.Fatalf("%d bits, %d at once: %v", bits, batch, err)
			}
			for i, info := range infos {
				want, err := private.Sign(nil, info, crypto.Hash(0))
				if err != nil || !bytes.Equal(got[i], want) {
					t.Errorf("%d bits, %d of %d: %v", bits, i, batch, err)
				}
			}
		}
	}
}

// OpenSSL verifies what is signed here.
func TestOpenSSL(t *testing.T) {
	needIFMA(t)
	openssl := testenv.Tool(t, "openssl")
	for _, name := range []string{"rsa2048", "rsa3072", "rsa4096"} {
		block, _ := pem.Decode(read(t, "../../testdata/keys/"+name+".key"))
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		key, err := rsalanes.NewKey(rsalanes.NumbersOf(parsed.(*rsa.PrivateKey)))
		if err != nil {
			t.Fatal(err)
		}
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
	needIFMA(t)
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
			key, err := rsalanes.NewKey(rsalanes.NumbersOf(parsed.(*rsa.PrivateKey)))
			if err != nil {
				continue // crypto/rsa signs with these
			}
			algorithm, err := digest.Lookup(g.Sha)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range g.Tests {
				msg, _ := hex.DecodeString(c.Msg)
				h := algorithm.New()
				h.Write(msg)
				got, err := key.Sign(algorithm.DigestInfo(h.Sum(nil)))
				if err != nil || hex.EncodeToString(got) != c.Sig {
					t.Errorf("%s, %d: %v", file, c.TcID, err)
				}
				judged++
			}
		}
	}
	if judged < 80 {
		t.Errorf("%d vectors, want more", judged)
	}
}

// Many goroutines share a signer, and each gets its own signature.
func TestSigner(t *testing.T) {
	private, _ := newKey(t, 2048)
	signer, err := rsalanes.NewSigner(rsalanes.NumbersOf(private), func() (*rsa.PrivateKey, error) { return private, nil })
	if err != nil {
		t.Fatal(err)
	}
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
		private, key := newKey(b, bits)
		info := make([]byte, 83)
		b.Run("std", func(b *testing.B) {
			for b.Loop() {
				private.Sign(nil, info, crypto.Hash(0))
			}
		})
		b.Run("alone", func(b *testing.B) {
			for b.Loop() {
				key.Sign(info)
			}
		})
		b.Run("four", func(b *testing.B) {
			for b.Loop() {
				key.SignBatch([][]byte{info, info, info, info})
			}
		})
	}
}
