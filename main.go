// Command sign-file signs kernel modules and BPF map values. Its first face is
// the kernel's scripts/sign-file, byte for byte; see README.md for the second.

// sign-file signs with whatever RSA key it is given; Go would refuse those
// below 1024 bits, which the kernel still verifies.
//
//go:debug rsa1024min=0
package main

import (
	"os"

	"sign-file/internal/cli"
)

func main() {
	os.Exit(cli.Run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
