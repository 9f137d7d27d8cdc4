package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/expo"
	"pushquorum/fsm"
)

// Tests that mostly wait run at once. What measures a time, pushes as fast as it can or keeps a processor busy runs
// alone, because beside it the others miss their heartbeats.

const testDeadline = testkit.Deadline

// replicaT is a replica under test with what is needed to start it again.
type replicaT struct {
	*Replica
	t    testing.TB
	cfg  Config
	tune tuning
	net  *testNet
	stop func() error
	logs *logBuffer
}

// logBuffer keeps the log of a replica for a failing test.
type logBuffer = testkit.LogBuffer

// link is a direction between two replicas, for one kind of traffic.
type link struct {
	from, to string
	kind     byte
}

// testNet is the network between the peer ports of a test's replicas; links can be cut.
type testNet struct {
	mu    sync.Mutex
	owner map[string]string // peer address → name
	cut   map[link]bool
	conns map[*testConn]bool
}

// testConn learns from the first byte it carries what it is for.
type testConn struct {
	net.Conn
	n    *testNet
	link link
}

var errCut = errors.New("the test has cut this link")

func newTestNet() *testNet {
	return &testNet{owner: map[string]string{}, cut: map[link]bool{}, conns: map[*testConn]bool{}}
}

func (n *testNet) dialer(from string) raftnet.DialFunc {
	dial := defaultTuning().dial
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		return &testConn{Conn: conn, n: n, link: link{from: from, to: n.owner[address]}}, nil
	}
}

func (c *testConn) Write(p []byte) (int, error) {
	c.n.mu.Lock()
	if c.link.kind == 0 {
		c.link.kind = p[0]
		c.n.conns[c] = true
	}
	cut := c.n.cut[c.link]
	c.n.mu.Unlock()
	if cut {
		return 0, errCut
	}
	return c.Conn.Write(p)
}

// isolate cuts a replica off from the others, both ways, or heals it. Connections die at once. No kinds means all.
func (n *testNet) isolate(name string, cut bool, others []string, kinds ...byte) {
	if len(kinds) == 0 {
		kinds = []byte{raftnet.KindRaft, raftnet.KindRPC}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range others {
		for _, k := range kinds {
			if o != name {
				n.cut[link{name, o, k}] = cut
				n.cut[link{o, name, k}] = cut
			}
		}
	}
	for c := range n.conns {
		if n.cut[c.link] {
			_ = c.Close()
			delete(n.conns, c)
		}
	}
}

var nextPort = func() *atomic.Uint32 { // somewhere, so that test runs side by side do not try the same ports
	n := new(atomic.Uint32)
	n.Store(rand.Uint32N(6000))
	return n
}()

// freePorts gives a loopback address whose port and the next one are free for TCP and UDP. The ports lie below those
// that the kernel gives to outgoing connections, which would otherwise take them while a replica restarts. None is
// given twice until all have been.
func freePorts(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 20000 + 2*int(nextPort.Add(1)%6000)
		address, next := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
		a, err1 := net.Listen("tcp", address)
		b, err2 := net.Listen("tcp", next)
		u, err3 := net.ListenPacket("udp", address)
		for _, c := range []io.Closer{a, b, u} {
			if c != nil && !reflect.ValueOf(c).IsNil() {
				_ = c.Close()
			}
		}
		if errors.Join(err1, err2, err3) == nil {
			return address
		}
	}
	t.Fatal("no two free ports in a row")
	return ""
}

// freePortOn gives a port that is free, like the next one, on all of the hosts.
func freePortOn(t *testing.T, hosts ...string) (port string) {
	t.Helper()
	for range 100 {
		_, port, _ = net.SplitHostPort(freePorts(t))
		free := true
		for _, h := range hosts {
			ln, err := net.Listen("tcp", net.JoinHostPort(h, port))
			if free = free && err == nil; err == nil {
				_ = ln.Close()
			}
		}
		if free {
			return port
		}
	}
	if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is the machine itself
		t.Fatalf("no port is free on all of %v", hosts)
	}
	t.Skipf("this machine does not listen on all of %v", hosts)
	return ""
}

// testTuning is quick enough for tests and slow enough for two busy cores under the race detector.
func testTuning() tuning {
	tune := defaultTuning()
	tune.lease = tune.heartbeat // so that a leader that got no processor for a moment goes on
	tune.freshEvery = 200 * time.Millisecond
	tune.reconcile = 100 * time.Millisecond
	tune.pilotLook, tune.pilotAct, tune.stabilize = 500*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond
	tune.quickRejoin = 100 * time.Millisecond
	tune.slowRejoin = time.Second
	tune.lockWait = 100 * time.Millisecond
	tune.settleAlone = 300 * time.Millisecond
	tune.walSegment = 64 << 10 // so that tests fill some
	tune.gossip = func(c *memberlist.Config) {
		c.GossipInterval = 50 * time.Millisecond
		c.ProbeInterval = 300 * time.Millisecond
		c.ProbeTimeout = 200 * time.Millisecond
		c.SuspicionMult = 2
	}
	return tune
}

// newReplica prepares a replica in a new directory; a name without address is standalone.
func newReplica(t testing.TB, tn *testNet, name, listen string, expect int, peers ...string) *replicaT {
	t.Helper()
	tune := testTuning()
	if tn != nil {
		tune.dial = tn.dialer(name)
	}
	return &replicaT{t: t, net: tn, tune: tune, cfg: Config{
		Name: name, Version: "test", DataDir: filepath.Join(t.TempDir(), name),
		ListenAddress: listen, Peers: peers, BootstrapExpect: expect,
	}}
}

// start opens and runs the replica; it is stopped when the test ends.
func (r *replicaT) start() *replicaT {
	r.t.Helper()
	if err := r.open(); err != nil {
		r.t.Fatalf("%s does not start: %v", r.cfg.Name, err)
	}
	return r
}

func (r *replicaT) open() error {
	r.logs = &logBuffer{}
	r.cfg.Logger = slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("r",
		r.cfg.Name)
	r.cfg.FSM = fsm.New(r.cfg.Logger)
	replica, err := open(r.cfg, r.tune)
	if err != nil {
		return err
	}
	r.Replica = replica
	if r.net != nil {
		r.net.mu.Lock()
		r.net.owner[replica.addrs.PeerAdvertise] = r.cfg.Name
		r.net.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- replica.Run(ctx) }()
	var once sync.Once
	logs := r.logs
	r.stop = func() (err error) {
		once.Do(func() {
			err = replica.Close()
			cancel()
			err = errors.Join(err, <-done)
		})
		return err
	}
	stop := r.stop
	r.t.Cleanup(func() {
		if err := stop(); err != nil {
			r.t.Errorf("%s stops with %v", r.cfg.Name, err)
		}
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", r.cfg.Name, logs)
		}
	})
	return nil
}

// crash stops the replica without a word to the others.
func (r *replicaT) crash() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatalf("%s stops with %v", r.cfg.Name, err)
	}
}

// trio is a cluster of three new replicas, formed.
func trio(t testing.TB) (*testNet, []*replicaT) {
	t.Helper()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	return tn, replicas
}

// prepare makes n replicas that expect n and know each other.
func prepare(t testing.TB, tn *testNet, n int) []*replicaT {
	t.Helper()
	var addresses []string
	for range n {
		addresses = append(addresses, freePorts(t))
	}
	var out []*replicaT
	for i := range n {
		out = append(out, newReplica(t, tn, fmt.Sprintf("r%d", i+1), addresses[i], n, addresses...))
	}
	return out
}

func names(replicas []*replicaT) []string {
	var out []string
	for _, r := range replicas {
		out = append(out, r.cfg.Name)
	}
	return out
}

// eventually waits for a condition; what says what was awaited.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	testkit.Eventually(t, what, cond)
}

func waitReady(t testing.TB, replicas ...*replicaT) {
	t.Helper()
	for _, r := range replicas {
		eventually(t, r.cfg.Name+" is ready", func() bool { return r.Ready() == nil })
	}
}

// leaderOf gives the leader among the replicas and the others.
func leaderOf(t testing.TB, replicas []*replicaT) (leader *replicaT, others []*replicaT) {
	t.Helper()
	eventually(t, "one of them leads", func() bool {
		leader, others = nil, nil
		for _, r := range replicas {
			if id, _ := r.leader.current(); id == r.serverID {
				leader = r
			} else {
				others = append(others, r)
			}
		}
		return leader != nil
	})
	return leader, others
}

// pushCommand is a push of one gauge into a group of its own.
func pushCommand(r *replicaT, job string, value float64) []byte {
	group := expo.NewLabels(map[string]string{"job": job})
	return fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()}, group, true,
		[]*expo.Family{expo.Gauge(&expo.Header{Name: "test_value", Help: "help", Type: dto.MetricType_GAUGE},
			group.Key(), value)})
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	return testkit.Context(t)
}

// push replicates one gauge and fails the test if that does not work.
func push(t testing.TB, r *replicaT, job string, value float64) {
	t.Helper()
	result, err := r.Apply(testContext(t), pushCommand(r, job, value))
	if err != nil || result.Status != fsm.Applied {
		t.Fatalf("push of %s through %s: %v, %v", job, r.cfg.Name, result, err)
	}
}

// hasJob tells whether a group is in the local state.
func hasJob(r *replicaT, job string) bool {
	_, ok := r.cfg.FSM.View().Group(expo.NewLabels(map[string]string{"job": job}).Key())
	return ok
}

// sameState waits until all show one hash at one index.
func sameState(t testing.TB, replicas ...*replicaT) {
	t.Helper()
	eventually(t, "all replicas show the same state", func() bool {
		first := replicas[0].cfg.FSM.View()
		for _, r := range replicas[1:] {
			v := r.cfg.FSM.View()
			if v.Index() != first.Index() || v.Hash() != first.Hash() {
				return false
			}
		}
		return true
	})
}

func entry(index, term uint64) *raft.Log { return testkit.Entry(index, term) }

// allLogs are the places where a log can be. Segments are so small that a test fills some.
var allLogs = []disk.LogOptions{{Store: disk.LogWAL, SegmentSize: 4 << 10}, {Store: disk.LogBbolt}}
