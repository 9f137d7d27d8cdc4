package page

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// PanicError is a panic that was caught: a fault of this program, which then costs one answer and not the process.
type PanicError struct {
	Value any    // what panic was called with
	Place string // the calls that led there, the last one first, as file:line
}

// Error implements error. The same fault has the same text, and the place comes first, because a long text may be cut.
func (e *PanicError) Error() string { return fmt.Sprintf("panic at %s: %v", e.Place, e.Value) }

// places is how many calls a PanicError names: where it was and how it came there, in a line that can be read.
const places = 6

// Caught returns p, which the deferred function that calls it has recovered, with where it came from.
func Caught(p any) *PanicError {
	calls := make([]uintptr, 64)
	frames := runtime.CallersFrames(calls[:runtime.Callers(2, calls)])
	var at []string
	for more, panicked := true, false; more && len(at) < places; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case strings.HasPrefix(f.Function, "runtime."):
			// What is behind the panic is what led to it; before it is whoever recovered.
			panicked = panicked || f.Function == "runtime.gopanic"
		case panicked:
			at = append(at, fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line))
		}
	}
	return &PanicError{p, strings.Join(at, " < ")}
}
