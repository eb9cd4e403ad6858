package test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"

	"sign-file/test/testenv"
)

// Keys of which the real sign-file makes a signature that OpenSSL accepts, and that
// are refused here: the kernel knows none of them but the last, and no Go library that.
func TestRefusedKeys(t *testing.T) {
	t.Parallel()
	for name, generate := range map[string]string{
		"other curve":         "EC -pkeyopt group:P-192",
		"binary curve":        "EC -pkeyopt group:sect283k1",
		"explicit parameters": "EC -pkeyopt group:P-256 -pkeyopt ec_param_enc:explicit",
		"compressed point":    "EC -pkeyopt group:P-256 | openssl ec -conv_form compressed",
		"large exponent":      "RSA -pkeyopt rsa_keygen_pubexp:4294967297",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testenv.Tool(t, "openssl")
			w := newWorkshop(t, t.TempDir(), 5000)
			key, cert := w.path("a.key"), w.path("a.pem")
			mustRun(t, nil, "sh", "-c", "openssl genpkey -algorithm "+generate+" >"+key)
			mustRun(t, nil, "openssl", "req", "-new", "-x509", "-subj", "/CN=odd", "-key", key, "-out", cert)
			mustRun(t, nil, testenv.SignFile(t), "-d", "sha256", key, cert, w.path("m.ko"))
			if err := verifyMessage(t, readFile(t, w.path("m.ko.p7s")), w.module, cert, "sha256"); err != nil {
				t.Error(err)
			}

			out, err := w.program("sha256", "a.key", "a.pem", "m.ko", "out.ko")
			w.fails(out, err, "a.")
			w.holds("m.ko", w.module)
			w.only("m.ko", "m.ko.p7s", "a.key", "a.pem")
		})
	}
}

// A key whose numbers do not belong together signs nothing, and the error names its file.
func TestDamagedKey(t *testing.T) {
	t.Parallel()
	two := big.NewInt(2)
	for name, damage := range map[string]func(*rsaPrivateKey){
		"prime":       func(k *rsaPrivateKey) { k.P.Add(k.P, two) },
		"exponent":    func(k *rsaPrivateKey) { k.Dp.Add(k.Dp, two) },
		"coefficient": func(k *rsaPrivateKey) { k.QInv.Add(k.QInv, two) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t, t.TempDir(), 5000)
			block, _ := pem.Decode(readFile(t, w.key()))
			whole, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			var numbers rsaPrivateKey
			if _, err := asn1.Unmarshal(x509.MarshalPKCS1PrivateKey(whole.(*rsa.PrivateKey)), &numbers); err != nil {
				t.Fatal(err)
			}
			damage(&numbers)
			der, err := asn1.Marshal(numbers)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, w.path("a.key"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})), 0o600)
			out, err := w.program("sha256", "a.key", w.cert(), "m.ko")
			w.fails(out, err, "") // first of the key's file or, where the key is found out later, of the module
			checkLog(t, out, "a.key: malformed private key")
			w.holds("m.ko", w.module)
			w.only("m.ko", "a.key")
		})
	}
}

// rsaPrivateKey is RFC 8017, appendix A.1.2.
type rsaPrivateKey struct {
	Version               int
	N                     *big.Int
	E                     int
	D, P, Q, Dp, Dq, QInv *big.Int
}
