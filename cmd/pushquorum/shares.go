package main

import (
	"fmt"
	"log/slog"

	"pushquorum/api"
)

// processMemory is what a process takes that stores nothing: remembered requests, what Raft keeps of the log, code.
// Bytes.
const processMemory = 64 << 20

// shares is how much of the machine each kind of work may take, unless a flag says otherwise. DESIGN.md says why, and
// what was measured.
type shares struct {
	state       int64 // bytes, see fsm.Usage
	pages       int64 // bytes
	pushes      int64 // bytes
	connections int
}

// sharesOf divides memory, in bytes, and file descriptors. 0 is for what is not known, and counts as enough.
func sharesOf(memory, descriptors int64) shares {
	const leastConnections, mostConnections = 16, 4096
	s := shares{pushes: api.DefaultMaxInFlight}
	connections := int64(mostConnections)
	if memory > 0 {
		s.state = max(8<<20, (memory-processMemory)/4)
		s.pages = memory / 4
		// What has been given back stays until the next collection.
		s.pushes = max(8<<20, min(1<<30, memory/8))
		connections = min(connections, memory/4/maxHeaderBytes)
	}
	if descriptors > 0 {
		connections = min(connections, descriptors/2) // the rest is for the log, its snapshots and the peers
	}
	s.connections = int(max(leastConnections, connections))
	return s
}

// share sets the limits that were left to this machine, and refuses those that it cannot keep.
func (o *options) share(memory, descriptors int64, logger *slog.Logger) error {
	if o.maxConnections > 0 && descriptors > 0 && int64(o.maxConnections) >= descriptors {
		return fmt.Errorf("--web.max-connections=%d leaves no file descriptor to the log: this process may have %d: "+
			"allow it more (ulimit -n), or write fewer connections",
			o.maxConnections, descriptors)
	}
	s := sharesOf(memory, descriptors)
	o.cluster.Limits.StateBytes = o.stateBytes.or(s.state)
	o.limits = shares{
		state: o.cluster.Limits.StateBytes, pages: o.pageBytes.or(s.pages), pushes: o.bytesInFlight.or(s.pushes),
		connections: s.connections,
	}
	if o.maxConnections > 0 {
		o.limits.connections = o.maxConnections
	}
	if o.maxPushes == 0 {
		// The other connections are for probes and scrapes, which come meanwhile.
		o.maxPushes = max(1, o.limits.connections*3/4)
	}
	logger.Info("what this process may take",
		"memory", memory, "state_bytes", o.limits.state, "page_bytes", o.limits.pages,
		"push_bytes", o.limits.pushes, "connections", o.limits.connections, "pushes", o.maxPushes)
	return nil
}

// checkLimits refuses limits that are none, on any machine.
func (o *options) checkLimits() error {
	const leastInFlight = 4 << 20
	l := &o.cluster.Limits
	for _, limit := range []struct {
		flag string
		most int
	}{{"groups", l.Groups}, {"series", l.Series}, {"series-per-group", l.SeriesPerGroup}} {
		if limit.most < 0 {
			return fmt.Errorf("--limit.%s=%d is no limit: write how many may be stored, or 0 for no limit", limit.flag,
				limit.most)
		}
	}
	switch {
	case o.maxConnections < 0:
		return fmt.Errorf("--web.max-connections=%d is no number of connections: write how many there may be, or 0 "+
			"for what this machine allows", o.maxConnections)
	case o.maxPushes < 0:
		return fmt.Errorf("--push.max-requests=%d is no number of pushes: write how many there may be, or 0 for "+
			"three quarters of the connections", o.maxPushes)
	case !o.bytesInFlight.auto && o.bytesInFlight.bytes < leastInFlight:
		return fmt.Errorf("--push.max-bytes-in-flight=%s has no room for a push: write at least %dMB, or auto for a "+
			"share of the memory", o.bytesInFlight, leastInFlight>>20)
	}
	return nil
}
