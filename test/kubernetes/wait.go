package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// pollEvery is how long a condition is left alone between two looks at it.
const pollEvery = 100 * time.Millisecond

// until looks at a condition until it holds, and otherwise says what was still missing.
func until(ctx context.Context, within time.Duration, goal string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s", within))
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var missing error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || missing == nil {
			missing = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", goal, context.Cause(ctx), missing)
		case <-ticker.C:
		}
	}
}

// removeGroup removes a control group as soon as the kernel lets it.
func removeGroup(path string) error {
	return until(context.Background(), 5*time.Second, "remove the control group", func(context.Context) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
}
