package main

import (
	"context"
	"errors"
	"log/slog"

	"pushquorum/api"
	"pushquorum/cluster"
	"pushquorum/fsm"
)

// replica is what the process serves: a member of a cluster, or what is left of one while its disk takes nothing.
type replica interface {
	api.Replica
	leaver
	Status(ctx context.Context) cluster.Status
	Run(ctx context.Context) error
	Close() error
}

// openReplica opens the replica and its state. One whose data directory cannot be written, and which is the only one to
// have what is in it, is opened to be read: to refuse scrapes because pushes must be refused would be to lose twice.
func openReplica(cfg cluster.Config, logger *slog.Logger) (replica, *fsm.FSM, error) {
	cfg.FSM = fsm.New(logger)
	r, err := cluster.Open(cfg)
	if err == nil {
		return r, cfg.FSM, nil
	}
	if !errors.Is(err, cluster.ErrCannotWrite) {
		return nil, nil, err
	}
	cfg.FSM = fsm.New(logger)
	readOnly, rerr := cluster.OpenReadOnly(cfg, err)
	if rerr != nil {
		logger.Debug("and it cannot be served without being written either", "err", rerr)
		return nil, nil, err
	}
	return readOnly, cfg.FSM, nil
}
