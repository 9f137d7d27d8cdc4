package pgfile

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// begin returns an Import into the replica of what Debian's Pushgateway wrote.
func begin(t *testing.T, r *replica) *Import {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, persisted(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Import{
		Replica: r, State: r.FSM, File: file, MaxCommand: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
}

// refuses tells whether the import stands in front of everything but Healthy.
func refuses(t *testing.T, i *Import) bool {
	t.Helper()
	_, err := i.Apply(t.Context(), fsm.EncodeWipe(fsm.Request{ID: fsm.NewRequestID()}))
	_, caughtUp := i.Staleness()
	refused := []bool{err != nil, i.ReadBarrier(t.Context()) != nil, !caughtUp, i.Ready() != nil}
	for _, r := range refused {
		if r != refused[0] {
			t.Fatalf("a push, a read barrier, the staleness and readiness are refused: %v", refused)
		}
	}
	if err != nil && !errors.As(err, new(*fsm.NotAppliedError)) {
		t.Errorf("want a push to be certainly not applied, got %v", err)
	}
	return refused[0]
}

// run runs the import to its end, and then ends it.
func run(t *testing.T, i *Import) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	synctest.Wait()
	for range 100 {
		select {
		case err := <-ended:
			return err
		default:
		}
		if i.done.Load() {
			break
		}
		time.Sleep(noSpaceRetryInterval) //nolint:forbidigo // of a clock that the test has for itself
		synctest.Wait()
	}
	cancel()
	return <-ended
}

func TestNobodyIsAnsweredBeforeTheImport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplica()
		i := begin(t, r)
		if !refuses(t, i) {
			t.Error("a replica answers before the file is in its store")
		}
		if r.FSM.View().Written() {
			t.Error("a push has come in before the file")
		}
		if err := run(t, i); err != nil {
			t.Fatal(err)
		}
		if n := r.FSM.View().Len(); n != 4 {
			t.Errorf("%d groups were imported, want 4", n)
		}
		if refuses(t, i) {
			t.Error("a replica does not answer after the import")
		}
	})
}

func TestWithoutAFileNobodyWaits(t *testing.T) {
	t.Parallel()
	r := newReplica()
	if refuses(t, &Import{Replica: r, State: r.FSM, Logger: slog.New(slog.DiscardHandler)}) {
		t.Error("a replica without a file does not answer")
	}
}

func TestAnImportIsTriedAgainUntilItsOutcomeIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplica()
		r.barriers = []error{errors.New("no leader"), errors.New("no leader")}
		r.answers = []answer{{err: errors.New("no quorum")}, {result: fsm.Result{Status: fsm.NoSpace}}}
		if err := run(t, begin(t, r)); err != nil || r.applied != 3 || r.FSM.View().Len() != 4 {
			t.Errorf("after %d tries there are %d groups, %v; want 4 after 3", r.applied, r.FSM.View().Len(), err)
		}
	})
}

func TestNothingIsImportedIntoAStoreThatHasBeenWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplica()
		group := expo.NewLabels(map[string]string{"job": "a"})
		commit(r.FSM, fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, group, true, nil))
		if err := run(t, begin(t, r)); err != nil || r.applied != 0 {
			t.Errorf("%d commands, %v; want none", r.applied, err)
		}
	})
}

func TestAFileThatIsNotThereIsNoMistake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReplica()
		i := begin(t, r)
		i.File += ".not"
		if err := run(t, i); err != nil || r.applied != 0 || refuses(t, i) {
			t.Errorf("%d commands, %v; want none, and a replica that answers", r.applied, err)
		}
	})
}

func TestAnImportThatCannotBeEndsTheProcess(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*testing.T, *Import, *replica)
		want   string
	}{
		"there is no room": {func(_ *testing.T, _ *Import, r *replica) {
			r.answers = []answer{{result: fsm.Result{Status: fsm.Full, Reason: "--limit.groups=1 is reached"}}}
		}, "there is no room for its groups: --limit.groups=1 is reached"},
		"it is too large for the log": {func(_ *testing.T, i *Import, _ *replica) {
			i.MaxCommand = 10
		}, "at most 10 are possible"},
		"it is damaged": {func(t *testing.T, i *Import, _ *replica) {
			if err := os.WriteFile(i.File, persisted(t)[:100], 0o600); err != nil {
				t.Fatal(err)
			}
		}, "it is truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReplica()
				i := begin(t, r)
				row.change(t, i, r)
				if err := run(t, i); err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("want an error with %q, got %v", row.want, err)
				}
				if r.FSM.View().Written() || !refuses(t, i) {
					t.Error("the replica answers without what is in the file")
				}
			})
		})
	}
}
