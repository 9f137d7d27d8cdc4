package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/durable"
)

// An entry is stored with a link in front of its Extensions. The links make the log a chain: a checksum covers the
// entry and the checksum of the entry before, so an old page that is valid in itself does not fit.
//
// The link is this replica's alone. It is taken off before anyone sees the entry, so it is never sent to a follower;
// and what an entry has in its Extensions when it comes, from wherever, is kept and given back as part of the entry.
const (
	linkVersion = 1
	linkSize    = 9 // version u8, checksum of the entry before u32, own checksum u32
)

// Linked gives a copy of an entry with its link, and its checksum; prev is that of the entry before. The caller's entry
// is not touched: Raft goes on using it.
func Linked(l *raft.Log, prev uint32) (raft.Log, uint32) {
	own := linkSum(l, prev)
	out := *l
	out.Extensions = append(make([]byte, 0, linkSize+len(l.Extensions)), linkVersion)
	out.Extensions = binary.BigEndian.AppendUint32(out.Extensions, prev)
	out.Extensions = binary.BigEndian.AppendUint32(out.Extensions, own)
	out.Extensions = append(out.Extensions, l.Extensions...)
	return out, own
}

// unlink checks an entry that was read as the one at index and takes the link off. It gives the checksums of the entry
// before and of itself.
func unlink(index uint64, l *raft.Log) (prev, own uint32, err error) {
	link := l.Extensions
	if len(link) < linkSize {
		return 0, 0, errors.New("it has no checksum")
	}
	if link[0] != linkVersion {
		return 0, 0, fmt.Errorf("version %d is not known to this program", link[0])
	}
	prev, own = binary.BigEndian.Uint32(link[1:]), binary.BigEndian.Uint32(link[5:])
	l.Extensions = link[linkSize:]
	if len(l.Extensions) == 0 {
		l.Extensions = nil
	}
	if l.Index != index || linkSum(l, prev) != own {
		return 0, 0, errors.New("checksum mismatch")
	}
	return prev, own, nil
}

// linkSum covers all of an entry. The time goes in as seconds and nanoseconds, which is what msgpack keeps of it.
func linkSum(l *raft.Log, prev uint32) uint32 {
	b := make([]byte, 0, 48)
	b = append(b, linkVersion, byte(l.Type))
	b = binary.BigEndian.AppendUint32(b, prev)
	b = binary.BigEndian.AppendUint64(b, l.Index)
	b = binary.BigEndian.AppendUint64(b, l.Term)
	b = binary.BigEndian.AppendUint64(b, uint64(l.AppendedAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(l.AppendedAt.Nanosecond()))
	b = binary.BigEndian.AppendUint64(b, uint64(len(l.Data))) // where Data ends and Extensions begin
	sum := crc32.Checksum(b, durable.Castagnoli())
	sum = crc32.Update(sum, durable.Castagnoli(), l.Data)
	return crc32.Update(sum, durable.Castagnoli(), l.Extensions)
}
