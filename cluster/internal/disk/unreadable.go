package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/server"
)

// Unreadable is a part of a log that begins with an entry which cannot be read, by the log or by the state machine.
type Unreadable struct {
	Index uint64 // of that entry
	Why   error  // names the file
	// Last is the last entry of the part. What is between the two goes, too, whether it can be read or not.
	Last uint64
	// Bytes is how much data those have that can be read, and From and To are when the first and the last of them were
	// written, zero when it is not known.
	Bytes    uint64
	From, To time.Time
}

// Entries is how many there are.
func (u *Unreadable) Entries() uint64 { return u.Last - u.Index + 1 }

func (u *Unreadable) add(l *raft.Log) {
	u.Bytes += uint64(len(l.Data))
	if u.From.IsZero() {
		u.From = l.AppendedAt
	}
	u.To = l.AppendedAt
}

// Inspection is what every entry of a log looks like on its own. A start stops at the first that is wrong.
type Inspection struct {
	Keep Tail // what can be kept of the log, which lies between the following
	// InSnapshot is what cannot be read and is not needed, because the snapshot holds it; lost is an end that nothing
	// else holds.
	InSnapshot, Lost *Unreadable

	Snapshot *snapshotInfo // nil without one
	// Configuration is the latest that can be read, and left is that of what can be kept.
	Configuration, Left raft.Configuration
	End                 raft.Log // the last entry that can be kept, without its data
}

// Inspect reads the log of a directory entry by entry, and changes nothing. Where the files that are not the log are
// damaged, it is an error.
func Inspect(dir string, where LogOptions, readable func(data []byte) error) (found Inspection, err error) {
	path := filepath.Join(dir, RaftFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return found, nil // nothing has been written yet
	}
	content, err := verifyRaftFile(dir, where.Store)
	if err != nil {
		return found, err
	}
	if !content.hasStable {
		return found, nil // which a start will say
	}
	if found.Snapshot, err = verifySnapshots(dir); err != nil {
		return found, err
	}
	if found.Snapshot != nil {
		found.Configuration = found.Snapshot.Configuration
		found.Left = found.Configuration
	}
	log := &entriesOnDisk{fileOf: func(uint64) string { return path }, readable: readable}
	if where.Store == LogWAL {
		segments, oerr := wal.OpenReader(dir)
		if oerr != nil {
			return found, oerr
		}
		defer func() { err = errors.Join(err, segments.Close()) }()
		log.fileOf, log.get = segments.FileOf, segments.GetLog
		log.first, log.last = segments.Ends()
	} else {
		options := boltOptions(path)
		options.BoltOptions.ReadOnly = true
		bolt, oerr := raftboltdb.New(options)
		if oerr != nil {
			return found, fmt.Errorf("opening %s: %w", path, oerr)
		}
		defer func() { err = errors.Join(err, bolt.Close()) }()
		log.get, log.first, log.last = bolt.GetLog, content.first, content.last
	}
	found.read(log, content.record)
	return found, nil
}

// entriesOnDisk is a log that need not be whole.
type entriesOnDisk struct {
	fileOf      func(index uint64) string
	get         func(index uint64, l *raft.Log) error
	readable    func(data []byte) error // by the state machine
	first, last uint64                  // 0 = none
}

// read judges entry after entry, from the first to the last that is there or that the record speaks of.
func (i *Inspection) read(log *entriesOnDisk, record Tail) {
	from, to, covered := log.first, max(log.last, record.Last), uint64(0)
	if from == 0 || (record.First != 0 && record.First < from) {
		from = record.First
	}
	if i.Snapshot != nil {
		covered = i.Snapshot.Index
	}
	for index := from; index != 0 && index <= to; index++ {
		var l raft.Log
		own, err := log.entry(index, &l, i.Keep, i.End.Term)
		if err == nil && l.Type == raft.LogConfiguration && index > covered && !server.IsConfiguration(l.Data) {
			err = errors.New("is no configuration")
		}
		if err == nil && l.Type == raft.LogConfiguration && index > covered {
			i.Configuration = raft.DecodeConfiguration(l.Data)
		}
		wrong := err
		switch {
		case wrong == nil && index == record.Last && own != record.Chain:
			wrong = errors.New("is not the one the log ended with")
		case wrong == nil && index > covered && l.Type == raft.LogCommand:
			if err := log.readable(l.Data); err != nil {
				wrong = fmt.Errorf("cannot be applied by this program: %w", err)
			}
		}
		switch {
		case i.Lost != nil:
		case wrong == nil:
			if i.Keep.Last == 0 {
				i.Keep.First = index
			}
			i.Keep.Last, i.Keep.Chain = index, own
			i.End = raft.Log{Index: index, Term: l.Term, AppendedAt: l.AppendedAt}
			i.Left = i.Configuration
			continue
		case index <= covered:
			i.note(&i.InSnapshot, log, index, wrong)
			i.Keep, i.End = Tail{}, raft.Log{}
			continue
		}
		i.note(&i.Lost, log, index, wrong)
		if err == nil {
			i.Lost.add(&l)
		}
	}
}

// note adds an entry to a part, or begins it.
func (i *Inspection) note(part **Unreadable, log *entriesOnDisk, index uint64, why error) {
	if *part == nil {
		*part = &Unreadable{Index: index, Why: fmt.Errorf("%s: entry %d %w", log.fileOf(index), index, why)}
	}
	(*part).Last = index
}

// entry reads an entry and gives its checksum; before is what ends with the entry before it, if that is known.
func (e *entriesOnDisk) entry(index uint64, l *raft.Log, before Tail, term uint64) (own uint32, err error) {
	err = e.get(index, l)
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return 0, errors.New("is missing")
	case err != nil:
		return 0, fmt.Errorf("cannot be read: %w", err)
	}
	prev, own, err := unlink(index, l)
	switch {
	case err != nil:
		return 0, fmt.Errorf("is damaged: %w", err)
	case before.Last != 0 && before.Last == index-1 && prev != before.Chain:
		return 0, fmt.Errorf("does not follow entry %d", index-1)
	case l.Term < term:
		return 0, fmt.Errorf("is of term %d, an earlier one of %d", l.Term, term)
	}
	return own, nil
}

// Whole tells that every entry can be read.
func (i *Inspection) Whole() bool { return i.Lost == nil && i.InSnapshot == nil }

// Cut makes the log what can be kept of it. As with every deletion the record is lowered first: should this stop half
// way the log still holds what the record speaks of, and can be cut again.
func (i *Inspection) Cut(dir string, where LogOptions, logger hclog.Logger) (err error) {
	record, err := OpenTailFile(filepath.Join(dir, TailFileName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	if err := record.Save(i.Keep, true); err != nil {
		return err
	}
	var log EntryStore
	if where.Store == LogWAL {
		if err := wal.Cut(dir, i.Keep.First, i.Keep.Last); err != nil {
			return err
		}
		eraser := newEraser(logger)
		defer eraser.Close()
		w, oerr := wal.Open(dir, where.SegmentSize, wal.NewErasingFS(eraser.erase), logger)
		if oerr != nil {
			return oerr
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		log = w
	} else {
		bolt, oerr := OpenBoltStore(filepath.Join(dir, RaftFile))
		if oerr != nil {
			return oerr
		}
		defer func() { err = errors.Join(err, bolt.Close()) }()
		log = bolt
	}
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	if i.Keep.Last == 0 {
		return log.DeleteRange(first, last)
	}
	if last > i.Keep.Last {
		if err := log.DeleteRange(i.Keep.Last+1, last); err != nil {
			return err
		}
	}
	if first < i.Keep.First {
		return log.DeleteRange(first, i.Keep.First-1)
	}
	return nil
}
