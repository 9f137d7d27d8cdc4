// Command pushquorum is a clustered, highly available drop-in for the Prometheus Pushgateway.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"pushquorum/api"
	"pushquorum/cluster"
	"pushquorum/cmd/pushquorum/internal/pgfile"
)

// drainTimeout bounds how long a stopping replica waits for requests in flight beyond what a push may take.
const drainTimeout = 5 * time.Second

func main() {
	tuneGC()
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		err = command(o)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pushquorum: error: %s\n", oneLine(err))
		os.Exit(1)
	}
}

// command does what the command line says.
func command(o *options) error {
	logger := newLogger(&o.log)
	if o.autoMemory {
		setMemoryLimit(o.memoryRatio, memoryOfHost, logger)
	}
	if o.recover {
		return recoverCluster(o, logger, os.Stdout)
	}
	if err := o.share(availableMemory(), maxDescriptors(), logger); err != nil {
		return err
	}
	if err := o.preflight(); err != nil {
		return err
	}
	for {
		if err := serve(o, logger); !errors.Is(err, cluster.ErrWritable) {
			return err
		}
		// Here, because not everyone has somebody who starts it again.
	}
}

// serve runs one replica until a signal, a request to quit, or a fault from which it cannot go on.
//
//	           ┌── signals, /-/quit
//	run group ─┼── replica     gossip, raft and their background work; ends serve when the state machine halts, the
//	           │               data directory is gone, or one that could only be read can be written again
//	           ├── import      a Pushgateway's persistence file, once
//	           └── web server  api → fsm (views) and replica (commands, read barriers)
//
// The end, in this order: not ready, the leadership transferred, a while for load balancers to notice (ending),
// requests in flight finished, the gossip left, the replica closed.
func serve(o *options, logger *slog.Logger) error {
	logger.Info("starting pushquorum", "version", version.Info(), "build_context", version.BuildContext())
	warnOfIdleFlags(o, logger)

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("pushquorum"),
	)

	o.cluster.Logger, o.cluster.Registerer, o.cluster.Version = logger, registry, version.Version
	replica, state, err := openReplica(o.cluster, logger)
	if err != nil {
		return err
	}
	defer replica.Close() //nolint:errcheck // the process ends; what matters has been fsynced long before

	quit := make(chan struct{})
	imports := &pgfile.Import{
		Replica: replica, State: state, File: o.persistenceFile, MaxCommand: cluster.MaxCommand, Logger: logger,
	}
	cfg := o.apiConfig()
	cfg.Replica, cfg.Store, cfg.Quit = imports, state, func() { close(quit) }
	cfg.Cluster = func(ctx context.Context) api.ClusterStatus { return clusterStatus(replica.Status(ctx)) }
	cfg.Registerer, cfg.Gatherer, cfg.BuildInfo, cfg.Logger = registry, registry, buildInfo(), logger
	handler, err := api.New(cfg)
	if err != nil {
		return err
	}

	end := &ending{replica: replica, delay: o.drainDelay, log: logger}
	var g run.Group
	{
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(signals) // what comes between this and the next serve ends the process
		done := make(chan struct{})
		g.Add(func() error {
			end.await(signals, quit, done)
			return nil
		}, func(error) { close(done) })
	}
	{
		server := newServer(end.closing(handler), o.pushTimeout, newConnections(o.limits.connections), logger)
		g.Add(func() error {
			if err := web.ListenAndServe(server, o.web, logger); !errors.Is(err, http.ErrServerClosed) {
				return serveError(o.web, err)
			}
			return nil
		}, func(error) {
			ctx, cancel := context.WithTimeout(context.Background(), o.pushTimeout+drainTimeout)
			defer cancel()
			if err := server.Shutdown(ctx); err != nil {
				logger.Warn("requests in flight were cut off", "err", err)
			}
			end.leave()
		})
	}
	importFile := func(ctx context.Context) error {
		if err := imports.Run(ctx); err != nil {
			return cannotImport(imports.File, err)
		}
		return nil
	}
	for _, actor := range []func(context.Context) error{replica.Run, importFile} {
		ctx, cancel := context.WithCancel(context.Background())
		g.Add(func() error { return actor(ctx) }, func(error) { cancel() })
	}
	err = g.Run()
	if end.begun.Load() && errors.Is(err, cluster.ErrWritable) {
		return nil // the directory can be written again, and this process was told to stop
	}
	return err
}

// apiConfig is what the command line says of the HTTP surface.
func (o *options) apiConfig() api.Config {
	return api.Config{
		IncludeSelf:    o.includeSelf == "true" || o.includeSelf == "auto" && o.cluster.ListenAddress == "",
		RoutePrefix:    api.ComputeRoutePrefix(o.routePrefix, o.externalURL),
		ExternalPrefix: api.ComputeRoutePrefix("", o.externalURL),
		TelemetryPath:  o.telemetryPath,
		EnableAdmin:    o.admin, EnableLifecycle: o.lifecycle,
		UTF8Names: o.utf8Names, Unchecked: o.unchecked, PushTimeout: o.pushTimeout, MaxBodyBytes: int64(o.maxBody),
		Read: o.read, Limits: o.cluster.Limits,
		MaxBytesInFlight: o.limits.pushes, MaxPushes: o.maxPushes, PageBytes: o.limits.pages,
		Flags: o.shown,
	}
}

// warnOfIdleFlags says which given flags of the Pushgateway do something else here, and why.
func warnOfIdleFlags(o *options, logger *slog.Logger) {
	if o.persistenceInterval != 0 {
		logger.Warn("--persistence.interval has no effect: every push is durable when it is answered")
	}
	if o.unchecked {
		logger.Warn("--push.disable-consistency-check only makes a good push answer 202 instead of 200: it is " +
			"checked all the same, which costs no more than the push, and keeps every scrape valid")
	}
}

// clusterStatus is what the API shows of a cluster's status.
func clusterStatus(s cluster.Status) api.ClusterStatus {
	out := api.ClusterStatus{
		Self: s.Self, Leader: s.Leader, Term: s.Term,
		CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex, StateHash: s.StateHash,
		Members: make([]api.Member, len(s.Members)),
	}
	for i, m := range s.Members {
		out.Members[i] = api.Member(m)
	}
	return out
}

func buildInfo() map[string]string {
	return map[string]string{
		"version": version.Version, "revision": version.GetRevision(), "branch": version.Branch,
		"buildUser": version.BuildUser, "buildDate": version.BuildDate, "goVersion": version.GoVersion,
	}
}
