package cli

import (
	"fmt"
	"path"
	"runtime"
	"strings"
)

// guarded turns a panic over one file into an error, so that the others get their
// answers. It is the last line: a parser that panics is a fault to be mended.
func guarded[T any](work func() (T, error)) (result T, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("not decided: a fault in sign-file (%v, %s); please report it with this file", fault, faultAt())
		}
	}()
	return work()
}

// faultAt is where a panic came from.
func faultAt() string {
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // past the deferred function
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
		}
		if !more {
			return "somewhere"
		}
	}
}
