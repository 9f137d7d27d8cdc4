package main

import (
	"math"
	"runtime/debug"
)

// availableMemory is how many bytes this process may use, 0 if that is not known.
func availableMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	return 0
}
