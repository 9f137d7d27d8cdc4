package test

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const missedPushes = 5000

func TestAReplicaThatWasAwayCatchesUpFromTheLog(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--storage.snapshot-entries=1000000", "--log.level=debug")
	returned := catchUp(t, c)
	if fromSnapshot(returned) {
		t.Errorf("%s was sent a snapshot, although the whole log was there:\n%s",
			returned.name, lastLines(returned.output(), 20))
	}
	if names := snapshots(t, returned); len(names) > 0 {
		t.Errorf("%s has snapshots, although it needed none: %v", returned.name, names)
	}
}

func TestAReplicaThatWasAwayCatchesUpFromASnapshot(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--storage.snapshot-entries=500", "--log.level=debug")
	returned := catchUp(t, c)
	if !fromSnapshot(returned) {
		t.Errorf("%s was sent no snapshot, although the log does not go back that far:\n%s",
			returned.name, lastLines(returned.output(), 20))
	}
	if len(snapshots(t, returned)) == 0 {
		t.Errorf("%s has no snapshot in %s", returned.name, returned.data)
	}
}

// catchUp takes a follower away, pushes, and brings it back; it returns it once it has the same state as the others.
func catchUp(t *testing.T, c *clusterOf) *replica {
	t.Helper()
	c.at(0).push("/metrics/job/before", gauge("e2e_before", 1))
	away := c.followers()[0]
	away.kill()
	c.leader() // elected, so that no push has to wait
	began := time.Now()
	pushMany(t, c.running(), missedPushes)
	t.Logf("%d pushes in %s while %s was away", missedPushes, time.Since(began).Round(time.Millisecond), away.name)

	before, err := c.running()[0].status()
	if err != nil {
		t.Fatal(err)
	}

	began = time.Now()
	away.restart()
	t.Logf("%s was ready after %s", away.name, time.Since(began).Round(time.Millisecond))
	status, err := away.status()
	if err != nil {
		t.Fatal(err)
	}
	if status.AppliedIndex < before.AppliedIndex {
		t.Errorf("%s says it is ready, and has applied only %d of %d",
			away.name, status.AppliedIndex, before.AppliedIndex)
	}
	scrape := c.mustAgree()
	mustHave(t, scrape, `e2e_missed{instance="",job="missed",shard="0"}`, fmt.Sprint(missedPushes-shards))
	mustHave(t, scrape, `e2e_before{instance="",job="before"}`, "1")
	return away
}

const shards = 50

// pushMany pushes the numbers below n into their shards, each shard in order of the numbers, over all the replicas.
func pushMany(t *testing.T, replicas []*replica, n int) {
	t.Helper()
	var clients sync.WaitGroup
	const parallel = 10 // divides shards, so that a shard has one client and its pushes stay in order
	for k := range parallel {
		clients.Go(func() {
			for i := k; i < n && !t.Failed(); i += parallel {
				r := request{
					method: http.MethodPut,
					url:    replicas[i%len(replicas)].url(fmt.Sprintf("/metrics/job/missed/shard/%d", i%shards)),
					body:   gauge("e2e_missed", i),
				}
				if a, err := do(r); err != nil || a.status != http.StatusOK {
					t.Errorf("%s: %v %v", r, a, err)
				}
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// fromSnapshot says whether the leader sent this process a snapshot, by what Raft logs then.
func fromSnapshot(r *replica) bool {
	return strings.Contains(strings.ToLower(string(r.output())), "installed remote snapshot")
}

// snapshots are the complete snapshots in a replica's data directory.
func snapshots(t *testing.T, r *replica) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(r.data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "state.bin" && !strings.Contains(path, ".tmp") {
			out = append(out, path)
		}
		return nil // a snapshot may be removed while it is looked at
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
