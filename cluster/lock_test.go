//go:build unix

package cluster

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"pushquorum/fsm"
)

// A pod that was deleted by force leaves its process for a moment: the successor must not give up, because it is then
// started again only after a while.
func TestTheSuccessorOfAProcessThatIsEndingWaitsForItsDirectory(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.start()
	waitReady(t, r)
	push(t, r, "before", 1)
	logs, cfg, tune := &logBuffer{}, r.cfg, r.tune
	cfg.Logger, tune.lockWait = slog.New(slog.NewTextHandler(logs, nil)), testDeadline
	cfg.FSM = fsm.New(cfg.Logger)
	opened := make(chan error, 1)
	go func() {
		successor, err := open(cfg, tune)
		if err == nil {
			err = errors.Join(successor.ReadBarrier(testContext(t)), successor.Close())
		}
		opened <- err
	}()
	eventually(t, "it says what it waits for", func() bool {
		return strings.Contains(logs.String(), "waiting for the process that still holds")
	})
	r.crash()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logs.String(), "still holds"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}
