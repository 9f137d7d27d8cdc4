package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestTheLeastOfTheLimitsIsAvailable(t *testing.T) {
	unknown := func() (uint64, error) { return 0, errors.New("no control groups here") }
	for _, row := range []struct {
		name  string
		limit int64 // GOMEMLIMIT
		host  memlimit.Provider
		want  int64
	}{
		{"no limit but the host's", math.MaxInt64, memlimit.Limit(256 << 20), 256 << 20},
		{"one below the host's", 200 << 20, memlimit.Limit(256 << 20), 200 << 20},
		{"one above it", 512 << 20, memlimit.Limit(256 << 20), 256 << 20},
		{"one where the host is not known", 200 << 20, unknown, 200 << 20},
		{"nothing is known", math.MaxInt64, unknown, 0},
		{"a host without an end", math.MaxInt64, memlimit.Limit(math.MaxUint64), 0},
	} {
		if got := availableOf(row.limit, row.host); got != row.want {
			t.Errorf("%s: %d bytes, want %d", row.name, got, row.want)
		}
	}
}

func TestTheRuntimesLimitIsAPartOfTheHosts(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	if value, set := os.LookupEnv("GOMEMLIMIT"); set { // that of whoever runs the tests
		t.Setenv("GOMEMLIMIT", value) // which sets it back
		if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	setMemoryLimit(0.5, memlimit.Limit(8<<30), logger)
	if got := debug.SetMemoryLimit(-1); got != 4<<30 {
		t.Errorf("half of 8 GiB is %d bytes", got)
	}
	setMemoryLimit(0.5, func() (uint64, error) { return 0, errors.New("nothing to read") }, logger)
	if got := debug.SetMemoryLimit(-1); got != 4<<30 || !strings.Contains(log.String(), "set GOMEMLIMIT") {
		t.Errorf("a host that is not known has made it %d bytes, and the log says\n%s", got, &log)
	}
	t.Setenv("GOMEMLIMIT", "3GiB")
	setMemoryLimit(0.25, memlimit.Limit(8<<30), logger)
	if got := debug.SetMemoryLimit(-1); got != 4<<30 {
		t.Errorf("beside GOMEMLIMIT in the environment it was set to %d bytes", got)
	}
}

func TestARatioIsAPart(t *testing.T) {
	for value, ok := range map[string]bool{
		"0.9": true, "1": true, "0": false, "1.1": false, "-1": false,
		"NaN": false,
	} {
		_, err := parseOptions([]string{"--auto-gomemlimit.ratio=" + value})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "--auto-gomemlimit.ratio="+value) {
			t.Errorf("--auto-gomemlimit.ratio=%s: %v", value, err)
		}
	}
}
