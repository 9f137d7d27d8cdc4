package fsm

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/fsm/fsmpb"
)

// A RequestID names one request of a client. Every retry of it inside the cluster carries the same id, so that it is
// applied at most once.
type RequestID [16]byte

// NewRequestID returns a random id.
func NewRequestID() RequestID {
	var id RequestID
	rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// RequestIDFromKey returns the id that a client chose with an Idempotency-Key header.
func RequestIDFromKey(key string) RequestID {
	sum := sha256.Sum256([]byte("Idempotency-Key\xff" + key))
	return RequestID(sum[:16])
}

// A Request identifies what a client asked for.
type Request struct {
	ID RequestID
	// Seen is the applied index of the replica that received the request, taken when it came in. An earlier arrival of the
	// same request can only stand after it in the log, so a table of remembered requests that reaches back to Seen is
	// proof that there was none.
	Seen uint64
}

// EncodePush returns the command that sets families, in the form of expo.Canonical, in a group. With replace the group's
// other families go (PUT), without they stay (POST).
func EncodePush(r Request, group expo.Labels, replace bool, families []*expo.Family) []byte {
	p := &fsmpb.Push{Group: labelsToProto(group), Replace: replace, Families: make([]*fsmpb.Family, len(families))}
	for i, f := range families {
		p.Families[i] = familyToProto(f, 0)
	}
	return encode(r, &fsmpb.Command{Op: &fsmpb.Command_Push{Push: p}})
}

// EncodeReject returns the command that records a failed push to a group and changes nothing else.
func EncodeReject(r Request, group expo.Labels) []byte {
	return encode(r, &fsmpb.Command{Op: &fsmpb.Command_Reject{Reject: &fsmpb.Reject{Group: labelsToProto(group)}}})
}

// EncodeDelete returns the command that deletes a group.
func EncodeDelete(r Request, group expo.Labels) []byte {
	return encode(r, &fsmpb.Command{Op: &fsmpb.Command_Delete{Delete: &fsmpb.Delete{Group: labelsToProto(group)}}})
}

// EncodeWipe returns the command that deletes every group.
func EncodeWipe(r Request) []byte {
	return encode(r, &fsmpb.Command{Op: &fsmpb.Command_Wipe{Wipe: &fsmpb.Wipe{}}})
}

// EncodeImport returns the command that loads groups, with their times, into a store that has never been written. Into any
// other store it is rejected.
func EncodeImport(r Request, groups []*Group) []byte {
	m := &fsmpb.Import{Groups: make([]*fsmpb.Group, len(groups))}
	for i, g := range groups {
		m.Groups[i] = groupToProto(g)
	}
	return encode(r, &fsmpb.Command{Op: &fsmpb.Command_Import{Import: m}})
}

// EncodeNoop returns the command that a new leader proposes to learn that it has committed in its term. It changes nothing
// and is not remembered.
func EncodeNoop() []byte {
	return marshal(&fsmpb.Command{Op: &fsmpb.Command_Noop{Noop: &fsmpb.Noop{}}})
}

func encode(r Request, c *fsmpb.Command) []byte {
	c.Id, c.Seen, c.Fingerprint = r.ID[:], r.Seen, fingerprint(c)
	return marshal(c)
}

// marshal cannot fail: the only error protobuf knows here is a string that is not UTF-8, and labels and families are
// validated by expo before they come here.
func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("fsm: encoding %T: %v", m, err))
	}
	return b
}

// fingerprint hashes what a command does, whoever received it and whenever. It is made of contents, not of their encoding,
// so that two versions agree on it.
func fingerprint(c *fsmpb.Command) uint64 {
	h := newHasher("command")
	switch op := c.GetOp().(type) {
	case *fsmpb.Command_Push:
		h.strings("push", strconv.FormatBool(op.Push.GetReplace()))
		h.labels(op.Push.GetGroup())
		for _, f := range op.Push.GetFamilies() {
			h.strings(f.GetName(), f.GetHelp(), f.GetUnit(), dto.MetricType(f.GetType()).String())
			h.bytes(f.GetMetrics())
		}
	case *fsmpb.Command_Reject:
		h.strings("reject")
		h.labels(op.Reject.GetGroup())
	case *fsmpb.Command_Delete:
		h.strings("delete")
		h.labels(op.Delete.GetGroup())
	case *fsmpb.Command_Wipe:
		h.strings("wipe")
	case *fsmpb.Command_Import:
		h.strings("import")
	}
	return h.digest()[0]
}

// entryVersion is the first byte of every log entry.
const entryVersion = 1

// entryPrefix is the length of what stands before the protobuf of an entry: version and checksum.
const entryPrefix = 1 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal makes a log entry of a command: it adds the time at which the leader took it, which is the command's time on every
// replica, and a checksum, because the log's storage has none. Only the leader seals.
func Seal(command []byte, now time.Time) []byte {
	b := make([]byte, entryPrefix, entryPrefix+len(command)+20)
	b[0] = entryVersion
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &fsmpb.Entry{Time: now.UnixNano(), Command: command})
	if err != nil {
		panic(fmt.Sprintf("fsm: sealing a command: %v", err))
	}
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[entryPrefix:], castagnoli))
	return b
}

var (
	errTooShort = errors.New("it is shorter than its header")
	errChecksum = errors.New("its checksum does not match")
)

// unseal returns the time and the command of a log entry. An error means that the entry is damaged or comes from a version
// that this one cannot read; either way this replica must not go on.
func unseal(data []byte) (unixNano int64, c *fsmpb.Command, err error) {
	if len(data) < entryPrefix {
		return 0, nil, errTooShort
	}
	if data[0] != entryVersion {
		return 0, nil, fmt.Errorf("it has version %d, this program knows version %d: upgrade it", data[0], entryVersion)
	}
	if binary.BigEndian.Uint32(data[1:]) != crc32.Checksum(data[entryPrefix:], castagnoli) {
		return 0, nil, errChecksum
	}
	var e fsmpb.Entry
	if err := proto.Unmarshal(data[entryPrefix:], &e); err != nil {
		return 0, nil, fmt.Errorf("it cannot be decoded: %w", err)
	}
	c = new(fsmpb.Command)
	if err := proto.Unmarshal(e.GetCommand(), c); err != nil {
		return 0, nil, fmt.Errorf("its command cannot be decoded: %w", err)
	}
	if c.GetOp() == nil {
		return 0, nil, errors.New("its command is of a kind that this program does not know: upgrade it")
	}
	return e.GetTime(), c, nil
}

func labelsToProto(ls expo.Labels) []*fsmpb.Label {
	out := make([]*fsmpb.Label, len(ls))
	for i, l := range ls {
		out[i] = &fsmpb.Label{Name: l.Name, Value: l.Value}
	}
	return out
}

// labelsFromProto refuses what no version of this program writes: an empty, unsorted or repeating label set.
func labelsFromProto(ls []*fsmpb.Label) (expo.Labels, error) {
	if len(ls) == 0 {
		return nil, errors.New("malformed command: a group without labels")
	}
	out := make(expo.Labels, len(ls))
	for i, l := range ls {
		if i > 0 && l.GetName() <= out[i-1].Name {
			return nil, fmt.Errorf("malformed command: label %q is out of order", l.GetName())
		}
		out[i] = expo.Label{Name: l.GetName(), Value: l.GetValue()}
	}
	return out, nil
}

func familyToProto(f *expo.Family, unixNano int64) *fsmpb.Family {
	series := make([]byte, 0, len(f.Series)*len(expo.SeriesID{}))
	for _, id := range f.Series {
		series = append(series, id[:]...)
	}
	return &fsmpb.Family{
		Name: f.Name, Help: f.Help, Unit: f.Unit, Type: int32(f.Type), Metrics: f.Metrics, Series: series, Time: unixNano,
	}
}

// familyFromProto refuses a family whose parts do not belong together.
func familyFromProto(f *fsmpb.Family) (*expo.Family, error) {
	const size = len(expo.SeriesID{})
	series := f.GetSeries()
	out := &expo.Family{
		Name: f.GetName(), Help: f.GetHelp(), Unit: f.GetUnit(), Type: dto.MetricType(f.GetType()), Metrics: f.GetMetrics(),
	}
	if _, ok := dto.MetricType_name[f.GetType()]; !ok || out.Name == "" || len(series)%size != 0 {
		return nil, fmt.Errorf("malformed command: family %.100q has type %d and %d bytes of series", out.Name, f.GetType(), len(series))
	}
	if out.Name == pushTimeName || out.Name == failureTimeName {
		return nil, fmt.Errorf("malformed command: %s is not pushed", out.Name)
	}
	if n, err := countMetrics(out.Metrics); err != nil || n != len(series)/size {
		return nil, fmt.Errorf("malformed command: family %.100q has %d metrics and %d series", out.Name, n, len(series)/size)
	}
	out.Series = make([]expo.SeriesID, len(series)/size)
	for i := range out.Series {
		out.Series[i] = expo.SeriesID(series[i*size:])
	}
	return out, nil
}

func familiesFromProto(fs []*fsmpb.Family) ([]*expo.Family, error) {
	out := make([]*expo.Family, len(fs))
	for i, f := range fs {
		var err error
		if out[i], err = familyFromProto(f); err != nil {
			return nil, err
		}
		if i > 0 && out[i].Name <= out[i-1].Name {
			return nil, fmt.Errorf("malformed command: family %.100q is out of order", out[i].Name)
		}
	}
	return out, nil
}

// countMetrics returns how many `metric` fields of an io.prometheus.client.MetricFamily b holds, and an error when it holds
// anything else.
func countMetrics(b []byte) (int, error) {
	const metricField = 4
	n := 0
	for len(b) > 0 {
		num, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 || num != metricField || typ != protowire.BytesType {
			return n, errors.New("not a metric field")
		}
		_, size := protowire.ConsumeBytes(b[tag:])
		if size < 0 {
			return n, protowire.ParseError(size)
		}
		b = b[tag+size:]
		n++
	}
	return n, nil
}
