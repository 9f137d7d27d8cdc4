package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pushquorum/test/local"
)

// process is a server that was started here.
type process struct{ local.Process }

// start starts a program. Starting one of the same name again adds to its log.
func (b *bench) start(name, program string, args ...string) (*process, error) {
	p := &process{
		local.Process{Name: name, Args: append([]string{program}, args...), Log: filepath.Join(b.dir, name+".log")},
	}
	if err := p.Start(b.spawner); err != nil {
		return nil, err
	}
	b.processes = append(b.processes, p)
	return p, nil
}

// answers waits until GET path of the address is answered with 200. Looking every 2 ms is what a restart is measured
// with.
func (p *process) answers(ctx context.Context, address, path string) error {
	deadline := time.Now().Add(maxWait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := fetch(ctx, address, path)
		if err == nil {
			return nil
		}
		if over := p.Ended(); over != nil {
			return over
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %w; its last lines:\n%s", p.Name, maxWait, err, p.Tail(15))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// snapshots are those that the replica has told of in its log, with when they began and ended.
func (p *process) snapshots() ([]stretch, error) {
	out, err := os.ReadFile(p.Log)
	if err != nil {
		return nil, err
	}
	return snapshotsIn(out)
}

// stretch is a time of day from one moment to another.
type stretch struct{ from, to time.Time }

func snapshotsIn(log []byte) (all []stretch, err error) {
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(`msg="took a snapshot"`)) {
			continue
		}
		var s stretch
		var seconds float64
		for field := range strings.FieldsSeq(string(line)) {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "ts":
				s.to, err = time.Parse(time.RFC3339Nano, value)
			case "seconds":
				_, err = fmt.Sscan(value, &seconds)
			}
			if err != nil {
				return nil, fmt.Errorf("%s in %q: %w", key, line, err)
			}
		}
		if s.to.IsZero() || seconds == 0 {
			return nil, fmt.Errorf("no ts or no seconds in %q", line)
		}
		s.from = s.to.Add(-time.Duration(seconds * float64(time.Second)))
		all = append(all, s)
	}
	return all, nil
}
