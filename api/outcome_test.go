package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pushquorum/fsm"
)

// requests are one of each kind that the cluster is asked for.
var requests = map[string]struct{ method, path, nothing, unknown string }{
	"put": {
		"PUT", "/metrics/job/a", "nothing was stored: push again",
		"it may be stored or not; pushing the same again is safe",
	},
	"post": {
		"POST", "/metrics/job/a", "nothing was stored: push again",
		"it may be stored or not; pushing the same again is safe",
	},
	"delete": {
		"DELETE", "/metrics/job/a", "nothing was deleted: delete again",
		"it may be deleted or not; deleting again is safe",
	},
	"wipe": {
		"PUT", "/api/v1/admin/wipe", "nothing was deleted: wipe again",
		"it may be deleted or not; wiping again is safe",
	},
}

// TestWhatTheClusterSaysIsAnsweredInOneOfTwoWays: whoever gets a 503 knows that nothing has happened, or that it is not
// known. It is never said that both are so.
func TestWhatTheClusterSaysIsAnsweredInOneOfTwoWays(t *testing.T) {
	certain := &fsm.NotAppliedError{Err: errNoLeader}
	const nothing, unknown = "nothing", "unknown"
	for name, test := range map[string]struct {
		result *fsm.Result
		err    error
		want   int
		fate   string // of a 503
		says   string
	}{
		"not in the log": {nil, certain, http.StatusServiceUnavailable, nothing, "(no leader)"},
		"not in the log, wrapped": {
			nil, fmt.Errorf("at r1: %w", certain), http.StatusServiceUnavailable, nothing,
			"(at r1: no leader)",
		},
		"perhaps in the log": {
			nil, errors.New("no quorum"), http.StatusServiceUnavailable, unknown,
			"(no quorum)",
		},
		"time is up": {nil, context.DeadlineExceeded, http.StatusServiceUnavailable, unknown, ""},
		"a result and an error": {
			&fsm.Result{Status: fsm.Applied}, errNoLeader, http.StatusServiceUnavailable,
			unknown, "(no leader)",
		},
		"forgotten": {
			&fsm.Result{Status: fsm.Forgotten, Reason: "too old"}, nil,
			http.StatusServiceUnavailable, unknown, "(too old)",
		},
		"a status of a newer version": {
			&fsm.Result{Status: 200, Reason: "who knows"}, nil,
			http.StatusServiceUnavailable, unknown, "(who knows)",
		},
		"reused": {
			&fsm.Result{Status: fsm.Reused, Reason: "used"}, nil,
			http.StatusUnprocessableEntity, "", "used",
		},
		"no space": {
			&fsm.Result{Status: fsm.NoSpace, Reason: "make room"}, nil,
			http.StatusInsufficientStorage, "", "make room",
		},
		"full": {
			&fsm.Result{Status: fsm.Full, Reason: "make room"}, nil,
			http.StatusTooManyRequests, "", "make room",
		},
		"rejected": {
			&fsm.Result{Status: fsm.Rejected, Reason: "clash"}, nil, http.StatusBadRequest,
			"", "clash",
		},
	} {
		for kind, request := range requests {
			for _, key := range []string{"", "nightly"} {
				t.Run(name+", "+kind+" "+key, func(t *testing.T) {
					g := start(t)
					g.replica.applyErr, g.replica.result = test.err, test.result
					a := g.must(test.want, request.method, request.path, "", "Idempotency-Key", key)
					retry := a.header.Get("Retry-After")
					if (retry == "1") != (test.want == http.StatusServiceUnavailable) {
						t.Errorf("Retry-After is %q with status %d", retry, test.want)
					}
					if strings.Count(a.body, "\n") != 1 || !strings.Contains(a.body, test.says) {
						t.Errorf("want one line with %q, got %q", test.says, a.body)
					}
					want := map[string]string{nothing: request.nothing, unknown: "the outcome is unknown: " +
						request.unknown}[test.fate]
					if key != "" && test.fate == unknown && test.err != nil {
						want = strings.Replace(want, " is safe",
							" with the same Idempotency-Key is safe, it counts once", 1)
					}
					if key != "" && test.fate == nothing { // what an earlier request with it did is not known here
						done, again, _ := strings.Cut(want, ":")
						want = done + " by this request:" + again + " with the same Idempotency-Key ("
					}
					if !strings.HasPrefix(a.body, want) {
						t.Errorf("want %q first, got %q", want, a.body)
					}
					saysNothing, saysUnknown := strings.Contains(a.body, "nothing was"),
						strings.Contains(a.body, "outcome is unknown")
					if saysNothing != (test.fate == nothing) || saysUnknown != (test.fate == unknown) {
						t.Errorf("want that the outcome is %q, and nothing else, got %q", test.fate, a.body)
					}
				})
			}
		}
	}
}

// TestWhoIsTooManyHearsThatNothingWasStored covers the 503s of pushes that no replica has been asked for.
func TestWhoIsTooManyHearsThatNothingWasStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, busy := range map[string]func(*inFlight) *semaphore{
			"requests": func(in *inFlight) *semaphore { return in.requests },
			"bodies":   func(in *inFlight) *semaphore { return in.large },
			"turns":    func(in *inFlight) *semaphore { return in.largeSlots },
			"decoding": func(in *inFlight) *semaphore { return in.decoding },
		} {
			g := startWithoutServer(t)
			if p := busy(g.api.inFlight); !p.tryAcquire(p.size) {
				t.Fatal("taken")
			}
			w := g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/a",
				strings.NewReader(histogramText(200_000))))
			if text := w.Body.String(); w.Code != http.StatusServiceUnavailable ||
				!strings.HasPrefix(text, "nothing was stored: push again (") ||
				!strings.Contains(text, "--push.max-") || strings.Contains(text, "unknown") ||
				strings.Count(text, "\n") != 1 {
				t.Errorf("%s: got %d %q", name, w.Code, text)
			}
			if n := g.replica.applied(); n != 0 {
				t.Errorf("%s: %d commands were replicated", name, n)
			}
		}
	})
}

// TestAPushIsAnsweredWithinItsTimeWhateverItWaitsFor: each wait takes nearly as long as it may, and the cluster never
// answers.
func TestAPushIsAnsweredWithinItsTimeWhateverItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 8 * time.Second
		g := startWithoutServer(t, func(c *Config) {
			c.PushTimeout, c.Replica = timeout, &silent{c.Replica.(*replica)}
		})
		in := g.api.inFlight
		body := histogramText(200_000)
		for name, wait := range map[string]struct {
			body    string
			pools   []*semaphore
			unknown bool
		}{
			"nothing":                  {"x 1\n", nil, true},
			"memory for the body":      {body, []*semaphore{in.large}, true},
			"memory, and a turn":       {body, []*semaphore{in.large, in.largeSlots}, true},
			"all there is to wait for": {body, []*semaphore{in.large, in.largeSlots, in.decoding}, false},
		} {
			for _, p := range wait.pools {
				if !p.tryAcquire(p.size) {
					t.Fatal("taken")
				}
			}
			given := make(chan struct{})
			go func() {
				defer close(given)
				for _, p := range wait.pools {
					<-time.After(timeout/2 - time.Millisecond) // of the bubble's time
					p.release(p.size)
				}
			}()
			began := time.Now()
			w := g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/a", strings.NewReader(wait.body)))
			if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != timeout {
				t.Errorf("%s: answered %d after %s, want 503 after %s", name, w.Code, took, timeout)
			}
			if unknown := strings.Contains(w.Body.String(), "the outcome is unknown"); unknown != wait.unknown {
				t.Errorf("%s: got %q", name, w.Body)
			}
			<-given
			g.idle()
		}
	})
}

// silent is a cluster that never answers.
type silent struct{ *replica }

func (s *silent) Apply(ctx context.Context, _ []byte) (fsm.Result, error) {
	<-ctx.Done()
	return fsm.Result{}, ctx.Err()
}

func TestABadPushIsBadWithoutAQuorum(t *testing.T) {
	g := start(t)
	g.replica.applyErr = errNoLeader
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", "x 1 1000\n")
}

// TestWithoutTheCheckAGoodPushIsAnswered202, as clients of before 2019 want it, and a bad one is refused all the same.
func TestWithoutTheCheckAGoodPushIsAnswered202(t *testing.T) {
	g := start(t, func(c *Config) { c.Unchecked = true })
	for _, method := range []string{"PUT", "POST"} {
		if a := g.must(http.StatusAccepted, method, "/metrics/job/a", "# TYPE x gauge\nx 1\n"); a.body != "" {
			t.Errorf("%s: got %q", method, a.body)
		}
	}
	g.must(http.StatusAccepted, "DELETE", "/metrics/job/b", "")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/b", "# TYPE x counter\nx 1\n")
	if got := g.scrape(); !strings.Contains(got, "x{instance=\"\",job=\"a\"} 1\n") {
		t.Errorf("the push is missing:\n%s", got)
	}
}
