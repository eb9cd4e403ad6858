package fips204_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/mldsa"

	"sign-file/internal/fips204"
	"sign-file/test/testenv"
)

// wycheproof is a version of the test vectors, which go's checksum database pins.
const wycheproof = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"

// vectors is the part of a vector file that is used here.
type vectors struct {
	TestGroups []struct {
		PublicKey hexBytes `json:"publicKey"`
		Tests     []struct {
			ID      int      `json:"tcId"`
			Comment string   `json:"comment"`
			Context hexBytes `json:"ctx"`
			Message hexBytes `json:"msg"`
			Sig     hexBytes `json:"sig"`
			Result  string   `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// TestWycheproof: signatures at the bounds of what is valid, which a flipped bit
// does not make.
func TestWycheproof(t *testing.T) {
	dir := wycheproofDir(t)
	for _, p := range sizes {
		file := map[string]string{"ML-DSA-44": "mldsa_44_verify_test.json", "ML-DSA-65": "mldsa_65_verify_test.json", "ML-DSA-87": "mldsa_87_verify_test.json"}[p.String()]
		t.Run(p.String(), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "testvectors_v1", file))
			if err != nil {
				t.Fatal(err)
			}
			var v vectors
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			if judged := v.run(t, p); judged < 50 {
				t.Errorf("%d vectors have the empty context, want more", judged)
			}
		})
	}
}

// run returns how many vectors have the context that module signatures have.
func (v *vectors) run(t *testing.T, p mldsa.Parameters) (judged int) {
	for _, group := range v.TestGroups {
		key, err := mldsa.NewPublicKey(p, group.PublicKey)
		for _, test := range group.Tests {
			if len(test.Context) > 0 {
				continue
			}
			judged++
			valid := false
			if err == nil {
				h := fips204.NewMu(key)
				h.Write(test.Message)
				valid = fips204.VerifyMu(key, h.Sum(nil), test.Sig)
			}
			if valid != (test.Result == "valid") {
				t.Errorf("%d, %s: verified: %v, want %s", test.ID, test.Comment, valid, test.Result)
			}
		}
	}
	return judged
}

func wycheproofDir(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "go"), "mod", "download", "-json", wycheproof)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil || module.Dir == "" {
		testenv.Missing(t, "Go module "+wycheproof)
	}
	return module.Dir
}
