package kernel

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sign-file/test/kernel/vector"
)

// publishedDir has the vectors for others, with what the kernels said of each.
const publishedDir = "../../testdata/vectors/"

// publishedVector is an element of vectors.json.
type publishedVector struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Comment string `json:"comment"`
	// Verdicts are the names of errnos by the series of the kernel, or OK.
	Verdicts map[string]string `json:"verdicts"`
}

func publishedVectors(t testing.TB) (all []publishedVector) {
	t.Helper()
	if err := json.Unmarshal(read(t, publishedDir+"vectors.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// published asks about the vectors, and holds the answers against those that are
// published, or writes them with SIGN_FILE_WRITE_VECTORS=1.
func (b *bench) published() {
	b.Helper()
	var certificates [][]byte
	files, _ := filepath.Glob(publishedDir + "certificates/*.der")
	for _, file := range files {
		certificates = append(certificates, read(b.T, file))
	}
	b.ring(rulesOf(b.T, b.kernel.Config()), "published", certificates...)
	data := read(b.T, publishedDir+"messages/data")
	for _, p := range publishedVectors(b.T) {
		v := vector.Vector{Name: publishedName(p), Keyring: "published"}
		if p.Kind == "value" {
			v.Kind, v.Data = vector.Value, read(b.T, publishedDir+"values/"+p.Name)
		} else {
			v.Kind, v.Data, v.Signature = vector.Detached, data, read(b.T, publishedDir+"messages/"+p.Name+".p7s")
		}
		b.message(v)
	}
}

func publishedName(p publishedVector) string { return "published " + p.Kind + " " + p.Name }

// comparePublished looks at what the kernel said of the published vectors.
func (b *bench) comparePublished(answers map[string]vector.Result) {
	b.Helper()
	all, write := publishedVectors(b.T), os.Getenv("SIGN_FILE_WRITE_VECTORS") != ""
	for _, p := range all {
		answer, asked := answers[publishedName(p)]
		if !asked {
			return // of another boot
		}
		got := name(answer.Errno)
		if write {
			p.Verdicts[b.kernel.Series] = got
		} else if want := p.Verdicts[b.kernel.Series]; got != want {
			b.Errorf("%s: the kernel says %s, and testdata/vectors %q", publishedName(p), got, want)
		}
	}
	if write {
		text, err := json.MarshalIndent(all, "", "  ")
		if err == nil {
			err = os.WriteFile(publishedDir+"vectors.json", append(text, '\n'), 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
