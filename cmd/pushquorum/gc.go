package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much a heap may grow between two garbage collections: see growthPercent, and DESIGN.md for what it is worth.
const (
	// smallHeapGrowth is how many bytes a small heap may grow by, whatever its size.
	smallHeapGrowth = 64 << 20
	// smallHeapMost is how large a small heap may grow, in bytes: the nearer it is, the less the heap may grow.
	smallHeapMost = 124 << 20
	// leastPercent is how many percent of its size any heap may grow by.
	leastPercent = 13
	// largeHeap is the size in bytes above which a heap may grow by twice what it is larger than this.
	largeHeap = 256 << 20
	// mostPercent is how many percent of its size a large heap may grow by at most.
	mostPercent = 75
	// leastHeap is the size in bytes for which any smaller heap counts, because the runtime lets one of a few megabytes
	// grow by the percentage of 4 MiB anyway.
	leastHeap = 16 << 20
)

// tuneGC sets the percentage that GOGC stands for to growthPercent, and again after each garbage collection. It does
// nothing if GOGC or GOMEMLIMIT is set in the environment.
func tuneGC() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := growthPercent(0)
	debug.SetGCPercent(percent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var afterEach func(*gcSentinel)
	afterEach = func(*gcSentinel) {
		metrics.Read(live)
		if now := growthPercent(live[0].Value.Uint64()); now != percent {
			percent = now
			debug.SetGCPercent(percent)
		}
		runtime.SetFinalizer(new(gcSentinel), afterEach)
	}
	afterEach(nil)
}

// gcSentinel is an object to which nothing refers, so that its finalizer runs after the next garbage collection.
type gcSentinel struct{ _ [16]byte }

// growthPercent returns how many percent of its size a heap may grow by that has so many live bytes.
func growthPercent(live uint64) int {
	live = max(live, leastHeap)
	small := min(smallHeapGrowth, smallHeapMost-min(live, smallHeapMost)) * 100 / live
	large := min(mostPercent, 2*(live-min(live, largeHeap))*100/live)
	return int(max(leastPercent, small, large))
}
