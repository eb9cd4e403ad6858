//go:build !amd64

package rsalanes

// Supported reports false: this is another processor.
func Supported() bool { return false }

func codeFor(int, int) code { return code{} }
