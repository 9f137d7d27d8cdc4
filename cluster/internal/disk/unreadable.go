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
	keep tail // what can be kept of the log, which lies between the following
	// InSnapshot is what cannot be read and is not needed, because the snapshot holds it; Lost is an end that nothing
	// else holds. Both are nil where there is none.
	InSnapshot, Lost *Unreadable

	snapshot *snapshotInfo // nil without one
	// Configuration is the latest that can be read, and Left is that of what can be kept.
	Configuration, Left raft.Configuration
	end                 raft.Log // the last entry that can be kept, without its data
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
	if found.snapshot, err = verifySnapshots(dir); err != nil {
		return found, err
	}
	if found.snapshot != nil {
		found.Configuration = found.snapshot.Configuration
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
func (i *Inspection) read(log *entriesOnDisk, record tail) {
	from, to, covered := log.first, max(log.last, record.Last), uint64(0)
	if from == 0 || (record.First != 0 && record.First < from) {
		from = record.First
	}
	if i.snapshot != nil {
		covered = i.snapshot.Index
	}
	for index := from; index != 0 && index <= to; index++ {
		var l raft.Log
		own, err := log.entry(index, &l, i.keep, i.end.Term)
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
			if i.keep.Last == 0 {
				i.keep.First = index
			}
			i.keep.Last, i.keep.Chain = index, own
			i.end = raft.Log{Index: index, Term: l.Term, AppendedAt: l.AppendedAt}
			i.Left = i.Configuration
			continue
		case index <= covered:
			i.note(&i.InSnapshot, log, index, wrong)
			i.keep, i.end = tail{}, raft.Log{}
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
func (e *entriesOnDisk) entry(index uint64, l *raft.Log, before tail, term uint64) (own uint32, err error) {
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

// Last is the last entry that is kept, in the log or in the snapshot, all zero without one. written is when the leader
// appended it, zero where only the snapshot holds it.
func (i *Inspection) Last() (index, term uint64, written time.Time) {
	if s := i.snapshot; s != nil && s.Index > i.end.Index {
		return s.Index, s.Term, time.Time{}
	}
	return i.end.Index, i.end.Term, i.end.AppendedAt
}

// Cut makes the log what can be kept of it. As with every deletion the record is lowered first: should this stop half
// way the log still holds what the record speaks of, and can be cut again.
func (i *Inspection) Cut(dir string, where LogOptions, logger hclog.Logger) error {
	if err := i.cut(dir, where, logger); err != nil {
		return fmt.Errorf("cutting the log in %s before entry %d: %w; run this again", dir, i.keep.Last+1, err)
	}
	return nil
}

func (i *Inspection) cut(dir string, where LogOptions, logger hclog.Logger) (err error) {
	record, err := openTailFile(filepath.Join(dir, TailFileName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	if err := record.save(i.keep, true); err != nil {
		return err
	}
	var log entryStore
	if where.Store == LogWAL {
		if err := wal.Cut(dir, i.keep.First, i.keep.Last); err != nil {
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
		bolt, oerr := openBoltStore(filepath.Join(dir, RaftFile))
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
	if i.keep.Last == 0 {
		return log.DeleteRange(first, last)
	}
	if last > i.keep.Last {
		if err := log.DeleteRange(i.keep.Last+1, last); err != nil {
			return err
		}
	}
	if first < i.keep.First {
		return log.DeleteRange(first, i.keep.First-1)
	}
	return nil
}
