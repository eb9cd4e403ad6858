package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sign-file/certificate"
	"sign-file/test/kernel/vector"
	"sign-file/test/testenv"
)

// undigested asks about messages that bring certificates along which are signed with
// hashes that some of the kernels lack: an authority's, and one below that.
func (b *bench) undigested() {
	data := []byte("the signed data")
	for _, key := range []string{"rsa2048", "p384"} {
		for _, hash := range []string{"sha512", "sha3-256"} {
			a := authority{b.T, b.TempDir()}
			root := absolute(b.T, key)
			a.issue("middle", root, key, hash)
			a.issue("leaf", "middle", key, "sha256")
			a.issue("other leaf", root, key, "sha256")
			a.issue("strong leaf", "other leaf", key, hash)
			ring := "undigested: " + key + " " + hash
			c, err := certificate.First(read(b.T, root+".pem"))
			if err != nil {
				b.Fatal(err)
			}
			b.ring(b.rings["nobody"].Kernel(), ring, c.Raw)
			for _, chain := range [][]string{{"middle"}, {"leaf", "middle"}, {"other leaf"}, {"strong leaf", "other leaf"}, {"strong leaf"}} {
				v := vector.Vector{Kind: vector.Detached, Data: data, Signature: a.sign(data, chain...)}
				for _, v.Keyring = range []string{ring, "nobody"} {
					v.Name = sprint(ring, " ", chain, " by ", v.Keyring)
					b.message(v)
				}
			}
		}
	}
}

// authority makes certificates by OpenSSL in a folder.
type authority struct {
	testing.TB
	dir string
}

func (a authority) run(arguments ...string) {
	a.Helper()
	cmd := exec.Command(testenv.Tool(a, "openssl"), arguments...)
	cmd.Dir = a.dir
	if output, err := cmd.CombinedOutput(); err != nil {
		a.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
}

// issue makes a certificate with a new key of the type of a test key. The issuer is one of
// the folder's, or a test key's by its path.
func (a authority) issue(name, issuer, key, hash string) {
	a.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, "extensions"), []byte("subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"), 0o600); err != nil {
		a.Fatal(err)
	}
	generate := []string{"genpkey", "-out", name + ".key", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}
	if key == "p384" {
		generate = []string{"genpkey", "-out", name + ".key", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"}
	}
	a.run(generate...)
	a.run("req", "-new", "-key", name+".key", "-subj", "/CN="+name, "-out", name+".csr")
	a.run("x509", "-req", "-in", name+".csr", "-CA", issuer+".pem", "-CAkey", issuer+".key", "-set_serial", "7", "-days", "3650", "-"+hash, "-extfile", "extensions", "-out", name+".pem")
}

// sign has the first of some certificates sign data, and puts all of them into the message.
func (a authority) sign(data []byte, chain ...string) []byte {
	a.Helper()
	options := []string{"-noattr", "-signer", filepath.Join(a.dir, chain[0]+".pem"), "-inkey", filepath.Join(a.dir, chain[0]+".key")}
	for _, name := range chain[1:] {
		options = append(options, "-certfile", filepath.Join(a.dir, name+".pem"))
	}
	return signCMS(a, data, options...)
}
