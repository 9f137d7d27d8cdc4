package cluster

import (
	"fmt"
	"testing"
)

func TestThreeReplicasFormAClusterAndServeEachOthersPushes(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	for i := range 9 {
		job := fmt.Sprintf("job%d", i)
		push(t, replicas[i%3], job, float64(i))
		for _, r := range replicas {
			if err := r.ReadBarrier(testContext(t)); err != nil {
				t.Fatalf("%s: %v", r.cfg.Name, err)
			}
			if !hasJob(r, job) {
				t.Fatalf("%s does not show %s right after it was acknowledged", r.cfg.Name, job)
			}
		}
	}
	sameState(t, replicas...)
	status := replicas[0].Status(testContext(t))
	if len(status.Members) != 3 || status.Leader == "" {
		t.Fatalf("status: %+v", status)
	}
	for i, m := range status.Members {
		if m.Name != fmt.Sprintf("r%d", i+1) || m.Role != "voter" || !m.Healthy {
			t.Errorf("member %d: %+v", i, m)
		}
	}
}

func TestStandaloneReplicaOpensNoPortAndIsReadyAtOnce(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	push(t, r, "one", 1)
	if !hasJob(r, "one") {
		t.Fatal("the push is not there")
	}
}
