package cli

import "strings"

// getopt is GNU getopt(3) for options without arguments: operands and options
// mix, options bundle, "--" ends them, and with POSIXLY_CORRECT in the environment
// so does the first operand. bad is the first option letter that is not in
// known, or 0.
func getopt(args []string, known string, posix bool) (options map[byte]bool, operands []string, bad byte) {
	options = map[byte]bool{}
	for i, arg := range args {
		if arg == "--" {
			return options, append(operands, args[i+1:]...), 0
		}
		if len(arg) < 2 || arg[0] != '-' {
			if posix {
				return options, append(operands, args[i:]...), 0
			}
			operands = append(operands, arg)
			continue
		}
		for _, letter := range []byte(arg[1:]) {
			if strings.IndexByte(known, letter) < 0 {
				return options, operands, letter
			}
			options[letter] = true
		}
	}
	return options, operands, 0
}
