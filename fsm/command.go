package fsm

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"pushquorum/expo"
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
	// Seen is the applied index of the replica that received the request, taken when it came in. A retry inside the
	// cluster carries the same Seen, so an earlier attempt can only stand after it in the log, and a table of
	// remembered requests that reaches back to Seen proves that there was none. A client that retries with its own key
	// comes in anew: its first request may stand before Seen, and is found only as long as it is remembered.
	Seen uint64
}

// operation is what a command does: the field of Command.op in which it stands.
type operation protowire.Number

const (
	opPush   operation = 4
	opReject operation = 5
	opDelete operation = 6
	opWipe   operation = 7
	opImport operation = 8
	opNoop   operation = 9
)

// A command is one request to the state machine. What an operation does not need is not set.
type command struct {
	id                []byte // of a RequestID, or empty
	seen, fingerprint uint64
	op                operation

	labels   expo.Labels    // of the group: push, reject, delete
	replace  bool           // push
	families []*expo.Family // push
	groups   []*Group       // import

	// malformed is why a command that was read can only be rejected.
	malformed error
}

// EncodePush returns the command that sets families, in the form of expo.Canonical, in a group. With replace the
// group's other families go (PUT), without they stay (POST).
func EncodePush(r Request, group expo.Labels, replace bool, families []*expo.Family) []byte {
	return (&command{op: opPush, labels: group, replace: replace, families: families}).encode(r)
}

// EncodeReject returns the command that records a failed push to a group and changes nothing else.
func EncodeReject(r Request, group expo.Labels) []byte {
	return (&command{op: opReject, labels: group}).encode(r)
}

// EncodeDelete returns the command that deletes a group.
func EncodeDelete(r Request, group expo.Labels) []byte {
	return (&command{op: opDelete, labels: group}).encode(r)
}

// EncodeWipe returns the command that deletes every group.
func EncodeWipe(r Request) []byte { return (&command{op: opWipe}).encode(r) }

// EncodeImport returns the command that loads groups, with their times, into a store that has never been written. Into
// any other store it is rejected.
func EncodeImport(r Request, groups []*Group) []byte {
	return (&command{op: opImport, groups: groups}).encode(r)
}

// EncodeNoop returns the command that a new leader proposes to learn that it has committed in its term. It changes
// nothing and is not remembered.
func EncodeNoop() []byte { return (&command{op: opNoop}).append(nil) }

// encode makes the command that of a request.
func (c *command) encode(r Request) []byte {
	c.id, c.seen, c.fingerprint = r.ID[:], r.Seen, c.hash()
	return c.append(nil)
}

// append appends the encoded command.
func (c *command) append(b []byte) []byte {
	body := c.sizeOfBody()
	b = slices.Grow(
		b, sizeBytes(len(c.id))+2*tagSize+protowire.SizeVarint(c.seen)+fixedSize+tagSize+protowire.SizeBytes(body))
	if len(c.id) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldID, protowire.BytesType), c.id)
	}
	b = appendVarint(b, fieldSeen, c.seen)
	b = appendFixed(b, fieldFingerprint, c.fingerprint)
	b = appendLength(b, protowire.Number(c.op), body)
	b = appendLabels(b, fieldGroup, c.labels)
	if c.replace {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldReplace, protowire.VarintType), 1)
	}
	for _, f := range c.families {
		b = appendFamily(b, fieldFamilies, f, 0)
	}
	for _, g := range c.groups {
		b = appendGroup(b, fieldGroups, g)
	}
	return b
}

func (c *command) sizeOfBody() int {
	n := sizeOfLabels(c.labels)
	if c.replace {
		n += tagSize + 1
	}
	for _, f := range c.families {
		n += tagSize + protowire.SizeBytes(sizeOfFamily(f, 0))
	}
	for _, g := range c.groups {
		n += tagSize + protowire.SizeBytes(sizeOfGroup(g, g.Labels()))
	}
	return n
}

var errUnknownCommand = errors.New("is of a kind that this program does not know: upgrade it")

// decodeCommand reads an encoded command. An error means that this replica cannot tell what the others do with it.
func decodeCommand(b []byte, in *interner) (command, error) {
	var c command
	var body []byte
	err := eachField(b, func(f field) error {
		switch f.number {
		case fieldID:
			c.id = f.bytes
		case fieldSeen:
			c.seen = f.bits
		case fieldFingerprint:
			c.fingerprint = f.bits
		default:
			if op := operation(f.number); opPush <= op && op <= opNoop {
				c.op, body = op, f.bytes
			}
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	switch c.op {
	case opPush, opReject, opDelete:
		err = c.decodeGroup(body, in)
	case opImport:
		err = c.decodeImport(body, in)
	case opWipe, opNoop:
	default:
		return c, errUnknownCommand
	}
	if wrong := (*malformedError)(nil); errors.As(err, &wrong) {
		c.malformed, err = wrong, nil
	}
	return c, err
}

// decodeGroup reads what is done to a group: a Push, Reject or Delete, of which the latter two have only the labels.
func (c *command) decodeGroup(b []byte, in *interner) (err error) {
	if c.labels, err = decodeLabels(b, fieldGroup, in); err != nil {
		return err
	}
	families, _, err := decodeFamilies(b, fieldFamilies, in)
	if err != nil {
		return err
	}
	c.families = make([]*expo.Family, len(families))
	for i := range families {
		c.families[i] = &families[i]
	}
	return eachField(b, func(f field) error {
		if f.number == fieldReplace {
			c.replace = f.bits != 0
		}
		return nil
	})
}

func (c *command) decodeImport(b []byte, in *interner) error {
	return eachField(b, func(f field) error {
		if f.number != fieldGroups {
			return nil
		}
		g, err := decodeGroup(f.bytes, in)
		c.groups = append(c.groups, g)
		return err
	})
}

// Stores tells whether an encoded command may add to the state: it pushes, imports, or records a failed push. It looks
// at the kind of the command only.
func Stores(command []byte) bool {
	switch operationOf(command) {
	case opPush, opReject, opImport:
		return true
	default:
		return false
	}
}

// hash is the command's fingerprint: what it does, whoever received it and whenever. Of a family it hashes the encoded
// metrics, so two versions agree on it because they agree on the canonical form.
func (c *command) hash() uint64 {
	h := newHasher("command")
	switch c.op {
	case opPush:
		h.strings("push", strconv.FormatBool(c.replace))
		h.labels(c.labels)
		for _, f := range c.families {
			h.strings(f.Name, f.Help, f.Unit, f.Type.String())
			h.bytes(f.Metrics())
		}
	case opReject:
		h.strings("reject")
		h.labels(c.labels)
	case opDelete:
		h.strings("delete")
		h.labels(c.labels)
	case opWipe:
		h.strings("wipe")
	case opImport:
		h.strings("import")
	case opNoop:
	}
	return h.digest()[0]
}

// entryVersion is the first byte of every log entry. Version 1 held one command.
const entryVersion = 2

// entryPrefix is the length of what stands before the protobuf of an entry: version and checksum.
const entryPrefix = 1 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The fields of an Entry.
const (
	fieldTime     protowire.Number = 1
	fieldCommands protowire.Number = 2
)

// SealedSize is the size of what Seal makes of the commands, in bytes.
func SealedSize(commands [][]byte) int {
	size := entryPrefix + protowire.SizeTag(fieldTime) + protowire.SizeFixed64()
	for _, c := range commands {
		size += protowire.SizeTag(fieldCommands) + protowire.SizeBytes(len(c))
	}
	return size
}

// Seal makes a log entry of commands: it adds the time at which the leader took them, which is their time on every
// replica, and a checksum, because the log's storage has none. Only the leader seals.
func Seal(commands [][]byte, now time.Time) []byte {
	b := make([]byte, entryPrefix, SealedSize(commands))
	b[0] = entryVersion
	b = protowire.AppendTag(b, fieldTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(now.UnixNano()))
	for _, c := range commands {
		b = protowire.AppendTag(b, fieldCommands, protowire.BytesType)
		b = protowire.AppendBytes(b, c)
	}
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[entryPrefix:], castagnoli))
	return b
}

var (
	errTooShort = errors.New("it is shorter than its header")
	errChecksum = errors.New("checksum mismatch")
)

// unseal returns the time and the commands of a log entry. An error means that the entry is damaged or comes from a
// version that this one cannot read; either way this replica must not go on.
func unseal(data []byte, in *interner) (unixNano int64, commands []command, err error) {
	if len(data) < entryPrefix {
		return 0, nil, errTooShort
	}
	if data[0] < 1 || data[0] > entryVersion {
		return 0, nil, fmt.Errorf("it has version %d, this program knows version %d: upgrade it", data[0], entryVersion)
	}
	if binary.BigEndian.Uint32(data[1:]) != crc32.Checksum(data[entryPrefix:], castagnoli) {
		return 0, nil, errChecksum
	}
	body := data[entryPrefix:]
	commands = make([]command, 0, countFields(body, fieldCommands))
	err = eachField(body, func(f field) error {
		switch {
		case f.number == fieldTime && f.kind == protowire.Fixed64Type:
			unixNano = int64(f.bits)
		case f.number == fieldCommands && f.kind == protowire.BytesType:
			c, err := decodeCommand(f.bytes, in)
			if err != nil {
				return fmt.Errorf("command %d of it %w", len(commands)+1, err)
			}
			commands = append(commands, c)
		}
		return nil
	})
	if err == nil && len(commands) == 0 {
		err = errors.New("it holds no command")
	}
	if err != nil {
		return 0, nil, err
	}
	return unixNano, commands, nil
}
