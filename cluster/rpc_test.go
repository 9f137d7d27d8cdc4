package cluster

import "testing"

// An entry without a command would halt every replica, and be there again after a restart.
func TestACallWithoutCommandsReachesNoLog(t *testing.T) {
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	for _, commands := range [][][]byte{nil, {}, {nil}, {{}, nil}} {
		args := &ApplyArgs{Cluster: leader.store.ClusterID(), Commands: commands, TimeoutMs: 2000}
		var reply ApplyReply
		if err := others[0].peers.Call(testContext(t), leader.self, "Apply", args, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Outcome != outcomeNotAppended {
			t.Errorf("%d commands: %+v, want that they are not appended", len(commands), reply)
		}
	}
	push(t, leader, "after", 1)
	sameState(t, replicas...)
}
