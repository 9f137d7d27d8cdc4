package wal

import (
	"bytes"
	"io"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
)

const (
	// entryCodecID is what raft-wal wants of a codec that is not its own. Its files say BinaryV1 all the same: see
	// DESIGN.md.
	entryCodecID = raftwal.FirstExternalCodecID + 'P'<<8 + 'Q'
	// maxAppend bounds what is given to raft-wal at once, but for a larger entry: each segment keeps a buffer of the
	// next power of two for as long as it is in use. Bytes.
	maxAppend = 500 << 10
	// EntryOverhead is what an encoded entry takes beside its data and extensions, at most: five numbers and a time.
	// Bytes.
	EntryOverhead = 5*10 + 16
)

// entryCodec writes entries as raft-wal's own codec does, but into memory that the next append takes over. Raft-wal
// makes a buffer for each entry, only to copy it into that of the segment: a fifth of all that a replica allocated for
// a push.
type entryCodec struct {
	raftwal.BinaryCodec

	memory []byte // of the append under way, of which there is one at a time
}

// ID implements raftwal.Codec.
func (*entryCodec) ID() uint64 { return entryCodecID }

// begin prepares for an append of the first of the entries, which are not none, and returns how many.
func (c *entryCodec) begin(logs []*raft.Log) (n int) {
	size := 0
	for n < len(logs) && (n == 0 || size+EncodedSize(logs[n]) <= maxAppend) {
		size += EncodedSize(logs[n])
		n++
	}
	c.memory = c.memory[:0]
	if size <= maxAppend && cap(c.memory) < size {
		c.memory = make([]byte, 0, min(2*size, maxAppend))
	}
	return n
}

// EncodedSize is what an encoded entry takes at most, in bytes.
func EncodedSize(l *raft.Log) int { return len(l.Data) + len(l.Extensions) + EntryOverhead }

// Encode implements raftwal.Codec.
func (c *entryCodec) Encode(l *raft.Log, w io.Writer) error {
	from, size := len(c.memory), EncodedSize(l)
	if b, ok := w.(*bytes.Buffer); ok && b.Cap() == 0 && size <= cap(c.memory)-from {
		c.memory = c.memory[:from+size]
		*b = *bytes.NewBuffer(c.memory[from : from : from+size])
	}
	return c.BinaryCodec.Encode(l, w)
}
