package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestAPushToAnyReplicaShowsOnEveryReplicaAtOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for i := range 30 {
		method, path := http.MethodPut, fmt.Sprintf("/metrics/job/batch/shard/%d", i%7)
		if i%2 == 1 {
			method = http.MethodPost
		}
		mustDo(t, http.StatusOK, request{method: method, url: c.at(i).url(path), body: gauge("e2e_round", i)})
		series := fmt.Sprintf(`e2e_round{instance="",job="batch",shard="%d"}`, i%7)
		for _, r := range c.replicas {
			mustHave(t, r.scrape(), series, fmt.Sprint(i))
		}
	}
	c.at(1).delete("/metrics/job/batch/shard/3")
	for _, r := range c.replicas {
		mustLack(t, r.scrape(), `shard="3"`)
	}
	scrape := c.mustAgree()
	if families := strings.Count(scrape, "# TYPE "); families != 3 {
		t.Errorf("a replica of a cluster serves the replicated state alone: want 3 families, got %d:\n%s",
			families, scrape)
	}
	for _, r := range c.replicas {
		own := mustDo(t, http.StatusOK, request{url: r.url("/-/metrics")})
		checkWithPromtool(t, own.body)
		for _, name := range []string{"go_goroutines", "pushgateway_build_info", "pushquorum_"} {
			if !strings.Contains(own.body, "\n"+name) {
				t.Errorf("%s/-/metrics has no %s", r.name, name)
			}
		}
	}
}

func TestTheClusterPageTellsWhoIsThere(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	leader := c.leader()
	for _, r := range c.replicas {
		eventually(t, readyWithin, "see three healthy voters on "+r.name, func() error {
			status, err := r.status()
			if err != nil {
				return err
			}
			if status.Self != r.name || status.Leader != leader.name || status.Term == 0 {
				return fmt.Errorf("want self %s and leader %s, got %+v", r.name, leader.name, status)
			}
			var names []string
			for _, m := range status.Members {
				names = append(names, m.Name)
				state := "follower"
				if m.Name == leader.name {
					state = "leader"
				}
				if m.Role != "voter" || m.State != state || !m.Healthy ||
					len(m.ID) != len("00000000-0000-0000-0000-000000000000") ||
					!strings.HasPrefix(m.PeerAddress, "127.0.0.1:") || m.Version == "" || m.AppliedIndex == 0 {
					return fmt.Errorf("member %+v", m)
				}
			}
			slices.Sort(names)
			if !slices.Equal(names, []string{"r1", "r2", "r3"}) {
				return fmt.Errorf("members %v", names)
			}
			return nil
		})
	}
}

func TestAWipeOnOneReplicaEmptiesAll(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--web.enable-admin-api")
	for i := range 20 {
		c.at(i).push(fmt.Sprintf("/metrics/job/j%d", i), gauge("e2e_wiped", i))
	}
	mustDo(t, http.StatusAccepted, request{method: http.MethodPut, url: c.at(2).url("/api/v1/admin/wipe")})
	for _, r := range c.replicas {
		if scrape := r.scrape(); scrape != "" {
			t.Errorf("%s still has after the wipe:\n%s", r.name, scrape)
		}
	}
	c.at(0).push("/metrics/job/j1", gauge("e2e_wiped", 100))
	mustHave(t, c.mustAgree(), `e2e_wiped{instance="",job="j1"}`, "100")
}

func TestARequestWithTheSameIdempotencyKeyIsAppliedOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	first := request{
		method: http.MethodPut, url: c.at(0).url("/metrics/job/once"), body: gauge("e2e_once", 1),
		header: map[string]string{"Idempotency-Key": "run-17"},
	}
	mustDo(t, http.StatusOK, first)
	c.at(1).push("/metrics/job/once", gauge("e2e_once", 2))

	// The same request again, on every replica: answered as the first one was, and nothing is undone.
	for _, r := range c.replicas {
		again := first
		again.url = r.url("/metrics/job/once")
		mustDo(t, http.StatusOK, again)
		mustHave(t, r.scrape(), `e2e_once{instance="",job="once"}`, "2")
	}

	// The key of one request cannot be another's.
	other := first
	other.url, other.body = c.at(2).url("/metrics/job/once"), gauge("e2e_once", 3)
	mustDo(t, http.StatusUnprocessableEntity, other)
	mustHave(t, c.mustAgree(), `e2e_once{instance="",job="once"}`, "2")

	// A deletion that is repeated does not delete what was pushed since.
	deletion := request{
		method: http.MethodDelete, url: c.at(0).url("/metrics/job/once"),
		header: map[string]string{"Idempotency-Key": "cleanup-17"},
	}
	mustDo(t, http.StatusAccepted, deletion)
	c.at(1).push("/metrics/job/once", gauge("e2e_once", 4))
	deletion.url = c.at(2).url("/metrics/job/once")
	mustDo(t, http.StatusAccepted, deletion)
	mustHave(t, c.mustAgree(), `e2e_once{instance="",job="once"}`, "4")
}

func TestAStandaloneReplicaKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	r.push("/metrics/job/kept", everyType)
	r.push("/metrics/job/gone", gauge("e2e_gone", 1))
	r.delete("/metrics/job/gone")
	before := pushedLines(r.scrape())
	for _, end := range []struct {
		name string
		how  func()
	}{{"SIGTERM", r.stopNow}, {"SIGKILL", func() { r.kill() }}} {
		end.how()
		r.restart()
		if after := pushedLines(r.scrape()); !slices.Equal(after, before) {
			t.Fatalf("the scrape after %s and a restart differs:\n%s", end.name, diffLines(before, after))
		}
	}
	if strings.Contains(string(r.output()), "memberlist") {
		t.Error("a standalone replica has to do with gossip")
	}
}

func TestAStandaloneReplicaBecomesTheFirstMemberOfACluster(t *testing.T) {
	t.Parallel()
	alone := startReplica(t)
	alone.push("/metrics/job/kept", everyType)
	before := pushedLines(alone.scrape())
	alone.stopNow()

	c := newCluster(t)
	c.replicas[0].data = alone.data
	first := c.replicas[0]
	first.start()
	first.mustBeReady()
	for _, r := range c.replicas[1:] {
		r.start()
	}
	c.mustBeReady()
	for _, r := range c.replicas {
		if after := pushedLines(r.scrape()); !slices.Equal(after, before) {
			t.Fatalf("the scrape of %s is not that of the standalone replica:\n%s", r.name, diffLines(before, after))
		}
	}
	eventually(t, readyWithin, "make voters of the two that joined", func() error {
		status, err := first.status()
		if err != nil {
			return err
		}
		for _, m := range status.Members {
			if m.Role != "voter" || len(status.Members) != 3 {
				return fmt.Errorf("members %+v", status.Members)
			}
		}
		return nil
	})
	// With three voters the first is not needed any more.
	first.kill()
	survivor := c.followers()[0]
	survivor.push("/metrics/job/later", gauge("e2e_later", 1))
	mustHave(t, survivor.scrape(), `e2e_gauge{instance="",job="kept"}`, "-1.5")
	first.restart()
	mustHave(t, c.mustAgree(), `e2e_later{instance="",job="later"}`, "1")
}
