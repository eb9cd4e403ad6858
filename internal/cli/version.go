package cli

import (
	"cmp"
	"crypto/fips140"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"sign-file/internal/rsalanes"
	"sign-file/keys"
	"sign-file/keys/token"
)

// The linker sets both (-X): what is built from a tarball, or a checkout that git refuses,
// has nothing else to know them from.
var release, commit string

// version says which source, compiler and parts the program was built of, one a line.
func version() string {
	version, revision := recorded()
	tokens := "no (built without cgo)"
	if token.Built {
		tokens = "yes"
	}
	return strings.Join([]string{
		cmp.Or(release, version),
		"commit: " + cmp.Or(commit, revision),
		fmt.Sprintf("built with: %s for %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		"keys on PKCS#11 tokens: " + tokens,
		"RSA engine: " + engine(),
	}, "\n")
}

// engine is what RSA keys in files sign with, as things are.
func engine() string {
	switch best, used := rsalanes.Best(), keys.Instructions(); {
	case runtime.GOARCH != "amd64":
		return "no (other processors than amd64 have none)"
	case best == rsalanes.None:
		return "yes, but not on this processor, which lacks AVX2"
	case fips140.Enabled():
		return "yes, but not in FIPS 140 mode (GODEBUG=fips140)"
	case used == rsalanes.None:
		return "yes, but turned off (" + keys.EngineRSA + "=std)"
	case used != best:
		return fmt.Sprintf("yes, with %s (%s=avx2; the processor has %s)", used, keys.EngineRSA, best)
	default:
		return "yes, with " + string(best)
	}
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
