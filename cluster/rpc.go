package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// The peer protocol: net/rpc with gob, so that two versions may speak with one another as long as fields are only
// added. Every call about replicated state names the cluster: an answer from another one must never count.

// ApplyArgs asks the leader to append commands, which are not sealed yet, as one entry.
type ApplyArgs struct {
	Cluster   uuid.UUID
	Commands  [][]byte
	TimeoutMs int64
}

// ApplyReply is the answer; Results, one for each command, count when Outcome is applied.
type ApplyReply struct {
	Results []fsm.Result
	Outcome outcome
	Error   string
}

// ReadIndexArgs asks the leader for a read index; Term is the requester's, read after its readers came.
type ReadIndexArgs struct {
	Cluster   uuid.UUID
	Term      uint64
	Requester uuid.UUID
	TimeoutMs int64
}

// ReadIndexReply holds the index and the leader's term if Error is empty; no term comes from versions that did not tell
// it.
type ReadIndexReply struct {
	Index, Term uint64
	Error       string
}

// ConfirmTermArgs asks a voter which term it is in.
type ConfirmTermArgs struct {
	Cluster uuid.UUID
	Term    uint64
}

// ConfirmTermReply is the voter's current term; 0 from a replica of another cluster.
type ConfirmTermReply struct {
	Term uint64
}

// PrepareArgs asks for the promise to form a cluster of exactly this set.
type PrepareArgs struct {
	Cluster, Coordinator uuid.UUID
	Set                  []uuid.UUID
}

// ReleaseArgs asks a coordinator to give back a promise.
type ReleaseArgs struct {
	Cluster uuid.UUID
}

// InviteArgs asks a replica without state to accept a cluster's Raft traffic.
type InviteArgs struct {
	Cluster uuid.UUID
}

// ResignArgs asks the leader to take the vote of a replica that is about to stop. Versions that do not know the call
// answer with an error, and the replica then stops with its vote, as theirs do.
type ResignArgs struct {
	Cluster, ID uuid.UUID
}

// AgreeReply is the answer to Prepare, Release, Invite and Resign; Error says why not, empty means yes.
type AgreeReply struct {
	Error string
	// Cluster is the one that who was asked belongs to, if any; no answer but that to Invite tells it.
	Cluster uuid.UUID
}

// StatusArgs are empty but for what a leader tells its followers with the question: how long it has missed other
// servers, so that the next leader goes on counting. Versions that do not know these fields pass over them.
type StatusArgs struct {
	Cluster uuid.UUID
	Term    uint64 // the leader's
	Missing []MissingServer
}

// MissingServer is a server that a leader has missed for so long.
type MissingServer struct {
	ID    uuid.UUID
	ForMs int64
}

// StatusReply is what a replica says about itself.
type StatusReply struct {
	ID           uuid.UUID
	Cluster      uuid.UUID
	Name         string
	Version      string
	PeerAddress  string
	State        string
	Leader       string // id
	Term         uint64
	CommitIndex  uint64
	AppliedIndex uint64
	StateHash    string
	// The end of its log, and how long ago it heard of the leader: -1 for never.
	LastLogIndex, LastLogTerm uint64
	LastContactMs             int64
	// Servers are the members of its latest configuration.
	Servers []uuid.UUID
	// Draining: it is about to stop, and should not be given a vote.
	Draining bool
	// NoSpace is why it should store nothing more, in one line; empty while its disk has room, and from versions that
	// do not tell.
	NoSpace string
}

// Peer is the receiver of the peer RPCs; it is exported because net/rpc wants it so.
type Peer struct{ r *Replica }

// servePeer serves one connection until it ends. Calls under way end with the replica.
func (r *Replica) servePeer(conn net.Conn) {
	if err := raftnet.Serve(conn, &Peer{r}); err != nil {
		r.logger.Error("peer protocol", "err", err)
	}
}

var errStranger = errors.New("belongs to another cluster")

// of returns an error unless the caller's cluster is this replica's.
func (p *Peer) of(cluster uuid.UUID) error {
	if cluster == uuid.Nil || cluster != p.r.store.ClusterID() {
		return errStranger
	}
	return nil
}

func (p *Peer) context(timeoutMs int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.r.ctx, time.Duration(timeoutMs)*time.Millisecond)
}

// Apply appends commands if this replica leads. It never forwards: the caller knows better by now.
func (p *Peer) Apply(args *ApplyArgs, reply *ApplyReply) error {
	if err := p.of(args.Cluster); err != nil {
		reply.Outcome, reply.Error = outcomeNotAppended, err.Error()
		return nil
	}
	ctx, cancel := p.context(args.TimeoutMs)
	defer cancel()
	var err error
	if reply.Results, reply.Outcome, err = p.r.appendForwarded(ctx, args.Commands); err != nil {
		reply.Error = err.Error()
	}
	return nil
}

// ReadIndex gives a read index if this replica leads.
func (p *Peer) ReadIndex(args *ReadIndexArgs, reply *ReadIndexReply) error {
	err := p.of(args.Cluster)
	if err == nil {
		ctx, cancel := p.context(args.TimeoutMs)
		defer cancel()
		var at readIndex
		at, err = p.r.confirmIndex(ctx, args.Term, args.Requester)
		reply.Index, reply.Term = at.index, at.term
	}
	if err != nil {
		reply.Error = err.Error()
	}
	return nil
}

// ConfirmTerm tells the current term.
func (p *Peer) ConfirmTerm(args *ConfirmTermArgs, reply *ConfirmTermReply) error {
	if p.of(args.Cluster) == nil {
		reply.Term = p.r.raft.CurrentTerm()
	}
	return nil
}

// Prepare asks for a promise: see [formation.Promises].
func (p *Peer) Prepare(args *PrepareArgs, reply *AgreeReply) error {
	if err := p.r.promises.Prepare(args.Cluster, args.Coordinator, args.Set); err != nil {
		reply.Error = err.Error()
	}
	return nil
}

// Release gives back a promise that this replica has not acted on, and never will.
func (p *Peer) Release(args *ReleaseArgs, reply *AgreeReply) error {
	if err := p.r.attempt.Release(args.Cluster); err != nil {
		reply.Error = err.Error()
	}
	return nil
}

// Invite asks this replica to join a cluster.
func (p *Peer) Invite(args *InviteArgs, reply *AgreeReply) error {
	if err := p.r.acceptInvite(args.Cluster); err != nil {
		reply.Error = err.Error()
	}
	reply.Cluster = p.r.store.ClusterID()
	return nil
}

// Resign takes the vote of a replica that is about to stop, if this replica leads.
func (p *Peer) Resign(args *ResignArgs, reply *AgreeReply) error {
	err := p.of(args.Cluster)
	if err == nil {
		ctx, cancel := p.context(resignTimeout.Milliseconds())
		defer cancel()
		err = p.r.takeVote(ctx, args.ID)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	return nil
}

// Status tells about this replica.
func (p *Peer) Status(args *StatusArgs, reply *StatusReply) error {
	if p.r.pilot != nil && p.of(args.Cluster) == nil && args.Term == p.r.raft.CurrentTerm() &&
		p.r.raft.State() != raft.Leader {
		p.r.pilot.gone.told(time.Now(), args.Missing)
	}
	*reply = p.r.ownStatus()
	return nil
}
