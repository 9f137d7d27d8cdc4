package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"pushquorum/expo"
)

// The kinds of a Record, which are its fields.
const (
	recordHeader  protowire.Number = 1
	recordGroup   protowire.Number = 2
	recordFamily  protowire.Number = 3
	recordRequest protowire.Number = 4
	recordTrailer protowire.Number = 5
)

// The fields of the messages in a Record, but for those of a Group.
const (
	fieldApplied        protowire.Number = 1 // SnapshotHeader
	fieldWritten        protowire.Number = 2
	fieldForgottenIndex protowire.Number = 3

	fieldRequestIndex       protowire.Number = 2 // Request, beside fieldID
	fieldRequestFingerprint protowire.Number = 3
	fieldRequestStatus      protowire.Number = 4
	fieldRequestReason      protowire.Number = 5

	fieldRecords protowire.Number = 1 // SnapshotTrailer
	fieldHash    protowire.Number = 2

	// A FamilyHeader has fieldName, fieldHelp and fieldUnit of a Family.
)

// maxRecord bounds what the length of one frame can make a reader allocate. Bytes.
const maxRecord = 1 << 30

// recordWriter writes frames and keeps the first error.
type recordWriter struct {
	w       *bufio.Writer
	buf     []byte // what precedes the next record
	record  []byte // the last one, whose memory the next one takes
	records uint64
	err     error
}

// write writes the next record.
func (o *recordWriter) write(record []byte) {
	o.record = record
	if len(record) > maxRecord && o.err == nil {
		o.err = fmt.Errorf("record %d has %d bytes, and at most %d can be read: delete a group of that size",
			o.records, len(record), maxRecord)
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

// recordReader reads frames.
type recordReader struct {
	r       *bufio.Reader
	record  bytes.Buffer
	records uint64
	reasons digest // see request.reasonDigest, of the requests so far
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

// isA tells whether the field is the known one of that number, whose value has that wire type. One of another type is
// unknown, as it is to the generated code, and is ignored.
func (f field) isA(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// decodeRecord returns the kind of a record, 0 for none that this program knows, and what stands in it. It refuses a
// record of two, which no build writes.
func decodeRecord(b []byte) (kind protowire.Number, body []byte, err error) {
	err = eachField(b, func(f field) error {
		if f.number < recordHeader || recordTrailer < f.number || f.kind != protowire.BytesType {
			return nil
		}
		if kind != 0 {
			return fmt.Errorf("it is of kind %d and of kind %d", kind, f.number)
		}
		kind, body = f.number, f.bytes
		return nil
	})
	return kind, body, err
}

// snapshotHeader is what a snapshot begins with.
type snapshotHeader struct {
	applied   uint64 // index of the last entry in it
	written   bool   // see store.written
	forgotten uint64 // see requests.forgotten
}

func (h snapshotHeader) append(b []byte) []byte {
	var body []byte
	body = appendVarint(body, fieldApplied, h.applied)
	if h.written {
		body = appendVarint(body, fieldWritten, 1)
	}
	body = appendVarint(body, fieldForgottenIndex, h.forgotten)
	return append(appendLength(b, recordHeader, len(body)), body...)
}

func decodeSnapshotHeader(b []byte) (h snapshotHeader, err error) {
	err = eachField(b, func(f field) error {
		switch {
		case f.isA(fieldApplied, protowire.VarintType):
			h.applied = f.bits
		case f.isA(fieldWritten, protowire.VarintType):
			h.written = f.bits != 0
		case f.isA(fieldForgottenIndex, protowire.VarintType):
			h.forgotten = f.bits
		}
		return nil
	})
	return h, err
}

// appendFamilyHeader appends the FamilyHeader of a name. The type is not in it, because the groups say it.
func appendFamilyHeader(b []byte, h *expo.Header) []byte {
	b = appendLength(b, recordFamily, sizeBytes(len(h.Name))+sizeBytes(len(h.Help))+sizeBytes(len(h.Unit)))
	b = appendText(b, fieldName, h.Name)
	b = appendText(b, fieldHelp, h.Help)
	return appendText(b, fieldUnit, h.Unit)
}

// decodeFamilyHeader reads a FamilyHeader into a header without a type.
func decodeFamilyHeader(b []byte) (h expo.Header, err error) {
	err = eachField(b, func(f field) (err error) {
		switch {
		case f.isA(fieldName, protowire.BytesType):
			h.Name, err = f.text()
		case f.isA(fieldHelp, protowire.BytesType):
			h.Help, err = f.text()
		case f.isA(fieldUnit, protowire.BytesType):
			h.Unit, err = f.text()
		}
		return err
	})
	return h, err
}

// snapshotTrailer is what a snapshot ends with.
type snapshotTrailer struct {
	records uint64 // before it
	hash    []byte // of the state, and of the reasons in it
}

func (t snapshotTrailer) append(b []byte) []byte {
	body := appendVarint(nil, fieldRecords, t.records)
	if len(t.hash) > 0 {
		body = protowire.AppendBytes(protowire.AppendTag(body, fieldHash, protowire.BytesType), t.hash)
	}
	return append(appendLength(b, recordTrailer, len(body)), body...)
}

func decodeSnapshotTrailer(b []byte) (t snapshotTrailer, err error) {
	err = eachField(b, func(f field) error {
		switch {
		case f.isA(fieldRecords, protowire.VarintType):
			t.records = f.bits
		case f.isA(fieldHash, protowire.BytesType):
			t.hash = f.bytes
		}
		return nil
	})
	return t, err
}

// appendRequest appends a Request, of a snapshot.
func appendRequest(b []byte, number protowire.Number, r *request) []byte {
	size := tagSize + protowire.SizeBytes(idSize) + sizeBytes(len(r.result.Reason))
	if r.index != 0 {
		size += tagSize + protowire.SizeVarint(r.index)
	}
	if r.fingerprint != 0 {
		size += tagSize + fixedSize
	}
	if r.result.Status != 0 {
		size += tagSize + protowire.SizeVarint(uint64(r.result.Status))
	}
	b = appendLength(b, number, size)
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldID, protowire.BytesType), r.id[:])
	b = appendVarint(b, fieldRequestIndex, r.index)
	b = appendFixed(b, fieldRequestFingerprint, r.fingerprint)
	b = appendVarint(b, fieldRequestStatus, uint64(r.result.Status))
	return appendText(b, fieldRequestReason, r.result.Reason)
}

func decodeRequest(b []byte) (r request, err error) {
	var id []byte
	err = eachField(b, func(f field) (err error) {
		switch {
		case f.isA(fieldID, protowire.BytesType):
			id = f.bytes
		case f.isA(fieldRequestIndex, protowire.VarintType):
			r.index = f.bits
		case f.isA(fieldRequestFingerprint, protowire.Fixed64Type):
			r.fingerprint = f.bits
		case f.isA(fieldRequestStatus, protowire.VarintType):
			r.result.Status = Status(f.bits)
		case f.isA(fieldRequestReason, protowire.BytesType):
			r.result.Reason, err = f.text()
		}
		return err
	})
	if err == nil && len(id) != idSize {
		err = fmt.Errorf("a request has an id of %d bytes", len(id))
	}
	if err != nil {
		return r, err
	}
	r.id = RequestID(id)
	return r, nil
}
