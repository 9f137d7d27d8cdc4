package test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWithoutAQuorumWritesAreRefusedAndScrapesAreMarked(t *testing.T) {
	t.Parallel()
	const pushTimeout = 2 * time.Second
	for _, consistency := range []string{"available", "linearizable"} {
		t.Run(consistency, func(t *testing.T) {
			c := startCluster(t, "--push.timeout="+pushTimeout.String(), "--read.consistency="+consistency)
			c.at(0).push("/metrics/job/kept", gauge("e2e_kept", 1))
			before := c.mustAgree()
			left := c.followers()[0]
			for _, r := range c.replicas {
				if r != left {
					r.kill()
				}
			}

			for _, r := range []request{
				{method: http.MethodPut, url: left.url("/metrics/job/kept"), body: gauge("e2e_kept", 2)},
				{method: http.MethodPost, url: left.url("/metrics/job/new"), body: gauge("e2e_new", 1)},
				{method: http.MethodDelete, url: left.url("/metrics/job/kept")},
			} {
				began := time.Now()
				a := mustDo(t, http.StatusServiceUnavailable, r)
				if took := time.Since(began); took > pushTimeout+2*time.Second {
					t.Errorf("%s: answered after %s, --push.timeout is %s", r, took, pushTimeout)
				}
				if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
					t.Errorf("%s: Retry-After is %q", r, a.header.Get("Retry-After"))
				}
			}

			if consistency == "linearizable" {
				mustDo(t, http.StatusServiceUnavailable, request{url: left.url("/metrics")})
			} else {
				began := time.Now()
				a := mustDo(t, http.StatusOK, request{url: left.url("/metrics")})
				if a.body != before {
					t.Errorf("the stale scrape is not the last one:\n%s", diff(before, a.body))
				}
				stale, err := strconv.ParseFloat(a.header.Get(staleHeader), 64)
				if err != nil || stale <= 0 {
					t.Errorf("%s of a scrape without a quorum is %q", staleHeader, a.header.Get(staleHeader))
				}
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("the stale scrape took %s", took)
				}
				checkWithPromtool(t, a.body)
			}

			// One of two comes back: there is a quorum, and everything works.
			i := slices.IndexFunc(c.replicas, func(r *replica) bool { return r != left })
			c.at(i).restart()
			eventually(t, readyWithin, "accept a push again", func() error {
				a, err := do(request{method: http.MethodPut, url: left.url("/metrics/job/kept"), body: gauge("e2e_kept",
					3)})
				if err != nil || a.status != http.StatusOK {
					return fmt.Errorf("%s (%w)", a, err)
				}
				return nil
			})
			for _, r := range []*replica{left, c.at(i)} {
				mustHave(t, r.scrape(), `e2e_kept{instance="",job="kept"}`, "3")
			}
			for _, r := range c.replicas {
				if r.ended() {
					r.restart()
				}
			}
			mustHave(t, c.mustAgree(), `e2e_kept{instance="",job="kept"}`, "3")
		})
	}
}

// TestWithoutAQuorumTheAnswerSaysWhatIsKnown: whoever is told that nothing was stored can rely on it.
func TestWithoutAQuorumTheAnswerSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--push.timeout=2s", "--web.enable-admin-api")
	for _, r := range c.followers() {
		r.kill()
	}
	left := c.running()[0]
	nothing := map[string]bool{} // jobs that were not stored
	ask := func(method, path, body, done string) {
		t.Helper()
		a := mustDo(t, http.StatusServiceUnavailable, request{method: method, url: left.url(path), body: body})
		certain, unknown := strings.HasPrefix(a.body, "nothing was "+done+": "),
			strings.HasPrefix(a.body, "the outcome is unknown: it may be "+done+" or not")
		if certain == unknown || certain == strings.Contains(a.body, "unknown") || strings.Count(a.body, "\n") != 1 {
			t.Errorf("%s %s: want one line that says one of the two, got %q", method, path, a.body)
		}
		nothing[path] = certain
	}
	// The first comes to a leader that does not know yet that it is alone; the last ones to a replica that knows no
	// leader.
	ask(http.MethodPut, "/metrics/job/first", gauge("e2e_fate", 1), "stored")
	eventually(t, 20*time.Second, "lose the leadership", func() error {
		if status, err := left.status(); err != nil || status.Leader != "" {
			return fmt.Errorf("%+v (%w)", status, err)
		}
		return nil
	})
	ask(http.MethodPost, "/metrics/job/second", gauge("e2e_fate", 1), "stored")
	ask(http.MethodDelete, "/metrics/job/third", "", "deleted")
	ask(http.MethodPut, "/api/v1/admin/wipe", "", "deleted")
	for _, path := range []string{"/metrics/job/second", "/metrics/job/third", "/api/v1/admin/wipe"} {
		if !nothing[path] {
			t.Errorf("%s: no leader was known, and the answer does not say that nothing was done", path)
		}
	}
	if nothing["/metrics/job/first"] {
		t.Log("the leader has stepped down before the first push: that one shows nothing")
	}

	for _, r := range c.replicas {
		if r.ended() {
			r.restart()
		}
	}
	c.mustBeReady()
	page := c.mustAgree()
	for path, certain := range nothing {
		job := strings.TrimPrefix(path, "/metrics/job/")
		if certain && strings.Contains(page, `job="`+job+`"`) {
			t.Errorf("%s: the answer said that nothing was stored, but it is there:\n%s", path, page)
		}
	}
}

func TestAStaleScrapeIsServedForABoundedTime(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--read.max-staleness=3s")
	c.at(0).push("/metrics/job/kept", gauge("e2e_kept", 1))
	left := c.followers()[0]
	left.scrape()
	for _, r := range c.replicas {
		if r != left {
			r.kill()
		}
	}
	eventually(t, 20*time.Second, "refuse to serve what is older than --read.max-staleness", func() error {
		a, err := do(request{url: left.url("/metrics")})
		if err != nil {
			return err
		}
		if a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d, %s: %q", a.status, staleHeader, a.header.Get(staleHeader))
		}
		return nil
	})
}

func TestAReplicaThatHasNotCaughtUpServesNoEmptyPage(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.at(0).push("/metrics/job/kept", gauge("e2e_kept", 1))
	for _, r := range c.replicas {
		r.kill()
	}
	// Alone it cannot know what is current, and so it is not ready and says nothing.
	alone := c.at(1)
	alone.start()
	eventually(t, readyWithin, "answer at all", func() error {
		_, err := do(request{url: alone.url("/-/healthy")})
		return err
	})
	for _, consistency := range []string{"/metrics", "/-/ready"} {
		if a, err := do(request{url: alone.url(consistency)}); err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("GET %s of a replica that has not caught up: want 503, got %s (%v)", consistency, a, err)
		}
	}
	c.at(0).start()
	c.at(2).start()
	c.mustBeReady()
	mustHave(t, c.mustAgree(), `e2e_kept{instance="",job="kept"}`, "1")
}
