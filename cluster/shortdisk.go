package cluster

import (
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

const (
	// On a disk that is short of room a snapshot is worth while when the log has grown by one part in shortWorth of the
	// last one, and by shortLeast bytes at least.
	shortWorth = 8
	shortLeast = 256 << 10
	// shortRest is how many times as long as a snapshot took nothing is tried again for the sake of what was deleted.
	shortRest = 1
	// shortPatience is how long a snapshot waits for deletes to pause: one after the first few writes nearly the whole
	// state again, and takes the time of the one that makes room.
	shortPatience = 5 * time.Second
	// measureRest is how many times as long as it took to measure a snapshot that does not fit nothing is measured
	// again, and measureRestLeast how long at least: all of the state is encoded for it.
	measureRest      = 10
	measureRestLeast = 3 * time.Second
)

// shortDisk frees room on a disk that is short of it, so that what is deleted really goes: the log is only shortened
// behind a snapshot, so there has to be room for the next one at any time.
type shortDisk struct {
	fsm    *fsm.FSM
	store  *disk.Dir
	space  *disk.Space
	logger *slog.Logger

	next    time.Time // when the next snapshot may be taken for the sake of what was deleted
	measure time.Time // when one that may not fit may be measured again
	known   measured
	quiet   time.Time // until then it was said that there is no room
	deletes deletes
	paused  bool // the deletes, by this tick
}

// measured is how large a snapshot would have been at a time.
type measured struct {
	bytes uint64
	grown uint64 // so many bytes had come into the log since the newest snapshot
	after uint64 // the last entry in that one
}

// most is how many bytes a snapshot has at most, from what is known and so many bytes in the log since the newest
// snapshot of a size.
func (m measured) most(grown, after, size uint64) uint64 {
	if m.bytes == 0 || m.after != after || grown < m.grown {
		return size + grown
	}
	return min(size+grown, m.bytes+grown-m.grown)
}

// deletes notices when they pause.
type deletes struct {
	applied uint64    // at the last tick
	since   time.Time // when they began
}

// over tells whether deletes have paused, or come for so long that nobody waits for their end.
func (d *deletes) over(applied uint64, now time.Time) bool {
	paused := applied == d.applied
	if d.applied = applied; paused || d.since.IsZero() {
		d.since = now
	}
	return paused || now.Sub(d.since) >= shortPatience
}

// makeRoom tells whether the disk is short of room, and then frees what is not needed: snapshots but the newest, and
// the log behind that one.
func (s *shortDisk) makeRoom() (tight bool) {
	s.paused = s.deletes.over(s.fsm.Applied(), time.Now())
	if _, tight = s.space.Room(s.store.NextSnapshot() / 2); !tight {
		return false
	}
	if err := s.store.ReapSnapshots(); err != nil {
		s.logger.Warn("cannot delete old snapshots, trying again", "err", err)
	}
	if err := s.store.Shorten(s.fsm.Applied()); err != nil {
		s.logger.Warn("cannot shorten the log, trying again", "err", err)
	}
	return true
}

// snapshotDue tells whether a snapshot is worth while, or due anyway, and fits.
func (s *shortDisk) snapshotDue(due bool) bool {
	after := s.store.SnapshotIndex()
	grown, size := s.store.BytesSinceSnapshot(), s.store.SnapshotSize()
	freed := s.paused && s.space.Shortage() != "" && time.Now().After(s.next) // only deletes come now
	if !due && !freed && grown < max(shortLeast, size/shortWorth) {
		return false
	}
	s.space.Look()
	free, _ := s.space.Room(0)
	free -= min(free, shortLeast) // which goes on being appended to the log
	if s.known.most(grown, after, size) <= free {
		return true
	}
	if time.Now().Before(s.measure) {
		return false
	}
	began := time.Now()
	exact, err := snapshotSize(s.fsm)
	took := time.Since(began)
	s.tried(took)
	switch {
	case err != nil:
		return false // the state machine has halted
	case exact <= free:
		return true
	case exact <= free+s.space.Reserve.Size:
		s.space.GiveUpReserve()
		return true
	}
	s.known = measured{exact, grown, after}
	s.measure = time.Now().Add(max(measureRest*took, measureRestLeast))
	if time.Now().After(s.quiet) {
		s.quiet = time.Now().Add(time.Minute)
		s.logger.Error("there is no room for a snapshot, without which the log cannot be shortened: "+
			"make room on the file system, or delete groups", "dir", s.space.Dir, "snapshot", exact, "free", free)
	}
	return false
}

// tried notes how long a snapshot took.
func (s *shortDisk) tried(took time.Duration) { s.next = time.Now().Add(shortRest * took) }

// snapshotSize is how many bytes a snapshot of the state would take now.
func snapshotSize(f *fsm.FSM) (uint64, error) {
	snapshot, err := f.Snapshot()
	if err != nil {
		return 0, err
	}
	defer snapshot.Release()
	var size countingSink
	err = snapshot.Persist(&size)
	return size.bytes, err
}

// countingSink is a snapshot that goes nowhere.
type countingSink struct{ bytes uint64 }

var _ raft.SnapshotSink = (*countingSink)(nil)

// Write implements io.Writer.
func (s *countingSink) Write(p []byte) (int, error) {
	s.bytes += uint64(len(p))
	return io.Discard.Write(p)
}

// Close implements io.Closer, like the others raft.SnapshotSink.
func (*countingSink) Close() error { return nil }

// ID implements raft.SnapshotSink.
func (*countingSink) ID() string { return "that is measured" }

// Cancel implements raft.SnapshotSink.
func (*countingSink) Cancel() error { return nil }
