package paths_test

import (
	"testing"

	"sign-file/internal/paths"
)

func TestDir(t *testing.T) {
	for path, want := range map[string]string{"m.ko": ".", "a/m.ko": "a/", "link/../m.ko": "link/../", "/m.ko": "/", "a//m.ko": "a//"} {
		if got := paths.Dir(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	for dir, want := range map[string]string{".": "./m.ko", "a": "a/m.ko", "a/": "a/m.ko", "link/..": "link/../m.ko", "/": "/m.ko"} {
		if got := paths.Join(dir, "m.ko"); got != want {
			t.Errorf("%q: %q, want %q", dir, got, want)
		}
	}
}
