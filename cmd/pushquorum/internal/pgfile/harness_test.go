package pgfile

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/api"
	"pushquorum/fsm"
)

// replica is a cluster of one without a log: it applies each command at once, unless answers are left to be given
// instead.
type replica struct {
	*fsm.FSM
	barriers []error // that the next read barriers return
	answers  []answer
	applied  int // commands that came
}

type answer struct {
	result fsm.Result
	err    error
}

func newReplica() *replica { return &replica{FSM: fsm.New(slog.New(slog.DiscardHandler))} }

func (r *replica) Apply(_ context.Context, command []byte) (fsm.Result, error) {
	r.applied++
	if len(r.answers) > 0 {
		next := r.answers[0]
		r.answers = r.answers[1:]
		return next.result, next.err
	}
	return commit(r.FSM, command), nil
}

func (r *replica) ReadBarrier(context.Context) error {
	if len(r.barriers) == 0 {
		return nil
	}
	next := r.barriers[0]
	r.barriers = r.barriers[1:]
	return next
}

func (r *replica) Staleness() (time.Duration, bool) { return 0, true }
func (r *replica) Ready() error                     { return nil }
func (r *replica) Healthy() error                   { return nil }

// commit applies a command as the next entry of the log.
func commit(f *fsm.FSM, command []byte) fsm.Result {
	entry := &raft.Log{Index: f.Applied() + 1, Type: raft.LogCommand, Data: fsm.Seal([][]byte{command},
		time.Unix(1, 0))}
	return f.Apply(entry).([]fsm.Result)[0]
}

// get returns what an API on the replica answers.
func get(t *testing.T, r *replica, path string) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	a, err := api.New(api.Config{Replica: r, Store: r.FSM, Registerer: registry, Gatherer: registry})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// samples are the lines of a page that are no comments.
func samples(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}
