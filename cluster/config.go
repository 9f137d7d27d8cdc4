package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// Config is what [Open] needs to know. Addresses are host:port.
type Config struct {
	Name    string // label of this replica in logs and status; need not be unique, at most 128 bytes
	Version string // of the program, shown in Status
	DataDir string // made if missing

	// ListenAddress is the gossip port, TCP and UDP; empty means standalone: no port is opened.
	ListenAddress string
	// AdvertiseAddress is what others are told. Default: ListenAddress, or a private address of this host where that
	// one is unspecified.
	AdvertiseAddress string
	// PeerListenAddress is the peer port, TCP: Raft and the calls between replicas share it. Default: ListenAddress
	// with the port + 1.
	PeerListenAddress    string
	PeerAdvertiseAddress string // default: the host of AdvertiseAddress with the port of PeerListenAddress

	// Label is carried by each packet and stream of the gossip, and those with another one are dropped; at most 255
	// bytes.
	Label string

	Peers           []string // gossip ports; a DNS name stands for all its addresses and is resolved again and again
	BootstrapExpect int      // how many new replicas form a new cluster; 0 means 1

	// DeadServerGrace is how long a replica may be missing before it is removed from the configuration; 0 means 10
	// minutes.
	DeadServerGrace time.Duration

	// A snapshot is taken after so many log entries, and as many are kept after one; 0 means 65536. Or after so many
	// bytes of log data, but not before there are twice as many as in the last snapshot; 0 means 64 MiB. Each up to a
	// quarter later.
	SnapshotEntries, SnapshotBytes uint64

	LogStore string // LogWAL or LogBbolt; empty means LogWAL

	Limits fsm.Limits // what may be stored, while this replica leads

	// MinFree is how much of the data directory's file system is to stay free, beside room for the next snapshot: below
	// it nothing is stored, while it is still possible to delete. 0 means a twentieth of it or 200 MB, whichever is
	// less, and less than 0 nothing at all. Bytes.
	MinFree int64

	FSM        *fsm.FSM
	Logger     *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

const (
	defaultDeadServerGrace = 10 * time.Minute
	defaultSnapshotEntries = 1 << 16
	defaultSnapshotBytes   = 64 << 20
	maxNameLength          = 128 // bytes: the name travels in 512 bytes of gossip
	maxVersionLength       = 64
)

const needsListenAddress = "needs --cluster.listen-address: add it, for example --cluster.listen-address=0.0.0.0:" +
	gossip.UsualPort

// addressFlags are the flags that say where this replica is.
func (c *Config) addressFlags() gossip.Flags {
	return gossip.Flags{
		ListenAddress: c.ListenAddress, AdvertiseAddress: c.AdvertiseAddress,
		PeerListenAddress: c.PeerListenAddress, PeerAdvertiseAddress: c.PeerAdvertiseAddress, Peers: c.Peers,
	}
}

func (c *Config) standalone() bool { return c.ListenAddress == "" }

// complete checks the configuration and fills in defaults. Every error says which flag to change.
func (c *Config) complete() error {
	if c.FSM == nil || c.Logger == nil {
		return errors.New("cluster: Config needs FSM and Logger")
	}
	if c.DataDir == "" {
		return errors.New("--storage.path is empty: give a directory for the replica's data")
	}
	if c.Name == "" || len(c.Name) > maxNameLength {
		return fmt.Errorf("--cluster.name has %d bytes: give a name of 1 to %d", len(c.Name), maxNameLength)
	}
	if len(c.Version) > maxVersionLength {
		c.Version = c.Version[:maxVersionLength]
	}
	if c.BootstrapExpect < 0 {
		return fmt.Errorf("--cluster.bootstrap-expect=%d: give the number of replicas that form the cluster, such as 3",
			c.BootstrapExpect)
	}
	if c.BootstrapExpect == 0 {
		c.BootstrapExpect = 1
	}
	if c.DeadServerGrace < 0 {
		return fmt.Errorf("--cluster.dead-server-grace=%s: give the time after which a missing replica is removed, "+
			"such as 10m", c.DeadServerGrace)
	}
	if c.DeadServerGrace == 0 {
		c.DeadServerGrace = defaultDeadServerGrace
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = defaultSnapshotEntries
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = defaultSnapshotBytes
	}
	switch c.LogStore {
	case "":
		c.LogStore = disk.LogWAL
	case disk.LogWAL, disk.LogBbolt:
	default:
		return fmt.Errorf("--storage.log=%s is unknown: use %s or %s", c.LogStore, disk.LogWAL, disk.LogBbolt)
	}
	if len(c.Label) > memberlist.LabelMaxSize {
		return fmt.Errorf("--cluster.label has %d bytes: give at most %d, the same on every replica of the cluster",
			len(c.Label), memberlist.LabelMaxSize)
	}
	for _, peer := range c.Peers {
		if _, _, err := gossip.SplitHostPort(peer); err != nil {
			return fmt.Errorf("--cluster.peer=%s %w", peer, err)
		}
	}
	if c.standalone() {
		switch {
		case len(c.Peers) > 0:
			return fmt.Errorf("--cluster.peer=%s "+needsListenAddress, c.Peers[0])
		case c.BootstrapExpect > 1:
			return fmt.Errorf("--cluster.bootstrap-expect=%d "+needsListenAddress, c.BootstrapExpect)
		case c.Label != "":
			return fmt.Errorf("--cluster.label=%s "+needsListenAddress, c.Label)
		case c.AdvertiseAddress != "":
			return fmt.Errorf("--cluster.advertise-address=%s "+needsListenAddress, c.AdvertiseAddress)
		case c.PeerListenAddress != "":
			return fmt.Errorf("--cluster.peer-listen-address=%s "+needsListenAddress, c.PeerListenAddress)
		case c.PeerAdvertiseAddress != "":
			return fmt.Errorf("--cluster.peer-advertise-address=%s "+needsListenAddress, c.PeerAdvertiseAddress)
		}
	}
	return nil
}

// tuning is what tests may set otherwise than production.
type tuning struct {
	heartbeat, election, lease, commit time.Duration
	// alone are the timeouts of a standalone replica, which has nobody to wait for.
	alone time.Duration

	freshEvery    time.Duration // how often a barrier keeps Staleness low
	reconcile     time.Duration // how often the leader looks for replicas to add
	pilotLook     time.Duration // how often autopilot asks every server how it is
	pilotAct      time.Duration // how often it promotes and removes
	stabilize     time.Duration // how long a newcomer must be healthy before it votes
	quickRejoin   time.Duration // between two looks at the peers while nobody is there or leads
	slowRejoin    time.Duration // and when all is settled
	stuckEvery    time.Duration // how often it is looked whether disk and state machine move
	stuckAfter    time.Duration // how long they may not, before this replica is unhealthy
	lockWait      time.Duration // how long a process that still holds the data directory is waited for
	waitLog       time.Duration // how often a waiting replica says what it waits for
	settleAlone   time.Duration // how long nobody else may show up before a replica that expects 1 founds a cluster
	promiseTTL    time.Duration // after which a promise that came to nothing is asked back
	retryMin      time.Duration
	retryMax      time.Duration
	statusTimeout time.Duration
	walSegment    int                              // bytes
	probe         func(dir string, size int) error // tells whether so many bytes can be written in a directory
	measure       func(dir string) (disk.FileSystem, error)
	disk          disk.Hooks    // what a test changes about the disk
	reopenEvery   time.Duration // how often a read-only replica looks whether it need not be one

	gossip   func(*memberlist.Config) // last changes to memberlist's configuration
	dial     raftnet.DialFunc         // for the peer port
	resolver gossip.Resolver
}

// segmentSize is how large segments of the log are on the file system of a directory. Bytes.
func (t *tuning) segmentSize(dir string) int {
	return disk.SuitedSegmentSize(dir, t.walSegment, t.measure)
}

func defaultTuning() tuning {
	return tuning{
		heartbeat: 400 * time.Millisecond, election: 400 * time.Millisecond, lease: 250 * time.Millisecond,
		commit: 20 * time.Millisecond, alone: 50 * time.Millisecond,
		freshEvery: time.Second, reconcile: time.Second,
		pilotLook: time.Second, pilotAct: time.Second, stabilize: 2 * time.Second,
		quickRejoin: 500 * time.Millisecond, slowRejoin: 10 * time.Second,
		stuckEvery: time.Second, stuckAfter: 30 * time.Second,
		lockWait: 10 * time.Second, waitLog: 10 * time.Second, settleAlone: 3 * time.Second,
		promiseTTL: 2 * time.Second,
		retryMin:   10 * time.Millisecond, retryMax: 100 * time.Millisecond, statusTimeout: time.Second,
		walSegment: wal.SegmentSize,
		probe:      disk.ProbeWrite, measure: disk.MeasureSpace, reopenEvery: 5 * time.Second,
		dial:     raftnet.DialTCP,
		resolver: net.DefaultResolver,
	}
}
