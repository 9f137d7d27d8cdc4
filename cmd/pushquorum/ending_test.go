package main

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// leaving is a replica that is told to end.
type leaving struct{ onlyVoter bool }

func (l leaving) OnlyVoter() bool     { return l.onlyVoter }
func (leaving) Drain(context.Context) {}
func (leaving) Leave(context.Context) {}

func TestOnlyWhoHasOthersServesOnWhenItIsToldToEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		onlyVoter bool
		want      time.Duration
	}{
		{"a replica of three", false, 5 * time.Second},
		{"the only voter, with or without a cluster port", true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := &ending{replica: leaving{c.onlyVoter}, delay: 5 * time.Second, log: slog.New(slog.DiscardHandler)}
				signals := make(chan os.Signal, 1)
				signals <- syscall.SIGTERM
				began := time.Now()
				e.await(signals, nil, nil)
				if got := time.Since(began); got != c.want {
					t.Errorf("it served on for %s, want %s", got, c.want)
				}
			})
		})
	}
}
