package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/connlimit"
	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/loglimit"
)

// gossip knows who is there. It decides nothing: a vote or an acknowledgement is Raft's business.
type gossip struct {
	logger *slog.Logger
	self   uuid.UUID
	starts uint64
	addrs  addresses
	gossipHooks

	list *memberlist.Memberlist
	// changed gets a token when the membership changed; one reader.
	changed chan struct{}

	// telling is held while the others are told: memberlist reads its own entry without its lock when it is asked to.
	telling sync.Mutex

	mu    sync.Mutex
	nodes map[string]node        // alive, by memberlist name; memberlist's own list cannot be read without a race
	last  map[uuid.UUID]nodeMeta // alive or not, the newest start that was seen
	sent  nodeMeta               // last told to the others
	seen  int                    // members that have come so far
	// foreign are the names that turned out to be of another cluster when memberlist knew them already. It goes on
	// probing them, with what they said before, and tells when they die.
	foreign map[string]bool
}

// gossipHooks is what gossip asks and tells the replica. None may call back into gossip.
type gossipHooks struct {
	meta     func() nodeMeta                 // about this replica, now
	moved    func(id uuid.UUID, peer string) // where another replica is, whenever that changes
	stranger func(m nodeMeta)                // a replica of another cluster was refused
}

// node is a living member: what it says about itself and where its gossip comes from.
type node struct {
	nodeMeta
	address string // host:port
}

// nodeName is unique to one start of one replica: an entry left behind by an earlier start, at another address perhaps,
// never conflicts with the present one.
func nodeName(id uuid.UUID, starts uint64) string { return fmt.Sprintf("%s/%d", id, starts) }

func newGossip(logger *slog.Logger, self uuid.UUID, starts uint64, addrs addresses, hooks gossipHooks) *gossip {
	return &gossip{
		logger: logger, self: self, starts: starts, addrs: addrs, gossipHooks: hooks,
		changed: make(chan struct{}, 1),
		nodes:   map[string]node{}, last: map[uuid.UUID]nodeMeta{}, foreign: map[string]bool{},
	}
}

// start opens the gossip port. Packets and streams carry the label, and those with another one are dropped.
func (g *gossip) start(label string, tune func(*memberlist.Config)) error {
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = nodeName(g.self, g.starts)
	cfg.BindAddr = g.addrs.gossipBind.Addr().String()
	cfg.BindPort = int(g.addrs.gossipBind.Port())
	cfg.AdvertiseAddr = g.addrs.gossipAdvertise.Addr().String()
	cfg.AdvertisePort = int(g.addrs.gossipAdvertise.Port())
	cfg.TCPTimeout = 3 * time.Second
	cfg.LogOutput = gossipLog{logger: g.logger, quiet: loglimit.New()}
	cfg.Delegate, cfg.Events, cfg.Conflict, cfg.Alive = g, g, g, g
	cfg.Label = label
	if tune != nil {
		tune(cfg)
	}
	first := g.meta()
	if _, err := encodeMeta(first); err != nil {
		return err
	}
	failed := func(err error) error {
		return cannotListen("--cluster.listen-address", g.addrs.gossipBind.String(), err)
	}
	inner, given := cfg.Transport.(memberlist.NodeAwareTransport) // by a test
	if !given {
		var err error
		if inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort, Logger: slog.NewLogLogger(gossipHandler{slog.DiscardHandler, cfg.LogOutput}, slog.LevelInfo),
		}); err != nil {
			return failed(err)
		}
	}
	transport := newGossipTransport(inner, connlimit.PerPort())
	cfg.Transport = transport
	g.mu.Lock()
	g.sent = first
	g.mu.Unlock()
	list, err := memberlist.Create(cfg)
	if err != nil {
		return failed(errors.Join(err, transport.Shutdown()))
	}
	g.list = list
	return nil
}

// refresh tells the others when what this replica says about itself has changed.
func (g *gossip) refresh() {
	g.telling.Lock()
	defer g.telling.Unlock()
	now := g.meta()
	g.mu.Lock()
	before := g.sent
	g.sent = now
	g.mu.Unlock()
	if now == before {
		return
	}
	if now.Cluster != before.Cluster {
		g.dropForeigners(now.Cluster)
	}
	if err := g.list.UpdateNode(time.Second); err != nil {
		g.logger.Debug("gossip about this replica is slow", "err", err)
	}
}

// alive gives the members that gossip holds for alive, this replica among them, sorted by id; of two entries about one
// replica the later start counts.
func (g *gossip) alive() []nodeMeta {
	newest := map[uuid.UUID]nodeMeta{g.self: g.meta()}
	g.mu.Lock()
	for _, m := range g.nodes {
		if m.ID == g.self {
			continue
		}
		if have, ok := newest[m.ID]; !ok || m.Starts > have.Starts {
			newest[m.ID] = m.nodeMeta
		}
	}
	g.mu.Unlock()
	out := make([]nodeMeta, 0, len(newest))
	for _, m := range newest {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b nodeMeta) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// clustersAt gives the clusters to which the living belong whose gossip is at one of the addresses, each once, sorted.
func (g *gossip) clustersAt(at func(address string) bool) []uuid.UUID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []uuid.UUID
	for _, n := range g.nodes {
		if n.ID != g.self && n.Cluster != uuid.Nil && !slices.Contains(out, n.Cluster) && at(n.address) {
			out = append(out, n.Cluster)
		}
	}
	slices.SortFunc(out, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// lastSeen is what was last heard about a replica, which may be gone.
func (g *gossip) lastSeen(id uuid.UUID) (nodeMeta, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.last[id]
	return m, ok
}

// ownAddresses are where this replica gossips.
func (g *gossip) ownAddresses() map[string]bool {
	return map[string]bool{g.addrs.gossipAdvertise.String(): true, g.addrs.gossipBind.String(): true}
}

// gossipAddresses gives the gossip addresses of the living, this replica's included.
func (g *gossip) gossipAddresses() map[string]bool {
	out := g.ownAddresses()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.nodes {
		out[n.address] = true
	}
	return out
}

func (g *gossip) note(n *memberlist.Node, alive bool) {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		g.logger.Warn("a gossip member is not a replica of this kind; is the port shared with another program?", "member", n.Name, "address", n.Address(), "err", err)
		return
	}
	g.mu.Lock()
	strange := g.foreign[n.Name]
	delete(g.foreign, n.Name)
	if strange && !alive {
		g.mu.Unlock()
		return
	}
	if alive {
		if before, ok := g.nodes[n.Name]; ok {
			m.seen = before.seen
		} else {
			g.seen++
			m.seen = g.seen
		}
		g.nodes[n.Name] = node{nodeMeta: m, address: n.Address()}
	} else {
		delete(g.nodes, n.Name)
	}
	have, ok := g.last[m.ID]
	newest := m.ID != g.self && (!ok || m.Starts >= have.Starts)
	switch {
	case newest && !alive && !m.Member:
		delete(g.last, m.ID) // it holds nothing that anybody waits for, and should it come back it says where it is
	case newest:
		g.last[m.ID] = m
	}
	twin := alive && m.ID == g.self && m.Starts > g.starts
	g.mu.Unlock()
	if twin {
		g.logger.Error("another process runs with this replica's id: a data directory was copied; stop one of the two and delete its directory", "id", g.self, "address", n.Address())
	}
	if newest && alive && m.Peer != have.Peer {
		g.moved(m.ID, m.Peer)
	}
	g.poke()
}

// poke wakes the reader of changed.
func (g *gossip) poke() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// foreignTo tells whether two replicas, with these clusters, belong to different ones.
func foreignTo(cluster, other uuid.UUID) bool {
	return cluster != uuid.Nil && other != uuid.Nil && other != cluster
}

// NotifyAlive implements memberlist.AliveDelegate. It is asked before memberlist believes any word of a living member,
// in a packet or in a list of members, and before it passes that on. So two clusters whose gossip meets stay apart:
// neither tells its newcomers of the other.
func (g *gossip) NotifyAlive(n *memberlist.Node) error {
	m, err := decodeMeta(n.Meta)
	if err == nil && m.ID != g.self && foreignTo(g.meta().Cluster, m.Cluster) {
		if have, ok := g.lastSeen(m.ID); !ok || m.Starts >= have.Starts { // else it is old news of one that has started again
			g.forget(m.ID)
			g.stranger(m)
		}
		return fmt.Errorf("it %w, %s", disk.ErrOtherCluster, m.Cluster)
	}
	return nil // note says what is wrong with one that cannot be read, or has this replica's id
}

// forget drops a replica that has turned out to be of another cluster.
func (g *gossip) forget(id uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.last, id)
	for name, n := range g.nodes {
		if n.ID == id {
			delete(g.nodes, name)
			g.foreign[name] = true
		}
	}
}

// dropForeigners drops all that belong to another cluster than the one that this replica is bound to now.
func (g *gossip) dropForeigners(cluster uuid.UUID) {
	g.mu.Lock()
	known := slices.Collect(maps.Values(g.last))
	g.mu.Unlock()
	for _, m := range known {
		if foreignTo(cluster, m.Cluster) {
			g.forget(m.ID)
			g.stranger(m)
		}
	}
}

// NotifyJoin implements memberlist.EventDelegate, as do the next two.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.note(n, true) }

// NotifyLeave is called when a member left or died.
func (g *gossip) NotifyLeave(n *memberlist.Node) { g.note(n, false) }

// NotifyUpdate is called when a member says something new about itself.
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.note(n, true) }

// NotifyConflict implements memberlist.ConflictDelegate: one start of one replica at two addresses.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.logger.Error("two processes run with one replica id: a data directory was copied; stop one of the two and delete its directory", "id", existing.Name, "address", existing.Address(), "other", other.Address())
}

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	b, err := encodeMeta(g.meta())
	if err != nil {
		return nil // start has tried it: name and version do not change
	}
	return b
}

// NotifyMsg implements memberlist.Delegate; there are no messages, broadcasts or states of our own.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}

// Close leaves the gossip without a word: the others find out by probing, as they would after a crash.
func (g *gossip) Close() error {
	if g.list == nil {
		return nil
	}
	return g.list.Shutdown()
}
