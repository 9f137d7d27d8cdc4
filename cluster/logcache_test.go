package cluster

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/expo"
	"pushquorum/fsm"
)

// largePush is a push of so many bytes into a group of its own.
func largePush(r *replicaT, job string, size int) []byte {
	group := expo.NewLabels(map[string]string{"job": job})
	var families []*expo.Family
	for i := 0; size > 0; i++ {
		help := bytes.Repeat([]byte("x"), min(size, 8<<10))
		size -= len(help)
		families = append(families,
			expo.Gauge(&expo.Header{
				Name: fmt.Sprintf("test_value_%04d", i), Help: string(help),
				Type: dto.MetricType_GAUGE,
			}, group.Key(), 1))
	}
	return fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()}, group, true, families)
}

// appendMeter notes the most that is appended to a log at a time.
type appendMeter struct {
	mu      sync.Mutex
	largest int // bytes in more than one entry
}

func (m *appendMeter) append(logs []*raft.Log) error {
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	if len(logs) > 1 {
		m.mu.Lock()
		m.largest = max(m.largest, size)
		m.mu.Unlock()
	}
	return nil
}

// A follower that was away gets large entries a few at a time, and both sides apply what was acknowledged; so does a
// replica that starts, whose log holds more than should be in memory.
func TestAFollowerThatWasAwayCatchesUpOverLargeEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it sends entries of many megabytes")
	}
	net, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	away := others[0]
	away.crash()
	for i := range 20 {
		result, err := leader.Apply(testContext(t), largePush(leader, fmt.Sprintf("large%d", i), 300<<10))
		if err != nil || result.Status != fsm.Applied {
			t.Fatalf("%v, %v", result, err)
		}
	}
	net.isolate(away.cfg.Name, true, names(replicas), raftnet.KindRaft)
	meter := &appendMeter{}
	away.tune.disk.Append = meter.append
	away.start()
	net.isolate(away.cfg.Name, false, names(replicas), raftnet.KindRaft)
	waitReady(t, away)
	sameState(t, replicas...)
	meter.mu.Lock()
	if meter.largest > disk.MaxSent || meter.largest == 0 {
		t.Errorf("%d bytes were sent at a time, want more than one entry and at most %d bytes", meter.largest,
			disk.MaxSent)
	}
	meter.mu.Unlock()
	for i := range 6 { // now it is sent to in a pipeline
		result, err := leader.Apply(testContext(t), largePush(leader, fmt.Sprintf("more%d", i), 3<<20))
		if err != nil || result.Status != fsm.Applied {
			t.Fatalf("%v, %v", result, err)
		}
	}
	sameState(t, replicas...)
	for _, r := range replicas {
		r.crash()
	}
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	sameState(t, replicas...)
	if !hasJob(replicas[0], "large19") || !hasJob(replicas[0], "more5") {
		t.Error("a push was lost")
	}
}
