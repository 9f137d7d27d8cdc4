package gossip

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
	"pushquorum/cluster/internal/listening"
	"pushquorum/cluster/internal/loglimit"
)

// Membership knows who is there. It decides nothing: a vote or an acknowledgement is Raft's business.
type Membership struct {
	logger *slog.Logger
	self   uuid.UUID
	Starts uint64
	addrs  Addresses
	Hooks

	list *memberlist.Memberlist
	news chan struct{} // gets a token when the membership changed

	// telling is held while the others are told: memberlist reads its own entry without its lock when it is asked to.
	telling sync.Mutex

	mu    sync.Mutex
	nodes map[string]node    // alive, by memberlist name; memberlist's own list cannot be read without a race
	last  map[uuid.UUID]Meta // alive or not, the newest start that was seen
	sent  Meta               // last told to the others
	seen  int                // members that have come so far
	// foreign are the names that turned out to be of another cluster when memberlist knew them already. It goes on
	// probing them, with what they said before, and tells when they die.
	foreign map[string]bool
}

// Hooks is what gossip asks and tells the replica. None may call back into gossip.
type Hooks struct {
	Meta     func() Meta                     // about this replica, now
	Moved    func(id uuid.UUID, peer string) // where another replica is, whenever that changes
	Stranger func(m Meta)                    // a replica of another cluster was refused
}

// node is a living member: what it says about itself and where its gossip comes from.
type node struct {
	Meta
	address string // host:port
}

// NodeName is unique to one start of one replica: an entry left behind by an earlier start, at another address perhaps,
// never conflicts with the present one.
func NodeName(id uuid.UUID, starts uint64) string { return fmt.Sprintf("%s/%d", id, starts) }

// New makes the membership of one start of the replica self. Nothing is sent before Start.
func New(logger *slog.Logger, self uuid.UUID, starts uint64, addrs Addresses, hooks Hooks) *Membership {
	return &Membership{
		logger: logger, self: self, Starts: starts, addrs: addrs, Hooks: hooks,
		news:  make(chan struct{}, 1),
		nodes: map[string]node{}, last: map[uuid.UUID]Meta{}, foreign: map[string]bool{},
	}
}

// Start opens the gossip port. Packets and streams carry the label, and those with another one are dropped.
func (g *Membership) Start(label string, tune func(*memberlist.Config)) error {
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = NodeName(g.self, g.Starts)
	cfg.BindAddr = g.addrs.GossipBind.Addr().String()
	cfg.BindPort = int(g.addrs.GossipBind.Port())
	cfg.AdvertiseAddr = g.addrs.GossipAdvertise.Addr().String()
	cfg.AdvertisePort = int(g.addrs.GossipAdvertise.Port())
	cfg.TCPTimeout = 3 * time.Second
	cfg.LogOutput = gossipLog{logger: g.logger, quiet: loglimit.New()}
	cfg.Delegate, cfg.Events, cfg.Conflict, cfg.Alive = g, g, g, g
	cfg.Label = label
	if tune != nil {
		tune(cfg)
	}
	first := g.Meta()
	if _, err := EncodeMeta(first); err != nil {
		return err
	}
	failed := func(err error) error {
		return listening.Error("--cluster.listen-address", g.addrs.GossipBind.String(), err)
	}
	inner, given := cfg.Transport.(memberlist.NodeAwareTransport) // by a test
	if !given {
		var err error
		if inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort,
			Logger: slog.NewLogLogger(gossipHandler{slog.DiscardHandler, cfg.LogOutput}, slog.LevelInfo),
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

// Refresh tells the others when what this replica says about itself has changed; before Start there is nobody to tell.
func (g *Membership) Refresh() {
	if g.list == nil {
		return
	}
	g.telling.Lock()
	defer g.telling.Unlock()
	now := g.Meta()
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

// Alive gives the members that gossip holds for alive, this replica among them, sorted by id; of two entries about one
// replica the later start counts.
func (g *Membership) Alive() []Meta {
	newest := map[uuid.UUID]Meta{g.self: g.Meta()}
	g.mu.Lock()
	for _, m := range g.nodes {
		if m.ID == g.self {
			continue
		}
		if have, ok := newest[m.ID]; !ok || m.Starts > have.Starts {
			newest[m.ID] = m.Meta
		}
	}
	g.mu.Unlock()
	out := make([]Meta, 0, len(newest))
	for _, m := range newest {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Meta) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// ClustersAt gives the clusters to which the living belong whose gossip is at one of the addresses, each once, sorted.
func (g *Membership) ClustersAt(at func(address string) bool) []uuid.UUID {
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

// LastSeen is what was last heard about a replica, which may be gone.
func (g *Membership) LastSeen(id uuid.UUID) (Meta, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.last[id]
	return m, ok
}

// OwnAddresses are where this replica gossips.
func (g *Membership) OwnAddresses() map[string]bool {
	return map[string]bool{g.addrs.GossipAdvertise.String(): true, g.addrs.GossipBind.String(): true}
}

// Addresses gives the gossip addresses of the living, this replica's included.
func (g *Membership) Addresses() map[string]bool {
	out := g.OwnAddresses()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.nodes {
		out[n.address] = true
	}
	return out
}

func (g *Membership) note(n *memberlist.Node, alive bool) {
	m, err := DecodeMeta(n.Meta)
	if err != nil {
		g.logger.Warn("a gossip member is not a replica of this kind; is the port shared with another program?",
			"member", n.Name, "address", n.Address(), "err", err)
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
			m.Seen = before.Seen
		} else {
			g.seen++
			m.Seen = g.seen
		}
		g.nodes[n.Name] = node{Meta: m, address: n.Address()}
	} else {
		delete(g.nodes, n.Name)
	}
	have, ok := g.last[m.ID]
	newest := m.ID != g.self && (!ok || m.Starts >= have.Starts)
	switch {
	case newest && !alive && !m.HasRaftState:
		delete(g.last, m.ID) // it holds nothing that anybody waits for, and should it come back it says where it is
	case newest:
		g.last[m.ID] = m
	}
	twin := alive && m.ID == g.self && m.Starts > g.Starts
	g.mu.Unlock()
	if twin {
		g.logger.Error("another process runs with this replica's id: a data directory was copied; stop one of the two "+
			"and delete its directory", "id", g.self, "address", n.Address())
	}
	if newest && alive && m.Peer != have.Peer {
		g.Moved(m.ID, m.Peer)
	}
	g.Poke()
}

// Changed gets a token when the membership changed; it has one reader.
func (g *Membership) Changed() <-chan struct{} { return g.news }

// Join reaches out to whoever gossips at the address, host:port.
func (g *Membership) Join(address string) error {
	_, err := g.list.Join([]string{address})
	return err
}

// Leave tells the others that this replica goes, and waits until some have heard it or the time is up.
func (g *Membership) Leave(timeout time.Duration) error { return g.list.Leave(timeout) }

// Poke wakes the reader of [Membership.Changed].
func (g *Membership) Poke() {
	select {
	case g.news <- struct{}{}:
	default:
	}
}

// ErrOtherCluster is why what a replica of another cluster says is not believed.
var ErrOtherCluster = errors.New("belongs to another cluster")

// ForeignTo tells whether two replicas, with these clusters, belong to different ones.
func ForeignTo(cluster, other uuid.UUID) bool {
	return cluster != uuid.Nil && other != uuid.Nil && other != cluster
}

// NotifyAlive implements memberlist.AliveDelegate. It is asked before memberlist believes any word of a living member,
// in a packet or in a list of members, and before it passes that on. So two clusters whose gossip meets stay apart:
// neither tells its newcomers of the other.
func (g *Membership) NotifyAlive(n *memberlist.Node) error {
	m, err := DecodeMeta(n.Meta)
	if err == nil && m.ID != g.self && ForeignTo(g.Meta().Cluster, m.Cluster) {
		// else it is old news of one that has started again
		if have, ok := g.LastSeen(m.ID); !ok || m.Starts >= have.Starts {
			g.Forget(m.ID)
			g.Stranger(m)
		}
		return fmt.Errorf("it %w, %s", ErrOtherCluster, m.Cluster)
	}
	return nil // note says what is wrong with one that cannot be read, or has this replica's id
}

// Forget drops a replica that has turned out to be of another cluster.
func (g *Membership) Forget(id uuid.UUID) {
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
func (g *Membership) dropForeigners(cluster uuid.UUID) {
	g.mu.Lock()
	known := slices.Collect(maps.Values(g.last))
	g.mu.Unlock()
	for _, m := range known {
		if ForeignTo(cluster, m.Cluster) {
			g.Forget(m.ID)
			g.Stranger(m)
		}
	}
}

// NotifyJoin implements memberlist.EventDelegate, as do the next two.
func (g *Membership) NotifyJoin(n *memberlist.Node) { g.note(n, true) }

// NotifyLeave is called when a member left or died.
func (g *Membership) NotifyLeave(n *memberlist.Node) { g.note(n, false) }

// NotifyUpdate is called when a member says something new about itself.
func (g *Membership) NotifyUpdate(n *memberlist.Node) { g.note(n, true) }

// NotifyConflict implements memberlist.ConflictDelegate: one start of one replica at two addresses.
func (g *Membership) NotifyConflict(existing, other *memberlist.Node) {
	g.logger.Error("two processes run with one replica id: a data directory was copied; stop one of the two and "+
		"delete its directory", "id", existing.Name, "address", existing.Address(), "other", other.Address())
}

// NodeMeta implements memberlist.Delegate.
func (g *Membership) NodeMeta(int) []byte {
	b, err := EncodeMeta(g.Meta())
	if err != nil {
		return nil // start has tried it: name and version do not change
	}
	return b
}

// NotifyMsg implements memberlist.Delegate; there are no messages, broadcasts or states of our own.
func (g *Membership) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (g *Membership) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *Membership) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *Membership) MergeRemoteState([]byte, bool) {}

// Close leaves the gossip without a word: the others find out by probing, as they would after a crash.
func (g *Membership) Close() error {
	if g.list == nil {
		return nil
	}
	return g.list.Shutdown()
}
