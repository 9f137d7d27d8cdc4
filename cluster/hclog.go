package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/loglimit"
)

// isBenign tells whether Raft warns of what is the course of things here: a new replica waits to be added, a leader
// brings a follower up to date.
func isBenign(msg string, args []any) bool {
	for _, a := range args {
		if err, ok := a.(error); ok && (errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, net.ErrClosed)) {
			return true // a follower that needs a snapshot; connections that end with the replica
		}
	}
	switch msg {
	case "no known peers, aborting election", "failed to get previous log",
		"appendEntries rejected, sending older logs",
		"not part of stable configuration, aborting election", "found temporary snapshot",
		"previous log term mis-match",
		"heartbeat timeout reached, not part of a stable configuration or a non-voter, " +
			"not triggering a leader election":
		return true
	}
	return false
}

// raftLogger writes what Raft logs to slog. Raft's info lines are its own bookkeeping; what an operator wants to know
// of them this package says itself, so they become debug lines.
type raftLogger struct {
	hclog.Logger // what Raft does not use goes nowhere
	logger       *slog.Logger
	name         string
	args         []any
	quiet        *loglimit.Limit
}

func newRaftLogger(logger *slog.Logger) *raftLogger {
	return &raftLogger{Logger: hclog.NewNullLogger(), logger: logger, quiet: loglimit.New()}
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	ctx := context.Background()
	if to > slog.LevelDebug && (isBenign(msg, args) || !l.quiet.Allow(msg, time.Now())) {
		to = slog.LevelDebug
	}
	if !l.logger.Enabled(ctx, to) {
		return
	}
	all := make([]any, 0, len(l.args)+len(args))
	all = append(append(all, l.args...), args...)
	for i, a := range all {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			all[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	l.logger.Log(ctx, to, cmp.Or(l.name, "raft")+": "+msg, all...)
}

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) IsTrace() bool { return false }
func (l *raftLogger) IsDebug() bool { return l.logger.Enabled(context.Background(), slog.LevelDebug) }
func (l *raftLogger) IsInfo() bool  { return l.IsDebug() }
func (l *raftLogger) IsWarn() bool  { return true }
func (l *raftLogger) IsError() bool { return true }

func (l *raftLogger) ImpliedArgs() []any { return l.args }

func (l *raftLogger) With(args ...any) hclog.Logger {
	c := *l
	c.args = append(append([]any{}, l.args...), args...)
	return &c
}

func (l *raftLogger) Name() string { return l.name }

func (l *raftLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *raftLogger) ResetNamed(name string) hclog.Logger {
	c := *l
	c.name = name
	return &c
}
