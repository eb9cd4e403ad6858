package kernel

import (
	"os/exec"
	"path/filepath"
	"testing"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/test/kernel/vector"
	"sign-file/test/testenv"
)

// displaced asks about keyrings whose certificates the kernel describes itself: a later one
// takes the place of an earlier of the same description.
func (b *bench) displaced() {
	const keyID = "4242"
	rsa := []string{"rsa2048", "/CN=TT", "1", keyID}
	for name, second := range map[string][]string{
		"renewed":         {"rsa2048", "/CN=TT", "2", keyID},
		"another key":     {"rsa3072", "/CN=TT", "2", keyID},
		"the same number": {"rsa3072", "/CN=TT", "1", keyID},
		"a unit more":     {"rsa3072", "/OU=unit/CN=TT", "2", keyID},
		"an organization": {"rsa3072", "/O=TT/CN=TT", "2", keyID},
		"another name":    {"rsa3072", "/CN=UU", "2", keyID},
		"no identifier":   {"rsa3072", "/CN=TT", "0x4242", "none"},
	} {
		name = "displaced: " + name
		data := []byte("the signed data")
		ring, wanted := &kernel.Ring{}, vector.Keyring{Name: name, Undescribed: true}
		var trusted []*certificate.Certificate
		var messages [][]byte
		for _, c := range [][]string{rsa, second} {
			path := makeCertificate(b.T, c[0], c[1], c[2], c[3])
			parsed, err := certificate.First(read(b.T, path))
			if err != nil {
				b.Fatal(err)
			}
			trusted, wanted.Certificates = append(trusted, parsed), append(wanted.Certificates, parsed.Raw)
			messages = append(messages, signCMS(b.T, data, "-noattr", "-nocerts", "-signer", path, "-inkey", absolute(b.T, c[0]+".key")))
		}
		ring.AddTo(kernel.Named, trusted...)
		b.keyrings = append(b.keyrings, wanted)
		b.rings[name] = kernel.NewJudge(b.rings["nobody"].Kernel(), ring, kernel.MapValue)
		for i, message := range messages {
			b.message(vector.Vector{Name: sprint(name, ", signed by ", i), Kind: vector.Detached, Data: data, Signature: message, Keyring: name})
		}
	}
}

// makeCertificate has OpenSSL make one for a test key, and returns its path.
func makeCertificate(t testing.TB, key, subject, serial, keyID string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certificate.pem")
	cmd := exec.Command(testenv.Tool(t, "openssl"), "req", "-x509", "-new", "-key", absolute(t, key+".key"), "-sha256", "-days", "3650", "-subj", subject, "-set_serial", serial,
		"-config", "/dev/null", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "authorityKeyIdentifier=none", "-addext", "subjectKeyIdentifier="+keyID, "-out", path)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
	return path
}

func absolute(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../testdata/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
