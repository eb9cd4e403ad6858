// Command init runs the test binary /gate.test in a virtual machine and reports its
// output.
package main

import (
	"errors"
	"os"
	"os/exec"

	"sign-file/test/gate/outcome"
	"sign-file/test/vm/guest"
)

func main() { guest.Run(runTests) }

func runTests(report func(any) error) error {
	cmd := exec.Command("/gate.test", "-test.v")
	cmd.Env = []string{"SIGN_FILE_IN_MACHINE=1", "TMPDIR=/"}
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	return report(outcome.Outcome{Passed: err == nil, Output: string(output)})
}
