package cluster

import (
	"context"

	"github.com/hashicorp/raft"
)

// turns are given one after the other: see [Replica.reconfigure].
type turns chan struct{}

// reconfigure changes the configuration by what decide makes of the present one, and waits until that is done or ctx
// ends; the change goes on in that case. decide begins one change and gives its future, or nil when there is nothing to
// change.
//
// One change at a time is decided and made, so that each is decided by the configuration that it changes: two voters
// that leave at once must not both count the other as one who stays. Raft's own guard for that, the index of the
// configuration that was looked at, cannot be had: what its GetConfiguration gives says 0, which stands for any.
func (r *Replica) reconfigure(ctx context.Context, decide func(raft.Configuration) (raft.Future, error)) error {
	select {
	case r.turns <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	change, err := decide(r.raft.GetConfiguration().Configuration())
	if change == nil || err != nil {
		<-r.turns
		return err
	}
	done := make(chan error, 1)
	go func() { // ends when Raft answers
		err := change.Error()
		<-r.turns
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serverOf gives the server with this id, nil if the configuration has none.
func serverOf(c raft.Configuration, id raft.ServerID) *raft.Server {
	for i := range c.Servers {
		if c.Servers[i].ID == id {
			return &c.Servers[i]
		}
	}
	return nil
}
