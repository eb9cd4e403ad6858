package test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestVectors: the program says of the published vectors what the booted kernels said.
func TestVectors(t *testing.T) {
	t.Parallel()
	const dir = "../testdata/vectors/"
	var all []struct {
		Name, Kind string
		Verdicts   map[string]string
	}
	if err := json.Unmarshal(readFile(t, dir+"vectors.json"), &all); err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, v := range all {
		if v.Name == "empty" {
			continue // no message, says the program
		}
		for kernel, want := range v.Verdicts {
			args := []string{"map", "verify", dir + "values/" + v.Name}
			if v.Kind == "message" {
				args = []string{"verify", "--usage", "map", "--signature", dir + "messages/" + v.Name + ".p7s", dir + "messages/data"}
			}
			// As the machines of the test, which have no modprobe.
			out, _ := run(t, nil, program(t), append(args, "--json", "--no-autoload", "--kernel", kernel, "--trusted", dir+"certificates")...)
			var verdict struct {
				Accepted bool
				Errno    string
			}
			// Kernels without ML-DSA do not take its certificate, of which a line warns.
			_, object, _ := strings.Cut("\n"+out, "\n{")
			if err := json.Unmarshal([]byte("{"+object), &verdict); err != nil {
				t.Fatalf("%s: %v\n%s", v.Name, err, out)
			}
			if verdict.Accepted {
				verdict.Errno = "OK"
			}
			if verdict.Errno != want {
				t.Errorf("%s %s: kernel %s said %s, and we say %s", v.Kind, v.Name, kernel, want, out)
			}
			judged++
		}
	}
	if judged < 4*49 {
		t.Errorf("%d verdicts, want more", judged)
	}
}
