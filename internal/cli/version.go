package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"sign-file/internal/rsalanes"
	"sign-file/keys/token"
)

// The linker sets both (-X): what is built from a tarball, or a checkout that git refuses,
// has nothing else to know them from.
var release, commit string

// version says which source, compiler and parts the program was built of, one a line.
func version() string {
	version, revision := recorded()
	tokens, engine := "no (built without cgo)", "no (other processors than amd64 have none)"
	if token.Built {
		tokens = "yes"
	}
	switch best := rsalanes.Best(); {
	case best != rsalanes.None:
		engine = "yes, with " + string(best)
	case runtime.GOARCH == "amd64":
		engine = "yes, but not on this processor, which lacks AVX2"
	}
	return strings.Join([]string{
		cmp.Or(release, version),
		"commit: " + cmp.Or(commit, revision),
		fmt.Sprintf("built with: %s for %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		"keys on PKCS#11 tokens: " + tokens,
		"RSA engine: " + engine,
	}, "\n")
}

// recorded is what Go itself has recorded: the module's version and the commit.
func recorded() (version, revision string) {
	version, revision = "devel", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		version = v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += "-dirty"
		}
	}
	return version, revision
}
