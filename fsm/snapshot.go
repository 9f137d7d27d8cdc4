package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/fsm/fsmpb"
)

// A snapshot is snapshotMagic followed by frames: the length of a Record (uvarint), its CRC-32C (4 bytes, big endian) and the
// Record. The header record comes first; the trailer comes last and holds the number of records and a hash, that of the
// state and of the words of refusals, so that a snapshot that was cut short, damaged or misread is never taken for the state.
const snapshotMagic = "PushQuorum snapshot 1\n"

// Where the two kinds of which there are many stand in a Record.
const (
	recordGroup   protowire.Number = 2
	recordRequest protowire.Number = 4
)

// maxRecord bounds what the length of one frame can make a reader allocate. Bytes.
const maxRecord = 1 << 30

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

// write writes the state, once. It lets go of each group that is written: what pushes replace meanwhile would otherwise stay in
// memory to the end, and that may be as much again.
func (s *snapshot) write(w io.Writer) error {
	view := *s.view
	groups := view.byKey()
	s.view, view.groups = nil, nil
	out := &recordWriter{w: bufio.NewWriterSize(w, 1<<16)}
	out.buf = append(out.buf, snapshotMagic...)
	out.put(&fsmpb.Record{Kind: &fsmpb.Record_Header{Header: &fsmpb.SnapshotHeader{
		Applied: view.index, Written: view.written, Forgotten: s.requests.forgotten,
	}}})
	sum := view.sum
	for r := range s.requests.all() {
		out.write(appendRequest(out.record[:0], recordRequest, &r))
		sum.add(r.words())
	}
	for i, g := range groups {
		out.write(appendGroup(out.record[:0], recordGroup, g))
		groups[i] = nil
	}
	// After the groups, because which HELP won is not to be seen in them.
	view.headers.Scan(func(h header) bool {
		out.put(&fsmpb.Record{Kind: &fsmpb.Record_Family{Family: &fsmpb.FamilyHeader{Name: h.Name, Help: h.Help, Unit: h.Unit}}})
		return out.err == nil
	})
	out.put(&fsmpb.Record{Kind: &fsmpb.Record_Trailer{Trailer: &fsmpb.SnapshotTrailer{Records: out.records, Hash: sum.bytes()}}})
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

// recordWriter writes frames and keeps the first error.
type recordWriter struct {
	w       *bufio.Writer
	buf     []byte // what precedes the next record
	record  []byte // the last one, whose memory the next one takes
	records uint64
	err     error
}

// put writes a record of any kind.
func (o *recordWriter) put(r *fsmpb.Record) {
	record, err := proto.MarshalOptions{}.MarshalAppend(o.record[:0], r)
	if err != nil { // the only error here is a string that is not UTF-8, and what is stored has been validated
		panic(fmt.Sprintf("fsm: encoding %T: %v", r, err))
	}
	o.write(record)
}

func (o *recordWriter) write(record []byte) {
	o.record = record
	if len(record) > maxRecord && o.err == nil {
		o.err = fmt.Errorf("record %d has %d bytes, and at most %d can be read: delete a group of that size", o.records, len(record), maxRecord)
	}
	if o.err != nil {
		return
	}
	o.buf = binary.AppendUvarint(o.buf, uint64(len(record)))
	o.buf = binary.BigEndian.AppendUint32(o.buf, crc32.Checksum(record, castagnoli))
	if _, o.err = o.w.Write(o.buf); o.err == nil {
		_, o.err = o.w.Write(record)
	}
	o.buf = o.buf[:0]
	o.records++
}

// Restore replaces the whole state by a snapshot, at once: readers see the old state or the new one. On an error the old state
// stays.
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
	restoreHeader(m *fsmpb.FamilyHeader) error
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
	record, err := decodeRecord(first)
	if err != nil || record.GetHeader() == nil {
		return 0, errors.Join(errors.New("it has no header"), err)
	}
	head := record.GetHeader()
	s.written, s.requests.forgotten = head.GetWritten(), head.GetForgotten()
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
			return head.GetApplied(), nil
		}
	}
}

// restore takes in the record that was read last; the trailer is the last one.
func (in *recordReader) restore(encoded []byte, s *store, to snapshotTarget) (done bool, err error) {
	if number, kind, n := protowire.ConsumeField(encoded); kind == protowire.BytesType && n == len(encoded) {
		body, _ := protowire.ConsumeBytes(encoded[tagSize:])
		switch number {
		case recordGroup:
			g, err := decodeGroup(body, &in.intern)
			if err != nil {
				return false, err
			}
			return false, to.restoreGroup(g.withTimes(nil))
		case recordRequest:
			words, err := s.restoreRequest(body)
			in.words.add(words)
			return false, err
		}
	}
	r, err := decodeRecord(encoded)
	if err != nil {
		return false, err
	}
	switch kind := r.GetKind().(type) {
	case *fsmpb.Record_Family:
		return false, to.restoreHeader(kind.Family)
	case *fsmpb.Record_Trailer:
		if before := in.records - 1; kind.Trailer.GetRecords() != before {
			return false, fmt.Errorf("the snapshot holds %d records of %d", before, kind.Trailer.GetRecords())
		}
		got := to.digest()
		if got.add(in.words); !bytes.Equal(got.bytes(), kind.Trailer.GetHash()) {
			return false, fmt.Errorf("the hash of what it holds is %s, not the %x that the snapshot says", got, kind.Trailer.GetHash())
		}
		return true, nil
	default:
		return false, errors.New("it is of a kind that this program does not know: upgrade it")
	}
}

func decodeRecord(b []byte) (*fsmpb.Record, error) {
	r := new(fsmpb.Record)
	return r, proto.Unmarshal(b, r)
}

func (s *store) restoreRequest(encoded []byte) (words digest, err error) {
	if len(s.requests.ring) >= rememberedRequests {
		return digest{}, fmt.Errorf("more than %d requests are remembered", rememberedRequests)
	}
	r, err := decodeRequest(encoded)
	if err != nil {
		return digest{}, err
	}
	s.requests.remember(r)
	return r.words(), nil
}

func (s *store) restoreGroup(g *Group) error {
	if s.group(g.Key) != nil {
		return fmt.Errorf("group %.200s stands there twice", g.Labels())
	}
	s.putGroup(nil, g)
	return nil
}

func (s *store) restoreHeader(m *fsmpb.FamilyHeader) error {
	h, found := s.header(m.GetName())
	if !found {
		return fmt.Errorf("no group holds family %.200q", m.GetName())
	}
	won := expo.Header{Name: h.Name, Help: m.GetHelp(), Unit: m.GetUnit(), Type: h.Type}
	if won == h.Header {
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

// recordReader reads frames.
type recordReader struct {
	r       *bufio.Reader
	record  bytes.Buffer
	records uint64
	words   digest // of the requests so far
	intern  interner
}

// next returns the next record, until the next call.
func (in *recordReader) next() ([]byte, error) {
	size, err := binary.ReadUvarint(in.r)
	if err != nil {
		return nil, fmt.Errorf("after %d records: %w", in.records, noEOF(err))
	}
	if size > maxRecord {
		return nil, fmt.Errorf("record %d: a length of %d bytes: it is damaged", in.records, size)
	}
	var sum [4]byte
	if _, err := io.ReadFull(in.r, sum[:]); err != nil {
		return nil, fmt.Errorf("record %d: %w", in.records, noEOF(err))
	}
	// Grown as it comes, so that a false length cannot allocate much more than there is.
	in.record.Reset()
	if _, err := io.CopyN(&in.record, in.r, int64(size)); err != nil {
		return nil, fmt.Errorf("record %d: %w", in.records, noEOF(err))
	}
	if crc32.Checksum(in.record.Bytes(), castagnoli) != binary.BigEndian.Uint32(sum[:]) {
		return nil, fmt.Errorf("record %d: %w", in.records, errChecksum)
	}
	in.records++
	return in.record.Bytes(), nil
}

// noEOF makes the end of the file what it is here: too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
