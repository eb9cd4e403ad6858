package keys_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/keys"
	"sign-file/test/keystest"
	"sign-file/test/testenv"
)

func TestFilesSign(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rsa2048", "p256", "p521"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := "../testdata/keys/" + name + ".key"
			key, err := keys.Open(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer key.Close()
			judge := keystest.NewJudge(t, path)
			judge.CheckSigner(key, key.Public())
			if strings.HasPrefix(name, "rsa") {
				judge.CheckSM3(key)
			}
		})
	}
}

func TestGeneratedKeysSign(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"rsa:2048", "ec:p384"} {
		key, err := keys.Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		file, err := keys.MarshalPEM(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		keystest.NewJudge(t, path).CheckSigner(key, key.Public())
	}
}

// A command is told hash and digest in whichever form the key is asked.
func TestCommandsSign(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "xxd")
	for _, name := range []string{"rsa2048", "p256"} {
		t.Run(name, func(t *testing.T) {
			path, err := filepath.Abs("../testdata/keys/" + name + ".key")
			if err != nil {
				t.Fatal(err)
			}
			script := filepath.Join(t.TempDir(), "sign")
			text := "#!/bin/bash\nread -r hash digest\nexec openssl pkeyutl -sign -inkey \"$1\" -pkeyopt \"digest:$hash\" -in <(xxd -r -p <<<\"$digest\")\n"
			if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			key, err := keys.Open(t.Context(), "exec:"+script+" "+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer key.Close()
			file, err := keys.Open(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			keystest.NewJudge(t, path).CheckSigner(key, file.Public())
		})
	}
}
