package testenv

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// wycheproof is a version of the test vectors, which go's checksum database pins.
const wycheproof = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"

// Wycheproof reads a file of Project Wycheproof's test vectors into v.
func Wycheproof(t testing.TB, file string, v any) {
	t.Helper()
	cmd := exec.Command(Tool(t, "go"), "mod", "download", "-json", wycheproof)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil || module.Dir == "" {
		Missing(t, "Go module "+wycheproof)
	}
	data, err := os.ReadFile(filepath.Join(module.Dir, "testvectors_v1", file))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
