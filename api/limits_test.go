package api

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"pushquorum/fsm"
)

func TestAPushThatThereIsNoRoomForIsAnswered429(t *testing.T) {
	var log strings.Builder
	g := start(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	const reason = "--limit.groups=2 is reached: 2 are stored, and this push would add 1; delete groups"
	g.replica.result = &fsm.Result{Status: fsm.Full, Reason: reason}
	for range 3 {
		a := g.must(http.StatusTooManyRequests, "PUT", "/metrics/job/a", "x 1\n")
		if a.body != "no room for the pushed metrics: "+reason+"\n" || a.header.Get("Retry-After") != "" {
			t.Errorf("the answer is %q, Retry-After %q", a.body, a.header.Get("Retry-After"))
		}
	}
	g.replica.result.Reason = "a group may take 5 bytes: it takes 4"
	g.must(http.StatusTooManyRequests, "POST", "/metrics/job/a", "x 1\n")
	g.replica.result.Reason = "--limit.of-another-version=5 is reached"
	g.must(http.StatusTooManyRequests, "POST", "/metrics/job/a", "x 1\n")
	if n := strings.Count(log.String(), "for want of room"); n != 3 || !strings.Contains(log.String(), reason) {
		t.Errorf("want a line for each limit, got %d:\n%s", n, log.String())
	}
	// The failed push of a group for which there is no room is not recorded, and is what it is.
	if a := g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", "x 1 1000\n"); !strings.Contains(a.body,
		"timestamp") {
		t.Errorf("a bad push is answered with %q", a.body)
	}
	own := g.must(http.StatusOK, "GET", "/-/metrics", "").body
	for reason, want := range map[string]string{
		"groups": "3", "group_bytes": "1", "limit": "1", "invalid": "1",
		"series": "0",
	} {
		if line := `pushquorum_pushes_rejected_total{reason="` + reason + `"} ` + want + "\n"; !strings.Contains(own,
			line) {
			t.Errorf("want %s in\n%s", line, own)
		}
	}
}

func TestPushesThatAreNotStoredAreCountedByReason(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxBodyBytes = 100 })
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", "x is not a number\n")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/a/b", "x 1\n")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/b", "# TYPE x gauge\nx 1\n")
	g.must(http.StatusRequestEntityTooLarge, "PUT", "/metrics/job/b", "x "+strings.Repeat("1", 100)+"\n")
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n", "Idempotency-Key", "k")
	g.must(http.StatusUnprocessableEntity, "PUT", "/metrics/job/a", "x 2\n", "Idempotency-Key", "k")
	g.must(http.StatusUnprocessableEntity, "DELETE", "/metrics/job/a", "", "Idempotency-Key", "k") // no push
	g.replica.applyErr = errNoLeader
	g.must(http.StatusServiceUnavailable, "PUT", "/metrics/job/a", "x 1\n")
	own := g.must(http.StatusOK, "GET", "/-/metrics", "").body
	for reason, want := range map[string]string{
		"invalid": "2", "inconsistent": "1", "too_large": "1",
		"reused_key": "1", "unavailable": "1", "busy": "0",
	} {
		if line := `pushquorum_pushes_rejected_total{reason="` + reason + `"} ` + want + "\n"; !strings.Contains(own,
			line) {
			t.Errorf("want %s in\n%s", line, own)
		}
	}
}

func TestHowNearTheLimitsAreIsShown(t *testing.T) {
	g := start(t, func(c *Config) { c.Limits = fsm.Limits{Groups: 2, Series: 10} })
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x{l=\"1\"} 1\nx{l=\"2\"} 1\n")
	g.must(http.StatusOK, "PUT", "/metrics/job/b", "x{l=\"3\"} 1\n")
	if got, want := g.must(http.StatusOK, "GET", "/api/v1/status", "").body,
		`"limits":[{"name":"series","used":3,"limit":10},{"name":"groups","used":2,"limit":2}]`; !strings.Contains(got,
		want) {
		t.Errorf("want %s in %s", want, got)
	}
	page := g.must(http.StatusOK, "GET", "/", "").body
	for _, want := range []string{
		`<th scope="row">series</th><td>3</td><td>10</td><td>30 %</td>`,
		`<th scope="row">groups</th><td>2</td><td>2</td><td><strong class="failed">100 %</strong></td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %s in\n%s", want, page)
		}
	}
	if page := start(t).must(http.StatusOK, "GET", "/", "").body; strings.Contains(page, "Limits</h3>") {
		t.Error("without limits there is a table of them")
	}
}
