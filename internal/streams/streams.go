// Package streams tells which of the standard streams the caller had closed. Go's
// runtime opens /dev/null in their places before any Go code runs, so that no file of
// the program's becomes one of them; but what is written there is lost without an error.
package streams

// Closed reports standard input, output and error that were closed when the process
// began. Without cgo nothing runs before Go does, and only a closed standard input can
// be told.
func Closed() [3]bool { return closed() }
