package test

import (
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
