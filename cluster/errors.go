package cluster

import (
	"errors"
	"fmt"
)

// ErrUnavailable is wrapped by every error of [Replica.Apply] and [Replica.ReadBarrier]: the cluster did not
// answer in time. After Apply the outcome is unknown, unless the error is an [fsm.NotAppliedError], too; the same command may be
// applied again, it is applied at most once. HTTP calls it 503.
var ErrUnavailable = errors.New("unavailable")

// errClosing is the cause when the replica itself is stopping.
var errClosing = errors.New("this replica is stopping")

func unavailable(why error) error { return fmt.Errorf("%w: %w", ErrUnavailable, why) }

// damaged is how every check of the data directory reports what it found: the file first, then what is wrong.
func damaged(path, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if refuses(err) { // whatever is there is not to be deleted for that
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w; restore the file from a backup, or, if other replicas hold the data, delete the whole data directory so that this one joins as a new replica",
		path, err)
}

// damagedLog is damaged for a file of the log, of which a part can be given up.
func damagedLog(path, format string, args ...any) error {
	if err := fmt.Errorf(format, args...); refuses(err) {
		return damaged(path, format, args...)
	}
	return fmt.Errorf("%w; the command recover says what of the log can be read, and can go on without the rest", damaged(path, format, args...))
}
