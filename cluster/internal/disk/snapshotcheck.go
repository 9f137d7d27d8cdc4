package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// maxUncounted is how far the last entry of a snapshot may be behind the last one that the state machine counts. Those
// in between are Raft's own, one for each election, and are followed by a command as soon as a leader is one. Raft goes
// on after the entry that the label names: a false one would make it skip what it has not applied.
const maxUncounted = 1 << 20

// OwnSnapshot is a snapshot of this replica's own state, which needs no check when it is written.
type OwnSnapshot struct{ raft.FSMSnapshot }

// Persist implements raft.FSMSnapshot.
func (s OwnSnapshot) Persist(sink raft.SnapshotSink) error {
	if to, ok := sink.(*snapshotSink); ok {
		to.own = true
	}
	return s.FSMSnapshot.Persist(sink)
}

// snapshotCheck reads a snapshot as a restore will, while it comes in.
type snapshotCheck struct {
	to      *io.PipeWriter
	done    chan struct{} // closed when what follows is set
	applied uint64
	err     error
}

func newSnapshotCheck(verify func(io.Reader) (uint64, error)) *snapshotCheck {
	from, to := io.Pipe()
	c := &snapshotCheck{to: to, done: make(chan struct{})}
	go func() { // ends with stop or end, one of which follows
		defer close(c.done)
		if c.applied, c.err = verify(from); c.err == nil {
			_, c.err = io.Copy(io.Discard, from) // what a restore does not read
		}
		_ = from.CloseWithError(c.err) // never fails
	}()
	return c
}

// end waits for the verdict on all of it.
func (c *snapshotCheck) end() (applied uint64, err error) {
	_ = c.to.Close() // never fails
	<-c.done
	return c.applied, c.err
}

var errCancelled = errors.New("the snapshot was given up")

// stop ends the check of a snapshot that is not wanted any more.
func (c *snapshotCheck) stop() {
	if c != nil {
		_ = c.to.CloseWithError(errCancelled) // never fails
		<-c.done
	}
}

// read has the check read what comes from another replica.
func (s *snapshotSink) read(p []byte) error {
	if s.own {
		return nil
	}
	s.startCheck()
	if _, err := s.check.to.Write(p); err != nil {
		return s.unusable(err)
	}
	return nil
}

func (s *snapshotSink) startCheck() {
	if s.check == nil {
		s.check = newSnapshotCheck(s.store.verify)
	}
}

// verified is why a snapshot cannot be used, or nil. It is asked for before anything of the snapshot is final: one that
// is stored and cannot be restored keeps the replica from starting.
func (s *snapshotSink) verified() error {
	if s.own {
		return nil
	}
	s.startCheck() // of nothing at all, too
	applied, err := s.check.end()
	s.check = nil
	if err != nil {
		return s.unusable(err)
	}
	if applied > s.last.Index || s.last.Index-applied > maxUncounted {
		return s.unusable(fmt.Errorf("it holds the state at entry %d", applied))
	}
	return nil
}

func (s *snapshotSink) unusable(err error) error {
	return fmt.Errorf("a snapshot up to entry %d that another replica sent cannot be used, this replica goes on with "+
		"its own state: %w", s.last.Index, err)
}
