package cli

import (
	"strings"
	"testing"
)

// FuzzCandidates: whatever is typed, the candidates are lines, and only one asks for files.
func FuzzCandidates(f *testing.F) {
	for _, typed := range []string{"", "sign -", "-s a sha256 ", "verify --trusted", "map gate create x --", "sign -- - -", "digest --format=x y", "sign -j8 sha256"} {
		f.Add("sign-file", typed)
		f.Add("kmodsign", typed)
	}
	f.Fuzz(func(t *testing.T, name, typed string) {
		asks := 0
		for _, candidate := range (&program{argv0: "sign-file"}).candidates(name, strings.Split(typed, " ")) {
			if candidate == "" || strings.Contains(candidate, "\n") {
				t.Errorf("candidate %q", candidate)
			}
			if candidate[0] == ':' {
				asks++
			}
		}
		if asks > 1 {
			t.Errorf("%d kinds of files", asks)
		}
	})
}
