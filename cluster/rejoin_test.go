package cluster

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"pushquorum/fsm"
)

// gossipCut is a partition of the gossip: one address that nobody reaches, and that reaches nobody.
type gossipCut struct {
	mu      sync.Mutex
	address string
}

func (c *gossipCut) set(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address = address
}

func (c *gossipCut) between(a, b string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address != "" && (c.address == a) != (c.address == b)
}

// cutTransport is memberlist's own, with the cut in it.
type cutTransport struct {
	*memberlist.NetTransport
	own string
	cut *gossipCut
}

func (t *cutTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if t.cut.between(t.own, a.Addr) {
		return time.Now(), nil
	}
	return t.NetTransport.WriteToAddress(b, a)
}

func (t *cutTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.cut.between(t.own, a.Addr) {
		return nil, errCut
	}
	return t.NetTransport.DialAddressTimeout(a, timeout)
}

// tuneGossip puts the cut into the gossip of a replica, which then never gives anybody up, never compares notes by
// itself, and looks at its peers only when it has a reason to.
func (c *gossipCut) tuneGossip(t *testing.T, r *replicaT) {
	tune := r.tune.gossip
	r.tune.slowRejoin = time.Hour
	r.tune.gossip = func(cfg *memberlist.Config) {
		tune(cfg)
		cfg.SuspicionMult = 10_000
		cfg.PushPullInterval = time.Hour
		inner, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort,
			Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Transport = &cutTransport{NetTransport: inner, own: r.cfg.ListenAddress, cut: c}
	}
}

// A leader is cut off while another replica loses its disk. Afterwards the leader leads again, and the gossip, which
// has told of the newcomer while the leader could not hear, does not repeat itself: the newcomer has to introduce
// itself to all.
func TestLeaderThatWasCutOffLearnsOfAReplicaThatCameMeanwhile(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it waits for elections and for gossip")
	}
	t.Parallel()
	tn, cut := newTestNet(), &gossipCut{}
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		cut.tuneGossip(t, r)
		r.start()
	}
	waitReady(t, replicas...)
	leader, others := leaderOf(t, replicas)

	tn.isolate(leader.cfg.Name, true, names(replicas))
	cut.set(leader.cfg.ListenAddress)
	last := leader.raft.LastIndex()
	leader.raft.Apply(fsm.Seal([][]byte{pushCommand(leader, "cut-off", 1)}, time.Now()), 0)
	eventually(t, "the leader's log is the longest, so that it alone can lead again",
		func() bool { return leader.raft.LastIndex() > last })
	lost := others[0]
	lost.crash()
	if err := os.RemoveAll(lost.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	lost.start()
	eventually(t, "the one that stayed sees the newcomer", func() bool {
		m, ok := others[1].gossip.LastSeen(lost.self)
		return ok && m.ID == lost.self
	})
	eventually(t, "the newcomer waits", func() bool {
		return strings.Contains(lost.logs.String(), "waiting for a cluster")
	})

	tn.isolate(leader.cfg.Name, false, names(replicas))
	cut.set("")
	waitReady(t, replicas...)
	push(t, lost, "after", 1)
}
