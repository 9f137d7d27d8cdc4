package pgfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"pushquorum/fsm"
)

// Replica is what is imported into, and what an [Import] stands in front of.
type Replica interface {
	Apply(ctx context.Context, command []byte) (fsm.Result, error)
	ReadBarrier(ctx context.Context) error
	Staleness() (age time.Duration, ok bool)
	Ready() error
	Healthy() error
}

// Import is a Replica that refuses reads and writes until the persistence file is in the store. A scrape before that
// would show an empty page, and Prometheus would mark every series as gone; a push before that would make the store one
// that has been written, into which nothing is imported.
type Import struct {
	Replica
	State      *fsm.FSM
	File       string // "": there is nothing to import
	MaxCommand int    // bytes that an entry of the log may have
	Logger     *slog.Logger

	done atomic.Bool
}

const (
	// retryInterval is the time between two tries. The first may have failed at once: a replica that cannot write
	// takes nothing.
	retryInterval = 50 * time.Millisecond
	// noSpaceRetryInterval is the same while the disks have no room for the import.
	noSpaceRetryInterval = 10 * time.Second
)

var errImporting = errors.New("the persistence file is being imported")

// Run imports the file if the store has never been written, and then waits for ctx to end. It returns an error if the
// file is there but cannot be imported, because to go on would be to lose what is in it.
func (i *Import) Run(ctx context.Context) error {
	if i.File != "" {
		if err := i.importOnce(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	i.done.Store(true)
	<-ctx.Done()
	return nil
}

// importOnce returns nil when the groups are in the store, or when there is nothing to import.
func (i *Import) importOnce(ctx context.Context) error {
	if err := i.awaitCurrent(ctx); err != nil {
		return err
	}
	if i.State.View().Written() {
		i.Logger.Debug("the store has been written before, nothing is imported", "file", i.File)
		return nil
	}
	f, err := os.Open(i.File)
	if errors.Is(err, fs.ErrNotExist) {
		i.Logger.Info("there is no persistence file to import", "file", i.File)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	groups, skipped, err := Read(f)
	if err != nil {
		return err
	}
	if len(groups) == 0 && len(skipped) == 0 {
		i.Logger.Info("there is nothing in the persistence file to import", "file", i.File)
		return nil
	}
	for _, err := range skipped {
		i.Logger.Error("left out of the import", "file", i.File, "err", err)
	}
	command := fsm.EncodeImport(fsm.Request{ID: fsm.NewRequestID(), Seen: i.State.Applied()}, groups)
	if len(command) > i.MaxCommand {
		return fmt.Errorf("its groups take %d bytes in the log, where at most %d are possible: "+
			"delete some of them in the Pushgateway first", len(command), i.MaxCommand)
	}
	for {
		res, err := i.Replica.Apply(ctx, command)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			select { // outcome unknown; the id makes sure that it is applied once
			case <-time.After(retryInterval):
			case <-ctx.Done():
			}
			continue
		case res.Status == fsm.Full:
			return fmt.Errorf("there is no room for its groups: %s: raise that limit", res.Reason)
		case res.Status == fsm.NoSpace:
			i.Logger.Warn("cannot import yet, trying again", "file", i.File, "reason", res.Reason)
			select {
			case <-time.After(noSpaceRetryInterval):
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		case res.Status != fsm.Applied:
			i.Logger.Warn("nothing was imported", "file", i.File, "reason", res.Reason)
		case res.Reason != "":
			i.Logger.Error("imported in part", "file", i.File, "groups", len(groups), "reason", res.Reason)
		default:
			i.Logger.Info("imported", "file", i.File, "groups", len(groups))
		}
		return nil
	}
}

// awaitCurrent waits until the local state is what the cluster has agreed on.
func (i *Import) awaitCurrent(ctx context.Context) error {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for i.Replica.ReadBarrier(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (i *Import) imported() bool { return i.File == "" || i.done.Load() }

// Apply implements api.Replica.
func (i *Import) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	if !i.imported() {
		return fsm.Result{}, &fsm.NotAppliedError{Err: errImporting}
	}
	return i.Replica.Apply(ctx, command)
}

// ReadBarrier implements api.Replica.
func (i *Import) ReadBarrier(ctx context.Context) error {
	if !i.imported() {
		return errImporting
	}
	return i.Replica.ReadBarrier(ctx)
}

// Staleness implements api.Replica.
func (i *Import) Staleness() (age time.Duration, ok bool) {
	if !i.imported() {
		return 0, false
	}
	return i.Replica.Staleness()
}

// Ready implements api.Replica.
func (i *Import) Ready() error {
	if !i.imported() {
		return errImporting
	}
	return i.Replica.Ready()
}
