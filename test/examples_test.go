package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// pkeyutl signs the digest in the file "digest" with the key in the variable key.
const pkeyutl = `openssl pkeyutl -sign -inkey "$key" -pkeyopt "digest:$hash" -in digest`

// services are stand-ins for the clients of signing services: each takes the request that
// the service's reference documents, nothing else, and answers as it says.
var services = map[string]struct {
	client, script string
	words          func(kind string) string // after the example's name
}{
	// kms:Sign: Message is a blob, Signature base64 of PKCS #1 or of DER.
	"sign-aws-kms": {"aws", `
[ "$1 $2 $3 $4 $5 $7 $8 $9 ${10} ${11} ${12} ${13} ${14}" = "kms sign --key-id alias/modules --signing-algorithm --message-type DIGEST --message fileb:///dev/stdin --query Signature --output text" ] || exit 3
case $6 in RSASSA_PKCS1_V1_5_SHA_*) ;; ECDSA_SHA_*) ;; *) exit 4 ;; esac
hash=sha${6##*_}
cat >digest
` + pkeyutl + ` | base64 -w0`, func(kind string) string { return "alias/modules " + kind }},

	// keys/sign: value is base64url in both directions; ECDSA is r followed by s.
	"sign-azure": {"az", `
[ "$1 $2 $3 $4 $5 $6 $7" = "rest --method post --resource https://vault.azure.net --url https://v.vault.azure.net/keys/modules/1/sign?api-version=7.4" ] || exit 3
[ "${10} ${11} ${12} ${13}" = "--query value --output tsv" ] || exit 4
alg=$(jq -r .alg <<<"$9") value=$(jq -r .value <<<"$9")
hash=sha${alg#?S}
case $value in *[+/=]*) exit 5 ;; esac
while [ $((${#value} % 4)) -ne 0 ]; do value+="="; done
tr -- '-_' '+/' <<<"$value" | base64 -d >digest
answer() { base64 -w0 | tr '+/' '-_' | tr -d =; }
case $alg in
RS*) ` + pkeyutl + ` | answer ;;
ES*) ` + pkeyutl + ` | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p' | while read -r n; do printf "%096s" "$n" | tr ' ' 0; done | basenc --base16 -d | answer ;;
esac`, func(kind string) string { return "https://v.vault.azure.net/keys/modules/1 " + kind }},

	// asymmetricSign: digest.sha256 and signature in base64; ECDSA is DER. A token is no argument.
	"sign-google-kms": {"curl", `
[ "$1 $2 $3 $4 $6 $7 $8 ${10}" = "--silent --show-error --fail --header --header Content-Type: application/json --data https://cloudkms.googleapis.com/v1/projects/p:asymmetricSign" ] || exit 3
[ "$(cat "${5#@}")" = "Authorization: Bearer a-token" ] || exit 4
hash=$(jq -r '.digest | keys[0]' <<<"$9")
jq -r '.digest[]' <<<"$9" | base64 -d >digest
printf '{"signature": "%s", "name": "projects/p"}' "$(` + pkeyutl + ` | base64 -w0)"`,
		func(string) string { return "projects/p" }},

	// transit/sign/:name/:hash: vault:v1: and base64.
	"sign-vault": {"vault", `
[ "$1 $2 $4 $5 $6" = "write -field=signature prehashed=true signature_algorithm=pkcs1v15 marshaling_algorithm=asn1" ] || exit 3
case $3 in transit/sign/modules/sha2-*) hash=sha${3##*-} ;; *) exit 4 ;; esac
base64 -d <<<"${7#input=}" >digest
echo "vault:v1:$(` + pkeyutl + ` | base64 -w0)"`, func(string) string { return "modules" }},
}

// TestExamples signs a tree by way of each example.
func TestExamples(t *testing.T) {
	for _, tool := range []string{"bash", "jq"} {
		testenv.Tool(t, tool)
	}
	for name, service := range services {
		for kind, pair := range map[string][2]string{"rsa": {"rsa2048", "sha256"}, "ec": {"p384", "sha384"}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				p, bin := newTwoPass(t, pair[0], pair[1]), t.TempDir()
				key, cert := p.pair()
				head := fmt.Sprintf("#!/bin/bash\nset -o pipefail\ncd %s\nkey=%s\n", bin, key)
				writeFile(t, filepath.Join(bin, service.client), head+service.script+"\n", 0o755)
				writeFile(t, filepath.Join(bin, "gcloud"), "#!/bin/sh\necho a-token\n", 0o755)
				// Not on a minimal Debian.
				writeFile(t, filepath.Join(bin, "xxd"), "#!/bin/sh\nexit 127\n", 0o755)
				sign := func(words string) (string, error) {
					return run(t, []string{"PATH=" + bin + ":/usr/bin:/bin"}, program(t), "sign", pair[1],
						"exec-lines:"+absolute(t, "../examples/"+name)+" "+words, cert, p.path("tree"))
				}
				before := fmt.Sprint(p.content())
				if out, err := sign("another-key " + kind); err == nil || !strings.Contains(out, "has failed") {
					t.Errorf("refused by the service: %v\n%s", err, out)
				}
				if fmt.Sprint(p.content()) != before {
					t.Error("a module was changed")
				}
				if out, err := sign(service.words(kind)); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if out, status := verify(t, "--trusted="+cert, p.path("tree")); status != 0 {
					t.Errorf("exit %d\n%s", status, out)
				}
			})
		}
	}
}
