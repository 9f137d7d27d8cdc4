package fsm

// NotAppliedError is the error of whoever replicates commands when a command is certainly in no log, and never will be: for the
// state it is as if nobody had sent it. After any other error it may be applied, or already be.
type NotAppliedError struct{ Err error }

// Error says why not.
func (e *NotAppliedError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *NotAppliedError) Unwrap() error { return e.Err }
