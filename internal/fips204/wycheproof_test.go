package fips204_test

import (
	"encoding/hex"
	"testing"

	"filippo.io/mldsa"

	"sign-file/internal/fips204"
	"sign-file/test/testenv"
)

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
	for _, p := range sizes {
		file := map[string]string{"ML-DSA-44": "mldsa_44_verify_test.json", "ML-DSA-65": "mldsa_65_verify_test.json", "ML-DSA-87": "mldsa_87_verify_test.json"}[p.String()]
		t.Run(p.String(), func(t *testing.T) {
			var v vectors
			testenv.Wycheproof(t, file, &v)
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
