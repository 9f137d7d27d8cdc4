package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much the heap may grow between two collections. Most of it is the stored state and its pages, which live long,
// and every collection looks at all of that. A small heap may grow by far more than its size for little memory. One of
// ten thousand groups must not, for what is garbage at the end also leaves holes behind. In a large one a look costs
// the most, a miss of the caches for each object, and whoever stores as much has the room.
const (
	gcRoom   = 124 << 20 // bytes: up to here …
	gcGrowth = 64 << 20  // … a heap may grow by so many,
	gcPart   = 13        // any by so many percent,
	gcLarge  = 256 << 20 // and a larger one than this by twice what it is larger,
	gcMost   = 75        // or so many percent at most
	// what a smaller heap is taken for: the runtime never collects below 4 MiB times the percentage
	gcLeast = 16 << 20
)

// tuneGC sets the collector after each collection to what gcPercentFor says. GOGC and GOMEMLIMIT in the environment
// count instead.
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
	percent := max(gcPart, min(gcGrowth, gcRoom-min(live, gcRoom))*100/live,
		min(gcMost, 2*(live-min(live, gcLarge))*100/live))
	return int(percent)
}
