//go:build !amd64

package rsalanes

// Best is None: this is another processor.
func Best() Instructions { return None }

func codeForFour(int) code { return code{} }

func codeForOne(Instructions, int) code { return code{} }

func codeForSingle(int) code { return code{} }
