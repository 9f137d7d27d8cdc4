package api

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/fsm"
)

// Check returns the error that [New] would return because of what an operator has written: so that it can be told before
// there is a replica. What else is in the configuration does not matter.
func Check(cfg Config) error {
	registry := prometheus.NewRegistry()
	cfg.Replica, cfg.Store = struct{ Replica }{}, fsm.New(slog.New(slog.DiscardHandler)) // nobody asks them
	cfg.Registerer, cfg.Gatherer, cfg.Quit = registry, registry, func() {}
	_, err := New(cfg)
	return err
}
