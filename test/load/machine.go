package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine says what the figures were taken on: a figure without it says nothing.
func (b *bench) machine(now time.Time) string {
	disk, err := fsyncTime(b.dir, 200)
	fsync := fmt.Sprintf("4 KiB append and fsync p50 %s, p99 %s",
		duration(disk.quantile(0.5)), duration(disk.quantile(0.99)))
	if err != nil {
		fsync = err.Error()
	}
	lines := [][]string{
		{"date", now.UTC().Format("2006-01-02 15:04 MST")},
		{"processors", fmt.Sprintf("%d, %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"))},
		{"memory", field("/proc/meminfo", "MemTotal")},
		{"system", fmt.Sprintf("%s %s, %s", runtime.GOOS, firstLine("/proc/sys/kernel/osrelease"), runtime.GOARCH)},
		{"load average before the run", b.loadBefore},
		{"disk", fmt.Sprintf("%s, %s", filesystem(b.dir), fsync)},
		{"Go", runtime.Version()},
		{"PushQuorum", versionOf(b.binary)},
		{"Pushgateway", versionOf(b.peers.pushgatewayPath)},
		{"etcd", versionOf(b.peers.etcdPath)},
	}
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&out, "- %s: %s\n", l[0], or(l[1], "unknown"))
	}
	return out.String()
}

// field is the value of the first line "name: value" of a file, "" if there is none.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// loadAverage is that of the last minute, the last five and the last fifteen. Above a half or so, the figures are those
// of a machine that does something else as well.
func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// filesystem is the type of the one that a directory is on. On a tmpfs an fsync costs nothing, and the figures are not
// those of a disk.
func filesystem(dir string) string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "an unknown filesystem"
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	longest, kind := -1, "an unknown filesystem"
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			longest, kind = len(f[1]), f[2]
		}
	}
	if kind == "tmpfs" {
		kind = "tmpfs (**an fsync costs nothing here: set TMPDIR to a directory on a disk**)"
	}
	return kind
}

// fsyncTime is how long the disk takes for the least that a durable push needs.
func fsyncTime(dir string, n int) (all samples, err error) {
	f, err := os.CreateTemp(dir, "fsync")
	if err != nil {
		return nil, err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // it goes with its directory at the latest
	block := make([]byte, 4<<10)
	for range n {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		all = append(all, sample{took: time.Since(began)})
	}
	return all, nil
}
