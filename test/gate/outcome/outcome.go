// Package outcome is what the machine of the gate's tests reports.
package outcome

// Outcome is how the tests of package gate ended.
type Outcome struct {
	Passed bool
	Output string // of go test -v
}
