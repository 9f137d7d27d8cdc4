package raftnet

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// maxTermLeap is how far a term may be ahead of this replica's own. Terms come one at a time, an election needs a good
// second, and nobody is away for a century; but whoever may name any term could name the last one, and there would
// never be a leader again.
const maxTermLeap = 1 << 32

// termWall refuses what comes from other replicas in a term that leaps, requests as well as answers.
type termWall struct {
	current func() uint64 // this replica's own term
	logger  *slog.Logger

	mu   sync.Mutex
	said time.Time
}

// termWallQuiet is how long the wall is silent after it has spoken.
const termWallQuiet = time.Minute

// check is why a term is refused, or nil.
func (w *termWall) check(what string, term uint64) error {
	current := w.current()
	if term <= current || term-current <= maxTermLeap {
		return nil
	}
	err := fmt.Errorf(
		"%s in term %d is refused: this replica is in term %d, and terms do not leap",
		what,
		term,
		current,
	)
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.said) >= termWallQuiet {
		w.said = time.Now()
		w.logger.Warn(
			"somebody at the peer port names a term that cannot be: a replica is broken, or it is none",
			"err",
			err,
		)
	}
	return err
}

// checkRequest is why a request is refused, or nil. What is in it is not of a later term than the request itself, and a
// configuration is one: Raft panics over one that is not, and would again at each start.
func (w *termWall) checkRequest(command any) error {
	switch req := command.(type) {
	case *raft.AppendEntriesRequest:
		for _, l := range req.Entries {
			if l.Term > req.Term {
				return fmt.Errorf("entry %d of term %d is refused in a request of term %d", l.Index, l.Term, req.Term)
			}
			switch {
			case l.Type == raft.LogConfiguration && !server.IsConfiguration(l.Data):
				return fmt.Errorf("entry %d is refused: it is no configuration", l.Index)
			case l.Type == raft.LogAddPeerDeprecated, l.Type == raft.LogRemovePeerDeprecated:
				return fmt.Errorf("entry %d is refused: it is of a kind that no version writes", l.Index)
			}
		}
		return w.check("AppendEntries", req.Term)
	case *raft.InstallSnapshotRequest:
		if req.LastLogTerm > req.Term {
			return fmt.Errorf("a snapshot of term %d is refused in a request of term %d", req.LastLogTerm, req.Term)
		}
		if req.SnapshotVersion > 0 && !server.IsConfiguration(req.Configuration) {
			return fmt.Errorf("a snapshot up to entry %d is refused: it comes with no configuration", req.LastLogIndex)
		}
		return w.check("InstallSnapshot", req.Term)
	case *raft.RequestVoteRequest:
		return w.check("RequestVote", req.Term)
	case *raft.RequestPreVoteRequest:
		return w.check("RequestPreVote", req.Term)
	}
	return nil // TimeoutNow has no term
}

// checkAnswer gives the error of a request, or why its answer is refused; the term of one that is refused is taken out.
func (w *termWall) checkAnswer(what string, err error, term *uint64) error {
	if err == nil {
		if err = w.check("an answer to "+what, *term); err != nil {
			*term = 0
		}
	}
	return err
}

// refuse answers a request that is not handed to Raft.
func refuse(call raft.RPC, err error) {
	if call.Reader == nil {
		call.Respond(nil, err)
		return
	}
	go func() { // ends with the connection at the latest
		_, _ = io.Copy(io.Discard, call.Reader) // the next request comes behind the snapshot
		call.Respond(nil, err)
	}()
}
