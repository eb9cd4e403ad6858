package test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// TestKeyAdvice follows the advice about key files that can't be read: the command is
// run as it is written, and signs with what comes of it.
func TestKeyAdvice(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "iconv")
	dir := t.TempDir()
	rsa := newKeyPair(t, dir, "-nodes")
	legacy := " -provider legacy -provider default"
	for name, line := range map[string]string{
		"camellia":     "openssl pkcs8 -topk8 -v2 camellia-256-cbc -in KEY -out OLD -passout env:PIN",
		"aria":         "openssl pkcs8 -topk8 -v2 aria-128-cbc -in KEY -out OLD -passout env:PIN",
		"sm4":          "openssl pkcs8 -topk8 -v2 sm4-cbc -in KEY -out OLD -passout env:PIN",
		"cfb":          "openssl pkcs8 -topk8 -v2 aes-256-cfb -in KEY -out OLD -passout env:PIN",
		"md5-des":      "openssl pkcs8 -topk8 -v1 PBE-MD5-DES -in KEY -out OLD -passout env:PIN" + legacy,
		"rc2-40":       "openssl pkcs8 -topk8 -v1 PBE-SHA1-RC2-40 -in KEY -out OLD -passout env:PIN" + legacy,
		"rc4-128":      "openssl pkcs8 -topk8 -v1 PBE-SHA1-RC4-128 -in KEY -out OLD -passout env:PIN" + legacy,
		"seed":         "openssl rsa -traditional -seed -in KEY -out OLD -passout env:PIN" + legacy,
		"des":          "openssl rsa -traditional -des -in KEY -out OLD -passout env:PIN" + legacy,
		"camellia.p12": "openssl pkcs12 -export -inkey KEY -in KEY -out OLD -keypbe camellia-256-cbc -passout env:PIN",
		"rc2-40.p12":   "openssl pkcs12 -export -legacy -inkey KEY -in KEY -out OLD -keypbe PBE-SHA1-RC2-40 -passout env:PIN",
		"utf16":        "iconv -f UTF-8 -t UTF-16 KEY > OLD",
	} {
		t.Run(name, func(t *testing.T) { followAdvice(t, line, rsa, true) })
	}
	ec := newKeyPair(t, mkdir(t, dir+"/ec"), "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	t.Run("explicit curve", func(t *testing.T) {
		followAdvice(t, "openssl ec -param_enc explicit -in KEY -out OLD", ec, false)
	})
}

var advisedCommand = regexp.MustCompile(`with: ((?:openssl|iconv) .*)\)\n`)

func followAdvice(t *testing.T, line string, pair keyPair, isRSA bool) {
	dir := t.TempDir()
	old, fresh, signed := filepath.Join(dir, "old key"), filepath.Join(dir, "new"), filepath.Join(dir, "signed.ko")
	files := strings.NewReplacer("KEY", pair.key, "OLD", "'"+old+"'", "NEW", fresh)
	env := []string{"PIN=" + passphrase, "KBUILD_SIGN_PIN=" + passphrase}
	mustRun(t, env, "sh", "-c", files.Replace(line))

	out, err := run(t, env, program(t), "sha256", old, pair.cert, "../testdata/hello.ko", signed)
	match := advisedCommand.FindStringSubmatch(out)
	if err == nil || match == nil || strings.Count(out, "old key") != 1 {
		t.Fatalf("no advice: %v\n%s", err, out)
	}
	command := files.Replace(match[1])
	if strings.Contains(command, "openssl pkcs") {
		command += " -passin env:PIN -passout env:PIN" // and not at a terminal
	}
	mustRun(t, env, "sh", "-c", command)
	mustRun(t, env, program(t), "sha256", fresh, pair.cert, "../testdata/hello.ko", signed)
	if isRSA {
		checkSigned(t, signed, "../testdata/hello.ko", "sha256", pair)
	}
}

// TestNoModuleAdvice: nobody is told to sign what is no module.
func TestNoModuleAdvice(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "passwd")
	writeFile(t, text, strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 9), 0o644)
	out, err := run(t, nil, program(t), "verify", "--kernel", "7.0", "--trusted", keys+"/rsa2048.x509", text)
	if err == nil || strings.Contains(out, "sign it") || !strings.Contains(out, "to do: name a module") {
		t.Errorf("%v\n%s", err, out)
	}
}
