package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHertz is the unit of the processor times in /proc, the same on every Linux that Go runs on.
const userHertz = 100

// cpuTime is what the processes have used of the processors since they began.
func cpuTime(processes ...*process) (total time.Duration, err error) {
	for _, p := range processes {
		used, err := cpuTimeOf(p.Pid())
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

func cpuTimeOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; after it, utime and stime are fields 14 and 15 of proc(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHertz, nil
}

// memory is what of a process is resident, in bytes: now, at most since it began, and how much of it now is pages of
// mapped files, which the kernel can take back.
type memory struct{ now, most, file int64 }

func memoryOf(p *process) (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		into, ok := map[string]*int64{"VmRSS": &m.now, "VmHWM": &m.most, "RssFile": &m.file}[key]
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/%d/status: %w", p.Pid(), err)
		}
		*into = kib << 10
	}
	return m, nil
}

// quiet waits until the processes have next to nothing left to do: a snapshot, or a garbage collection, that the last
// work has started must not be charged to the next one's peer. Heartbeats go on, and it gives up after a few seconds.
func quiet(ctx context.Context, processes ...*process) error {
	const look, enough, tries = 200 * time.Millisecond, 30 * time.Millisecond, 15
	tick := time.NewTicker(look)
	defer tick.Stop()
	last, err := cpuTime(processes...)
	for range tries {
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var now time.Duration
		now, err = cpuTime(processes...)
		if now-last <= enough {
			return err
		}
		last = now
	}
	return err
}
