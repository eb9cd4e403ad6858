package keystest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sign-file/test/testenv"
)

// PIN is that of the tokens that NewToken makes.
const PIN = "1234"

// NewToken makes a SoftHSM token with keys of testdata, labelled with their names, and
// has this process use it.
func NewToken(t *testing.T, testdata string, names ...string) {
	t.Helper()
	util := testenv.Tool(t, "softhsm2-util")
	found, _ := filepath.Glob("/usr/lib/*/softhsm/libsofthsm2.so")
	if len(found) == 0 {
		testenv.Missing(t, "libsofthsm2.so")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("PKCS11_PROVIDER_MODULE", found[0])
	runTool(t, util, "--init-token", "--free", "--label", "vault", "--pin", PIN, "--so-pin", "5678")
	for i, name := range names {
		runTool(t, util, "--import", filepath.Join(testdata, "keys", name+".key"), "--token", "vault",
			"--label", name, "--id", fmt.Sprintf("%02x", i), "--pin", PIN)
	}
}

func runTool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
