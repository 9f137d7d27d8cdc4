package test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that never stops fills a cluster to its limits. Everyone else goes on.
func TestACheapClientDoesNotShutOutTheOthers(t *testing.T) {
	t.Parallel()
	const groups = 10
	limits := []string{
		fmt.Sprint("--limit.groups=", groups), "--limit.series=50", "--limit.series-per-group=20",
		"--limit.state-bytes=100KB", "--web.enable-admin-api",
	}
	c := startCluster(t, limits...)
	c.at(0).push("/metrics/job/normal", gauge("e2e_normal", 1))
	push := func(r *replica, path, body string) request {
		return request{method: http.MethodPost, url: r.url(path), body: body}
	}
	series := func(name string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s{l=\"%d\"} 1\n", name, i)
		}
		return b.String()
	}
	wantFull := func(r request, says string) {
		t.Helper()
		a := mustDo(t, http.StatusTooManyRequests, r)
		if !strings.Contains(a.body, says) || strings.Count(a.body, "\n") != 1 {
			t.Errorf("%s: want one line with %q, got %q", r, says, a.body)
		}
	}
	taken := 0
	for i := range 3 * groups {
		a, err := do(push(c.at(i), fmt.Sprint("/metrics/job/endless/n/", i), gauge("e2e_endless", i)))
		switch {
		case err != nil:
			t.Fatal(err)
		case a.status == http.StatusOK:
			taken++
		case a.status != http.StatusTooManyRequests ||
			!strings.Contains(a.body, "--limit.groups=10 is reached: 10 are stored"):
			t.Errorf("a group too many: %s", a)
		}
	}
	if taken != groups-1 {
		t.Errorf("%d groups were taken, want %d beside the normal one", taken, groups-1)
	}
	for _, r := range c.replicas {
		wantFull(push(r, "/metrics/job/normal", series("e2e_many", 21)), "--limit.series-per-group=20 is reached")
		wantFull(push(r, "/metrics/job/normal", "e2e_long{l=\""+strings.Repeat("v", 100<<10)+"\"} 1\n"),
			"--limit.state-bytes=102400 is reached")
		r.push("/metrics/job/normal", gauge("e2e_normal", 2))
		mustHave(t, r.scrape(), `e2e_normal{instance="",job="normal"}`, "2")
		own := mustDo(t, http.StatusOK, request{url: r.url("/-/metrics")}).body
		for _, want := range []string{
			`pushquorum_limit{name="groups"} 10`, "pushquorum_groups 10",
			`pushquorum_pushes_rejected_total{reason="state_bytes"} 1`,
		} {
			if !strings.Contains(own, "\n"+want) {
				t.Errorf("want %s in\n%s", want, own)
			}
		}
		eventually(t, 30*time.Second, "have the oldest push, which is looked for now and then", func() error {
			if own := mustDo(t, http.StatusOK, request{url: r.url("/-/metrics")}).body; !strings.Contains(own,
				"\npushquorum_oldest_push_timestamp_seconds 1") {
				return errors.New("it is not among the own metrics")
			}
			return nil
		})
		status := mustDo(t, http.StatusOK, request{url: r.url("/api/v1/status")}).body
		if want := `{"name":"groups","used":10,"limit":10}`; !strings.Contains(status, want) {
			t.Errorf("want %s in %s", want, status)
		}
	}

	// With smaller limits than what is stored: the same, and room is made by deleting.
	for _, r := range c.replicas {
		r.kill()
		r.flags = []string{"--limit.groups=5", "--web.enable-admin-api"}
	}
	for _, r := range c.replicas {
		r.start()
	}
	c.mustBeReady()
	c.at(0).push("/metrics/job/normal", gauge("e2e_normal", 3))
	wantFull(push(c.at(1), "/metrics/job/new", gauge("e2e_new", 1)), "--limit.groups=5 is reached: 10 are stored")
	for i := range groups - 4 {
		if i > 0 {
			wantFull(push(c.at(i), "/metrics/job/new", gauge("e2e_new", 1)), "--limit.groups=5")
		}
		c.at(i).delete(fmt.Sprint("/metrics/job/endless/n/", i))
	}
	c.at(2).push("/metrics/job/new", gauge("e2e_new", 1))
	mustDo(t, http.StatusAccepted, request{method: http.MethodPut, url: c.at(1).url("/api/v1/admin/wipe")})
	c.at(2).push("/metrics/job/new", gauge("e2e_new", 2))
	mustHave(t, c.mustAgree(), `e2e_new{instance="",job="new"}`, "2")
}
