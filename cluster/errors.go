package cluster

import (
	"errors"
	"fmt"
)

// ErrUnavailable is wrapped by every error of [Replica.Apply] and [Replica.ReadBarrier]: the cluster did not answer in
// time. After Apply the outcome is unknown, unless the error is an [fsm.NotAppliedError], too; the same command may be
// applied again, it is applied at most once. HTTP calls it 503.
var ErrUnavailable = errors.New("unavailable")

// errClosing is the cause when the replica itself is stopping.
var errClosing = errors.New("this replica is stopping")

func unavailable(why error) error { return fmt.Errorf("%w: %w", ErrUnavailable, why) }
