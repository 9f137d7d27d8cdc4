package api

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/fsm"
)

// Check returns the error that [New] would return because of what an operator has written, before there is a replica.
// It ignores Replica, Store, Registerer, Gatherer and Quit.
func Check(cfg Config) error {
	registry := prometheus.NewRegistry()
	cfg.Replica, cfg.Store = struct{ Replica }{}, fsm.New(slog.New(slog.DiscardHandler)) // which nobody asks
	cfg.Registerer, cfg.Gatherer, cfg.Quit = registry, registry, func() {}
	_, err := New(cfg)
	return err
}
