package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

func TestAReadOnlyReplicaServesAllAndTakesNothing(t *testing.T) {
	t.Parallel()
	dir, hash := dataDirectory(t, LogWAL)
	logs, fake, registry := &logBuffer{}, &fakeDisk{}, prometheus.NewRegistry()
	fake.set(full)
	tune := testTuning()
	tune.reopenEvery, tune.probe = 10*time.Millisecond, fake.probe
	logger := slog.New(slog.NewTextHandler(logs, nil))
	cfg := Config{Name: "r1", Version: "test", DataDir: dir, FSM: fsm.New(logger), Logger: logger, Registerer: registry}
	_, why := open(cfg, tune)
	if !errors.Is(why, disk.ErrCannotWrite) {
		t.Fatalf("opened to be written: %v", why)
	}
	r, err := openReadOnly(cfg, tune, why)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- r.Run(ctx) }()

	status := r.Status(ctx)
	if status.StateHash != hash || status.Self != "r1" || len(status.Members) != 1 ||
		status.Members[0].Role != "voter" || status.Term == 0 || status.AppliedIndex == 0 {
		t.Errorf("status %+v, want the state %s", status, hash)
	}
	if age, ok := r.Staleness(); r.ReadBarrier(ctx) != nil || age != 0 || !ok {
		t.Errorf("reads are not served: %s, %v", age, ok)
	}
	if result, err := r.Apply(ctx, fsm.EncodeNoop()); !errors.Is(err, ErrUnavailable) ||
		!errors.Is(err, disk.ErrCannotWrite) || !notApplied(err) {
		t.Errorf("a push was answered with %v, %v", result, err)
	}
	for _, err := range []error{r.Healthy(), r.Ready()} {
		if !errors.Is(err, disk.ErrCannotWrite) || !strings.Contains(err.Error(), dir) ||
			!strings.Contains(err.Error(), "read-only") || strings.Contains(err.Error(), "\n") {
			t.Errorf("it says %v, want in one line what and where", err)
		}
	}
	shown, err := registry.Gather()
	var metrics []string
	for _, mf := range shown {
		metrics = append(metrics, mf.GetName())
	}
	want := "[pushquorum_groups pushquorum_oldest_push_timestamp_seconds pushquorum_series pushquorum_state_bytes " +
		"pushquorum_stuck_seconds]"
	if err != nil || fmt.Sprint(metrics) != want {
		t.Errorf("its metrics are %v, %v; want %s", metrics, err, want)
	}
	if _, err := writtenHash(t, disk.LogWAL, dir); err == nil {
		t.Error("another process may have the directory at the same time")
	}
	fake.set(nil)
	select {
	case err := <-done:
		if !errors.Is(err, ErrWritable) {
			t.Errorf("it ended with %v", err)
		}
	case <-testContext(t).Done():
		t.Fatal("it does not notice that there is room again")
	}
	if err := r.Healthy(); !errors.Is(err, ErrWritable) || strings.Count(logs.String(), "no longer read-only") != 1 {
		t.Errorf("it says %v, and in its log:\n%s", err, logs)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := writtenHash(t, disk.LogWAL, dir); got != hash || err != nil {
		t.Errorf("then it opens with %s, %v; want %s", got, err, hash)
	}
}

// Room for a probe is not room for a segment of the log: a replica that came back too early would be read-only again at
// once.
func TestAReadOnlyReplicaWaitsForRoomForAllThatAStartWrites(t *testing.T) {
	t.Parallel()
	dir, _ := dataDirectory(t, LogWAL)
	tune := testTuning()
	asked := make(chan int)
	tune.reopenEvery = time.Millisecond
	tune.probe = func(_ string, size int) error {
		asked <- size
		if size > disk.ProbeSize {
			return full
		}
		return nil
	}
	logger := slog.New(slog.DiscardHandler)
	r, err := openReadOnly(Config{Name: "r1", DataDir: dir, FSM: fsm.New(logger), Logger: logger}, tune, full)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for range 3 {
		if small, large := <-asked, <-asked; small != disk.ProbeSize || large <= tune.walSegment {
			t.Errorf("asked for %d and %d bytes, a segment has %d", small, large, tune.walSegment)
		}
	}
	cancel()
	for {
		select {
		case <-asked:
		case err := <-done:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
			return
		}
	}
}

func TestOnlyTheOnlyVoterIsServedWithoutBeingWritten(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	push(t, replicas[0], "before", 1)
	replicas[0].crash()
	logger := slog.New(slog.DiscardHandler)
	for name, c := range map[string]struct{ dir, says string }{
		"a member of three":         {replicas[0].cfg.DataDir, "a cluster of 3"},
		"a new directory":           {t.TempDir(), "no replica yet"},
		"a directory that is not":   {t.TempDir() + "/none", "no replica yet"},
		"the directory of a member": {replicas[1].cfg.DataDir, "in use"},
	} {
		cfg := replicas[0].cfg
		cfg.DataDir, cfg.FSM, cfg.Logger = c.dir, fsm.New(logger), logger
		r, err := openReadOnly(cfg, testTuning(), full)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line that says %q", name, err, c.says)
		}
		if err == nil {
			_ = r.Close()
		}
	}
	if _, err := os.Stat(t.TempDir() + "/none"); err == nil {
		t.Error("a directory was made")
	}
}
