package main

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryOfHost is how much memory the control group of this process allows, or else the machine has. Bytes.
func memoryOfHost() (uint64, error) {
	whole, err := memlimit.FromSystem()
	if err != nil {
		return memlimit.FromCgroup()
	}
	// A group without a limit, a system without groups: then the machine's counts.
	inGroup, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.Limit(whole))()
	return min(inGroup, whole), err
}

// setMemoryLimit has the runtime collect garbage more often as the process comes near what it may use. Without that the
// garbage of a process that has room for its state could grow until the kernel kills it. GOMEMLIMIT in the environment
// counts instead.
func setMemoryLimit(ratio float64, host memlimit.Provider, logger *slog.Logger) {
	if value, set := os.LookupEnv("GOMEMLIMIT"); set {
		logger.Debug("GOMEMLIMIT is set, so --auto-gomemlimit does nothing", "GOMEMLIMIT", value)
		return
	}
	limit, err := memlimit.Set(memlimit.WithRatio(ratio), memlimit.WithProvider(host))
	if err != nil {
		logger.Warn("how much memory this process may use is not known: set GOMEMLIMIT", "err", err)
		return
	}
	logger.Debug("the runtime's memory limit is set", "GOMEMLIMIT", limit, "ratio", ratio)
}

// availableMemory is how much memory this process may use: GOMEMLIMIT, however it was set, but not more than the
// control group or the machine has. Bytes; 0: not known.
func availableMemory() int64 { return availableOf(debug.SetMemoryLimit(-1), memoryOfHost) }

func availableOf(limit int64, host memlimit.Provider) int64 {
	if found, err := host(); err == nil && found < math.MaxInt64 {
		limit = min(limit, int64(found))
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// checkMemoryRatio refuses what is no part of the memory.
func checkMemoryRatio(ratio float64) error {
	if ratio > 0 && ratio <= 1 {
		return nil
	}
	return fmt.Errorf("--auto-gomemlimit.ratio=%v: write a part of the memory above 0 and at most 1, such as 0.9",
		ratio)
}
