package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/durable"
)

// lockFile is what the lock of a data directory is called there.
const lockFile = "lock"

// ErrGone is why a replica acknowledges nothing any more: what it writes would be nowhere after its end.
var ErrGone = errors.New("the data directory was deleted or exchanged while in use")

// The kinds of writes whose last one counts, as they are named in messages.
const (
	writeLog      = "the log"
	writeTerm     = "term and vote"
	writeSnapshot = "a snapshot"
)

// failedWrite is how the last write of a kind ended, and when.
type failedWrite struct {
	err error
	at  time.Time
}

// failureCounts is how long a write that failed counts where nothing of its kind is written any more, as with a vote
// that was never asked for again, and the directory can be written.
const failureCounts = time.Minute

// Watch watches the data directory while it is open: whether its path still leads to the files that are open, and
// whether they can be written. A disk that has room again is well again; a directory that was deleted or exchanged
// never is.
type Watch struct {
	path   string
	same   map[string]os.FileInfo // files that are the same ones from the start to the end
	there  []string               // what may be replaced, but not be missing
	probe  func(dir string, size int) error
	every  time.Duration // between two checks
	logger *slog.Logger
	fence  func(error)            // called once, with what is wrong for good
	full   func()                 // called when a write has found no room; may be nil
	stored func(logs []*raft.Log) // called when the log has taken entries; may be nil
	lost   chan struct{}          // closed when the directory is gone

	mu      sync.Mutex
	gone    error
	refused error                   // of the last check
	failed  map[string]*failedWrite // the last write of a kind, when it failed
	since   time.Time               // when it began that anything is wrong
	running bool
	closing chan struct{} // closed when Raft is told to stop
	release func()        // closes it
}

// NewWatch makes a watch over the data directory at path, which checks it every so often and writes there with probe.
// What it watches over is given by [Dir.WatchedBy].
func NewWatch(path string, probe func(dir string, size int) error, every time.Duration, logger *slog.Logger) *Watch {
	d := &Watch{
		path: path, same: map[string]os.FileInfo{}, probe: probe, every: every, logger: logger, fence: func(error) {},
		lost: make(chan struct{}), failed: map[string]*failedWrite{}, closing: make(chan struct{}),
	}
	d.release = sync.OnceFunc(func() { close(d.closing) })
	return d
}

// expect names what must be there from now on. The lock is known by what is held.
func (d *Watch) expect(lock os.FileInfo, same, there []string) error {
	if lock != nil {
		d.same[filepath.Join(d.path, lockFile)] = lock
	}
	for _, name := range same {
		info, err := os.Stat(filepath.Join(d.path, name))
		if err != nil {
			return err
		}
		d.same[filepath.Join(d.path, name)] = info
	}
	for _, name := range there {
		d.there = append(d.there, filepath.Join(d.path, name))
	}
	return nil
}

// Run checks the directory again and again until ctx ends.
func (d *Watch) Run(ctx context.Context) {
	d.mu.Lock()
	d.running = true
	d.mu.Unlock()
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.Check()
		}
	}
}

// Check finds out whether the directory is still the one that is open, and can be written.
func (d *Watch) Check() {
	if err := d.missing(); err != nil {
		d.lose(err)
		return
	}
	err := d.probe(d.path, ProbeSize)
	if err != nil {
		if missing := d.missing(); missing != nil {
			d.lose(missing) // and not: cannot be written
			return
		}
	}
	if err != nil {
		if durable.IsFull(err) && d.full != nil {
			d.full()
		}
		err = CannotWrite(d.path, err)
	}
	d.note(func() {
		if d.refused = err; err != nil {
			return
		}
		for kind, f := range d.failed {
			if time.Since(f.at) > failureCounts {
				delete(d.failed, kind)
			}
		}
	})
}

// missing says which of the files are not the ones that are open. Only what is certain counts, because it counts for
// ever.
func (d *Watch) missing() error {
	for path, open := range d.same {
		switch now, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is gone", path)
		case err == nil && !os.SameFile(open, now):
			return fmt.Errorf("%s is another file", path)
		}
	}
	for _, path := range d.there {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is gone", path)
		}
	}
	return nil
}

// lose says that the directory is not the one that is open, and fences it.
func (d *Watch) lose(why error) {
	d.note(func() {
		if d.gone == nil {
			d.gone = fmt.Errorf("%s: %w: %w", d.path, ErrGone, why)
			d.fence(d.gone)
			close(d.lost)
		}
	})
}

// wrote notes how a write of a kind has ended.
func (d *Watch) wrote(kind string, err error) {
	switch {
	case errors.Is(err, errDeleted):
		d.lose(err)
	default:
		if durable.IsFull(err) && d.full != nil && kind != writeSnapshot {
			d.full()
		}
		d.note(func() {
			if err != nil {
				d.failed[kind] = &failedWrite{
					fmt.Errorf("%s: the last write of %s failed: %w", d.path, kind, err),
					time.Now(),
				}
			} else if len(d.failed) > 0 {
				delete(d.failed, kind)
			}
		})
	}
}

// note changes what is known, and says it when something begins or ceases to be wrong.
func (d *Watch) note(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.errLocked()
	change()
	switch now := d.errLocked(); {
	case before == nil && now != nil:
		d.since = time.Now()
		// whole: values are cut
		d.logger.Error("the data directory is not well; neither healthy nor ready: " + now.Error())
	case before != nil && now == nil:
		d.logger.Info("the data directory is well again", "dir", d.path, "after",
			time.Since(d.since).Round(time.Millisecond))
	case now != nil && errors.Is(now, ErrGone) && !errors.Is(before, ErrGone):
		d.logger.Error("the data directory is gone; nothing is acknowledged any more: " + now.Error())
	}
}

// Gone is closed when the directory is gone for good: see [Watch.IsGone].
func (d *Watch) Gone() <-chan struct{} { return d.lost }

// Release ends the wait of a [Watch.Patient] store, because Raft is told to stop.
func (d *Watch) Release() { d.release() }

// Err says what is wrong with the directory and where, in one line, or nil.
func (d *Watch) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errLocked()
}

func (d *Watch) errLocked() error {
	if d.gone != nil {
		return d.gone
	}
	if d.refused != nil {
		return d.refused
	}
	for _, kind := range []string{writeLog, writeTerm, writeSnapshot} {
		if f := d.failed[kind]; f != nil {
			return f.err
		}
	}
	return nil
}

// Lasts is for how long something has been wrong.
func (d *Watch) Lasts() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.errLocked() == nil {
		return 0
	}
	return time.Since(d.since)
}

// IsGone returns what is wrong with the directory for good, or nil.
func (d *Watch) IsGone() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// notedLogs is the log store whose writes the directory hears of.
type notedLogs struct {
	raft.LogStore
	dir *Watch
}

func (s *notedLogs) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *notedLogs) StoreLogs(l []*raft.Log) error {
	err := s.LogStore.StoreLogs(l)
	s.dir.wrote(writeLog, err)
	if err == nil && s.dir.stored != nil {
		s.dir.stored(l)
	}
	return err
}

func (s *notedLogs) DeleteRange(first, last uint64) error {
	err := s.LogStore.DeleteRange(first, last)
	s.dir.wrote(writeLog, err)
	return err
}

// patientStable is the stable store whose writes the directory hears of. Raft ends the process when it cannot store a
// term, and with it all that is still served; so it waits, as it would for a slow disk, until the term is stored. Till
// then it neither votes nor leads, which those who have room do without it.
type patientStable struct {
	raft.StableStore
	dir *Watch
}

// Patient gives a stable store whose writes the watch hears of. Storing a term does not fail: it waits until the disk
// takes it, or until Release.
func (d *Watch) Patient(s raft.StableStore) raft.StableStore { return &patientStable{s, d} }

const termRetry = 250 * time.Millisecond

func (s *patientStable) Set(key, value []byte) error {
	err := s.StableStore.Set(key, value)
	s.dir.wrote(writeTerm, err)
	return err
}

func (s *patientStable) SetUint64(key []byte, value uint64) error {
	for {
		err := s.StableStore.SetUint64(key, value)
		s.dir.wrote(writeTerm, err)
		if err == nil || string(key) != termKey || !s.dir.isRunning() {
			return err
		}
		select {
		case <-time.After(termRetry):
		case <-s.dir.closing:
			return nil // of a Raft that is stopping, and whom nobody hears any more
		}
	}
}

func (d *Watch) isRunning() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}
