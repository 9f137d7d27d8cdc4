package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"

	"pushquorum/fsm/fsmpb"
)

// A digest is a hash of a set of items that can be kept up to date at the cost of what changes: the sum of the items'
// hashes, in two lanes of 64 bits. Adding and removing an item cancel, and the order in which items came does not show.
// It finds replicas that diverged; it is no defence against somebody who looks for collisions.
type digest [2]uint64

func (d *digest) add(item digest)    { d[0] += item[0]; d[1] += item[1] }
func (d *digest) remove(item digest) { d[0] -= item[0]; d[1] -= item[1] }

func (d digest) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, d[0])
	return binary.BigEndian.AppendUint64(b, d[1])
}

func (d digest) String() string { return hex.EncodeToString(d.bytes()) }

// digestOf hashes one item of the state, whose kind and contents write puts into the hash.
func digestOf(kind string, write func(h hasher)) digest {
	h := hasher{sha256.New()}
	h.strings(kind)
	write(h)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return digest{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

// hasher writes values into a hash so that different values never give the same bytes: each is preceded by its length.
type hasher struct{ hash.Hash }

func (h hasher) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	h.Write(b[:]) // a hash does not fail
}

func (h hasher) bytes(b []byte) {
	h.number(uint64(len(b)))
	h.Write(b) // a hash does not fail
}

func (h hasher) strings(ss ...string) {
	for _, s := range ss {
		h.number(uint64(len(s)))
		_, _ = io.WriteString(h, s) // a hash does not fail
	}
}

func (h hasher) labels(ls []*fsmpb.Label) {
	h.number(uint64(len(ls)))
	for _, l := range ls {
		h.strings(l.GetName(), l.GetValue())
	}
}
