package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
	"pushquorum/fsm"
)

// follower is a Raft node on a real data directory whose leader is the test, by hand.
type follower struct {
	t      *testing.T
	dir    string
	store  *Dir
	raft   *raft.Raft
	leader *raft.InmemTransport
	addr   raft.ServerAddress
	self   raft.ServerID
}

const leaderTerm = 2

func newFollower(t *testing.T) *follower {
	t.Helper()
	f := &follower{t: t, dir: t.TempDir()}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *follower) start() {
	f.t.Helper()
	id, err := OpenIdentity(f.dir)
	if err == nil {
		err = id.Started(id.Get().HasRaftState)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	logger := hclog.NewNullLogger()
	if f.store, err = Open(f.dir, id, LogOptions{Store: LogWAL, SegmentSize: 64 << 10}, fsm.VerifySnapshot,
		logger); err != nil {
		f.t.Fatal(err)
	}
	f.self = server.Address{ID: id.Get().ID}.ServerID()
	f.addr = server.Address{ID: id.Get().ID}.Encode()
	_, transport := raft.NewInmemTransport(f.addr)
	if f.leader == nil {
		_, f.leader = raft.NewInmemTransport("leader")
	}
	f.leader.Connect(f.addr, transport)
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = f.self, logger
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Hour, time.Hour // it never wants to lead
	cfg.SnapshotInterval, cfg.TrailingLogs = time.Hour, 2
	if f.raft, err = raft.NewRaft(cfg, fsm.New(slog.New(slog.DiscardHandler)), f.store.logs, f.store.stable,
		f.store.snaps, transport); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) stop() {
	if err := errors.Join(f.raft.Shutdown().Error(), f.store.Close()); err != nil {
		f.t.Error(err)
	}
}

func (f *follower) restart() {
	f.t.Helper()
	f.stop()
	f.start()
}

// entries from first to last as a leader of the term would send them.
func entriesOf(term, first, last uint64) []*raft.Log {
	var out []*raft.Log
	for i := first; i <= last; i++ {
		out = append(out, &raft.Log{
			Index: i, Term: term, Type: raft.LogCommand,
			Data: fsm.Seal([][]byte{fsm.EncodeNoop()}, time.Unix(int64(i), 0)),
		})
	}
	return out
}

// append sends entries after prev and tells whether they were taken.
func (f *follower) append(prev snapshotEnd, commit uint64, entries []*raft.Log) bool {
	f.t.Helper()
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: []byte("leader")}
	req := &raft.AppendEntriesRequest{
		RPCHeader: header, Term: leaderTerm,
		PrevLogEntry: prev.Index, PrevLogTerm: prev.Term, Entries: entries, LeaderCommitIndex: commit,
	}
	var resp raft.AppendEntriesResponse
	if err := f.leader.AppendEntries(f.self, f.addr, req, &resp); err != nil {
		f.t.Fatal(err)
	}
	return resp.Success
}

func (f *follower) mustAppend(prev snapshotEnd, entries []*raft.Log) {
	f.t.Helper()
	if !f.append(prev, 0, entries) {
		first, last := f.ends()
		f.t.Fatalf("entries after %+v were refused by a log of %d to %d", prev, first, last)
	}
}

// install sends a snapshot that ends with an entry.
func (f *follower) install(last snapshotEnd) error {
	f.t.Helper()
	return f.send(last, snapshotAt(f.t, last.Index))
}

// send sends a snapshot with that content.
func (f *follower) send(last snapshotEnd, content []byte) error {
	f.t.Helper()
	configuration := raft.Configuration{Servers: []raft.Server{
		{ID: "leader", Address: "leader"},
		{ID: f.self, Address: f.addr},
	}}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: []byte("leader")}
	req := &raft.InstallSnapshotRequest{
		RPCHeader: header, SnapshotVersion: raft.SnapshotVersionMax, Term: leaderTerm, Leader: []byte("leader"),
		LastLogIndex: last.Index, LastLogTerm: last.Term,
		Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: 1, Size: int64(len(content)),
	}
	var resp raft.InstallSnapshotResponse
	err := f.leader.InstallSnapshot(f.self, f.addr, req, &resp, bytes.NewReader(content))
	if err == nil && !resp.Success {
		err = errors.New("not installed")
	}
	return err
}

func (f *follower) mustInstall(last snapshotEnd) {
	f.t.Helper()
	if err := f.install(last); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) ends() (first, last uint64) {
	return f.store.log.first.Load(), f.store.log.last.Load()
}

func (f *follower) expectLog(when string, first, last uint64) {
	f.t.Helper()
	if gotFirst, gotLast := f.ends(); gotFirst != first || gotLast != last {
		f.t.Fatalf("%s: the log holds %d to %d, want %d to %d", when, gotFirst, gotLast, first, last)
	}
}

// memorySink takes a snapshot into memory.
type memorySink struct{ bytes.Buffer }

func (*memorySink) ID() string    { return uuid.NewString() }
func (*memorySink) Cancel() error { return nil }
func (*memorySink) Close() error  { return nil }

var _ io.ReadWriteCloser = (*memorySink)(nil)

// TestEntriesAfterASnapshotAreTakenAgain: the answer of a follower was lost, so the leader sends once more what follows
// the snapshot. It must not end in the leader sending its snapshot for ever.
func TestEntriesAfterASnapshotAreTakenAgain(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	snapshot := snapshotEnd{Index: 50, Term: leaderTerm}
	f.mustInstall(snapshot)
	f.expectLog("after the snapshot", 0, 0)
	f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 60))
	f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 60))
	f.expectLog("after the same entries again", 51, 60)
	f.restart()
	f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 62))
	f.expectLog("after a restart", 51, 62)
	// The same snapshot again drops nothing that follows it.
	f.mustInstall(snapshot)
	f.expectLog("after the same snapshot again", 51, 62)
	f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 63))
	if err := f.install(snapshotEnd{Index: 40, Term: leaderTerm}); err == nil {
		t.Fatal("a snapshot older than the one it holds was installed")
	}
	f.expectLog("after an older snapshot", 51, 63)
}

// TestASnapshotReplacesEntriesThatWereNeverCommitted: the follower holds entries of a leader that was deposed.
func TestASnapshotReplacesEntriesThatWereNeverCommitted(t *testing.T) {
	t.Parallel()
	for last := uint64(10); last <= 70; last += 20 { // 50 is the end of the snapshot
		t.Run(fmt.Sprintf("its log ends with entry %d", last), func(t *testing.T) {
			f := newFollower(t)
			f.mustAppend(snapshotEnd{}, entriesOf(1, 1, last))
			snapshot := snapshotEnd{Index: 50, Term: leaderTerm}
			f.mustInstall(snapshot)
			if last <= 50 {
				f.expectLog("after the snapshot", 0, 0)
			} else {
				f.expectLog("after the snapshot", 51, last)
			}
			select {
			case <-f.store.replaced:
				if last != 50 {
					t.Fatal("asks for a restart without need")
				}
				f.restart()
			default:
				if last == 50 {
					t.Fatal("Raft's idea of the end of the log is wrong, and nobody was told")
				}
			}
			f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 80))
			f.expectLog("after the leader's entries", 51, 80)
			f.restart()
			f.mustAppend(snapshot, entriesOf(leaderTerm, 51, 81))
			f.expectLog("after a restart", 51, 81)
			var l raft.Log
			if err := f.store.log.GetLog(60, &l); err != nil || l.Term != leaderTerm {
				t.Fatalf("entry 60 is of term %d, %v", l.Term, err)
			}
		})
	}
}

// TestTheStandInIsNeverSent: only the question whether entries fit is answered with it.
func TestTheStandInIsNeverSent(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.mustInstall(snapshotEnd{Index: 50, Term: leaderTerm})
	f.mustAppend(snapshotEnd{Index: 50, Term: leaderTerm}, entriesOf(leaderTerm, 51, 52))
	var l raft.Log
	for index, found := range map[uint64]bool{0: false, 1: false, 49: false, 50: true, 51: true, 52: true, 53: false} {
		if err := f.store.log.GetLog(index, &l); (err == nil) != found {
			t.Errorf("entry %d: %v", index, err)
		}
	}
	if first, _ := f.store.logs.FirstIndex(); first != 51 {
		t.Errorf("the log says that it begins with entry %d", first)
	}
}
