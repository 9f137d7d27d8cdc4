package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"pushquorum/api"
	"pushquorum/cluster"
	"pushquorum/fsm"
)

// importing is a replica that refuses reads and writes until the Pushgateway's persistence file is in the store: a scrape before
// that would show an empty page, and mark every series as gone; a push before that would make the store one that has been
// written, into which nothing is imported.
type importing struct {
	replica
	state *fsm.FSM
	file  string // "": nothing to import
	log   *slog.Logger
	done  atomic.Bool
}

// importRetry is between two tries, of which the first may have failed at once: a replica that cannot write takes
// nothing.
const importRetry = 50 * time.Millisecond

// importRoomRetry is between two tries while the disks have no room for an import.
const importRoomRetry = 10 * time.Second

var errImporting = errors.New("the persistence file is being imported")

// run imports the file if the store has never been written, and then waits for ctx to end. An error means that the file is
// there but cannot be imported: to go on would be to lose what is in it.
func (i *importing) run(ctx context.Context) error {
	if i.file != "" {
		if err := i.once(ctx); err != nil && ctx.Err() == nil {
			return cannotImport(i.file, err)
		}
	}
	i.done.Store(true)
	<-ctx.Done()
	return nil
}

func (i *importing) once(ctx context.Context) error {
	if err := i.current(ctx); err != nil {
		return err
	}
	if i.state.View().Written() {
		i.log.Debug("the store has been written before, nothing is imported", "file", i.file)
		return nil
	}
	f, err := os.Open(i.file)
	if errors.Is(err, fs.ErrNotExist) {
		i.log.Info("there is no persistence file to import", "file", i.file)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	groups, skipped, err := api.ReadPersistenceFile(f)
	if err != nil {
		return err
	}
	if len(groups) == 0 && len(skipped) == 0 {
		i.log.Info("there is nothing in the persistence file to import", "file", i.file)
		return nil
	}
	for _, err := range skipped {
		i.log.Error("left out of the import", "file", i.file, "err", err)
	}
	command := fsm.EncodeImport(fsm.Request{ID: fsm.NewRequestID(), Seen: i.state.Applied()}, groups)
	if len(command) > cluster.MaxCommand {
		return fmt.Errorf("its groups take %d bytes in the log, where at most %d are possible: delete some of them in the Pushgateway first", len(command), cluster.MaxCommand)
	}
	for {
		res, err := i.replica.Apply(ctx, command)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			select { // outcome unknown; the id makes sure that it is applied once
			case <-time.After(importRetry):
			case <-ctx.Done():
			}
			continue
		case res.Status == fsm.Full:
			return fmt.Errorf("there is no room for its groups: %s: raise that limit", res.Reason)
		case res.Status == fsm.NoSpace:
			i.log.Warn("cannot import yet, trying again", "file", i.file, "reason", res.Reason)
			select {
			case <-time.After(importRoomRetry):
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		case res.Status != fsm.Applied:
			i.log.Warn("nothing was imported", "file", i.file, "reason", res.Reason)
		case res.Reason != "":
			i.log.Error("imported in part", "file", i.file, "groups", len(groups), "reason", res.Reason)
		default:
			i.log.Info("imported", "file", i.file, "groups", len(groups))
		}
		return nil
	}
}

// current waits until the local state is what the cluster has agreed on.
func (i *importing) current(ctx context.Context) error {
	tick := time.NewTicker(importRetry)
	defer tick.Stop()
	for i.replica.ReadBarrier(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (i *importing) ready() bool { return i.file == "" || i.done.Load() }

// Apply implements api.replica.
func (i *importing) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	if !i.ready() {
		return fsm.Result{}, &fsm.NotAppliedError{Err: errImporting}
	}
	return i.replica.Apply(ctx, command)
}

// ReadBarrier implements api.replica.
func (i *importing) ReadBarrier(ctx context.Context) error {
	if !i.ready() {
		return errImporting
	}
	return i.replica.ReadBarrier(ctx)
}

// Staleness implements api.replica.
func (i *importing) Staleness() (age time.Duration, ok bool) {
	if !i.ready() {
		return 0, false
	}
	return i.replica.Staleness()
}

// Ready implements api.replica.
func (i *importing) Ready() error {
	if !i.ready() {
		return errImporting
	}
	return i.replica.Ready()
}
