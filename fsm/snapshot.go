package fsm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"pushquorum/expo"
)

// A snapshot is snapshotMagic followed by frames: the length of a Record (uvarint), its CRC-32C (4 bytes, big endian)
// and the Record. The header record comes first; the trailer comes last and holds the number of records and a hash,
// that of the state and of the reasons in it, so that a snapshot that was cut short, damaged or misread is never
// taken for the state.
const snapshotMagic = "PushQuorum snapshot 1\n"

// Snapshot takes a view of the state, which Persist then writes while commands go on being applied. After a halt there
// is none: Raft would give it the index of an entry that is not in the state, and that entry would never be applied
// here.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("the state machine has stopped: %w", err)
	}
	return &snapshot{view: f.viewLocked(), requests: f.store.requests.frozen()}, nil
}

// A snapshot is the whole state at one index.
type snapshot struct {
	view     *View
	requests *requests
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(fmt.Errorf("writing snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

// write writes the state, once. It lets go of each group that is written: what pushes replace meanwhile would otherwise
// stay in memory to the end, and that may be as much again.
func (s *snapshot) write(w io.Writer) error {
	view := *s.view
	groups := view.byKey()
	s.view, view.groups = nil, nil
	out := &recordWriter{w: bufio.NewWriterSize(w, 1<<16)}
	out.buf = append(out.buf, snapshotMagic...)
	head := snapshotHeader{applied: view.index, written: view.written, forgotten: s.requests.forgotten}
	out.write(head.append(out.record[:0]))
	sum := view.sum
	for r := range s.requests.all() {
		out.write(appendRequest(out.record[:0], recordRequest, &r))
		sum.add(r.reasonDigest())
	}
	for i, g := range groups {
		out.write(appendGroup(out.record[:0], recordGroup, g))
		groups[i] = nil
	}
	// After the groups, because which HELP won is not to be seen in them.
	view.headers.Scan(func(h header) bool {
		out.write(appendFamilyHeader(out.record[:0], &h.Header))
		return out.err == nil
	})
	out.write(snapshotTrailer{out.records, sum.bytes()}.append(out.record[:0]))
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

// Restore replaces the whole state by a snapshot, at once: readers see the old state or the new one. On an error the
// old state stays.
func (f *FSM) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	s, applied, err := readSnapshot(rc)
	if err != nil {
		return fmt.Errorf("reading a snapshot: %w", err)
	}
	f.mu.Lock()
	s.usage.tally.replaced = f.store.usage.tally.replaced + f.store.usage.Bytes
	f.store, f.applied, f.view = s, applied, nil
	f.publish()
	f.mu.Unlock()
	f.progress.advance(applied)
	return nil
}

// readSnapshot returns the state in a snapshot and the index of the last entry in it.
func readSnapshot(r io.Reader) (*store, uint64, error) {
	s := newStore()
	applied, err := readInto(r, s, s)
	if err != nil {
		return nil, 0, err
	}
	return s, applied, nil
}

// snapshotTarget takes in what a snapshot holds.
type snapshotTarget interface {
	restoreGroup(g *Group) error
	restoreHeader(won expo.Header) error
	// digest is the state hash of all of it.
	digest() digest
}

// readInto reads a snapshot and gives the index of the last entry in it. The store gets what is not of groups.
func readInto(r io.Reader, s *store, to snapshotTarget) (applied uint64, err error) {
	in := &recordReader{r: bufio.NewReaderSize(r, 1<<16)}
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in.r, magic); err != nil || string(magic) != snapshotMagic {
		return 0, fmt.Errorf("it does not begin with %q: it is damaged or from another version", snapshotMagic)
	}
	first, err := in.next()
	if err != nil {
		return 0, err
	}
	kind, body, err := decodeRecord(first)
	if err != nil || kind != recordHeader {
		return 0, errors.Join(errors.New("it has no header"), err)
	}
	head, err := decodeSnapshotHeader(body)
	if err != nil {
		return 0, fmt.Errorf("its header %w", err)
	}
	s.written, s.requests.forgotten = head.written, head.forgotten
	for {
		encoded, err := in.next()
		if err != nil {
			return 0, err
		}
		done, err := in.restore(encoded, s, to)
		if err != nil {
			return 0, fmt.Errorf("record %d: %w", in.records-1, err)
		}
		if done {
			return head.applied, nil
		}
	}
}

// restore takes in the record that was read last; the trailer is the last one.
func (in *recordReader) restore(encoded []byte, s *store, to snapshotTarget) (done bool, err error) {
	kind, body, err := decodeRecord(encoded)
	if err != nil {
		return false, err
	}
	switch kind {
	case recordGroup:
		g, err := decodeGroup(body, &in.intern)
		if err != nil {
			return false, err
		}
		return false, to.restoreGroup(g.withTimes(nil))
	case recordRequest:
		reason, err := s.restoreRequest(body)
		in.reasons.add(reason)
		return false, err
	case recordFamily:
		won, err := decodeFamilyHeader(body)
		if err != nil {
			return false, err
		}
		return false, to.restoreHeader(won)
	case recordTrailer:
		t, err := decodeSnapshotTrailer(body)
		if err != nil {
			return false, err
		}
		return true, in.verify(t, to)
	default:
		return false, errors.New("it is of a kind that this program does not know: upgrade it")
	}
}

// verify compares what was read with what the trailer says of it.
func (in *recordReader) verify(t snapshotTrailer, to snapshotTarget) error {
	if before := in.records - 1; t.records != before {
		return fmt.Errorf("the snapshot holds %d records of %d", before, t.records)
	}
	got := to.digest()
	if got.add(in.reasons); !bytes.Equal(got.bytes(), t.hash) {
		return fmt.Errorf("the hash of what it holds is %s, not the %x that the snapshot says", got, t.hash)
	}
	return nil
}

func (s *store) restoreRequest(encoded []byte) (reason digest, err error) {
	if len(s.requests.ring) >= rememberedRequests {
		return digest{}, fmt.Errorf("more than %d requests are remembered", rememberedRequests)
	}
	r, err := decodeRequest(encoded)
	if err != nil {
		return digest{}, err
	}
	s.requests.remember(r)
	return r.reasonDigest(), nil
}

func (s *store) restoreGroup(g *Group) error {
	if s.group(g.Key) != nil {
		return fmt.Errorf("group %.200s stands there twice", g.Labels())
	}
	s.putGroup(nil, g)
	return nil
}

func (s *store) restoreHeader(won expo.Header) error {
	h, found := s.header(won.Name)
	if !found {
		return fmt.Errorf("no group holds family %.200q", won.Name)
	}
	if won.Type = h.Type; won == h.Header {
		return nil // mostly, and what the groups say is not kept a second time
	}
	before := h
	s.sum.remove(h.digest())
	h.Header, h.helpOf, h.unitOf = won, &won, &won
	s.headers.Set(h)
	s.usage.headed(&before, &h)
	s.sum.add(h.digest())
	return nil
}
