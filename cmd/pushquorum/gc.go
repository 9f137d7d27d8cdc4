package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much the heap may grow between two collections. Most of it is the stored state and its pages, which live long, and every
// collection looks at all of that: a small heap may grow by far more than its size for little memory, a large one must not.
const (
	gcRoom    = 128 << 20 // bytes: up to here …
	gcGrowth  = 64 << 20  // … a heap may grow by so many,
	gcPercent = 30        // and any by so much of its size
	gcLeast   = 16 << 20  // what a smaller heap is taken for: the runtime never collects below 4 MiB times the percentage
)

// tuneGC sets the collector after each collection to what gcPercentFor says. GOGC and GOMEMLIMIT in the environment count instead.
func tuneGC() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := gcPercentFor(0)
	debug.SetGCPercent(percent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var afterEach func(*collected)
	afterEach = func(*collected) {
		metrics.Read(live)
		if now := gcPercentFor(live[0].Value.Uint64()); now != percent {
			percent = now
			debug.SetGCPercent(percent)
		}
		runtime.SetFinalizer(new(collected), afterEach)
	}
	afterEach(nil)
}

// collected is an object that nobody holds: its finalizer runs after each collection.
type collected struct{ _ [16]byte }

// gcPercentFor returns by how much of its size a heap may grow that has so many bytes after a collection.
func gcPercentFor(live uint64) int {
	live = max(live, gcLeast)
	growth := min(gcGrowth, gcRoom-min(live, gcRoom))
	return max(int(growth*100/live), gcPercent)
}
