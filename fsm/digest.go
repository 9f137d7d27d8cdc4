package fsm

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/cespare/xxhash/v2"

	"pushquorum/expo"
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

// secondLane is the seed of a digest's second lane; the first one's is 0.
const secondLane = 0x9e3779b97f4a7c15

// hasher hashes one item of the state. Values are written so that different ones never give the same bytes: each is
// preceded by its length. Most are a few bytes long: they are gathered, because a call of both lanes costs more than
// they do.
type hasher struct {
	lanes    [2]xxhash.Digest
	gathered [256]byte
	n        int // bytes in gathered
}

// newHasher begins the hash of an item of a kind.
func newHasher(kind string) (h hasher) {
	h.lanes[0].Reset()
	h.lanes[1].ResetWithSeed(secondLane)
	h.strings(kind)
	return h
}

func (h *hasher) digest() digest {
	h.flush()
	return digest{h.lanes[0].Sum64(), h.lanes[1].Sum64()}
}

func (h *hasher) flush() {
	h.write(h.gathered[:h.n])
	h.n = 0
}

func (h *hasher) write(b []byte) {
	_, _ = h.lanes[0].Write(b) // xxhash's writes do not fail
	_, _ = h.lanes[1].Write(b)
}

func (h *hasher) number(n uint64) {
	if h.n+8 > len(h.gathered) {
		h.flush()
	}
	binary.BigEndian.PutUint64(h.gathered[h.n:], n)
	h.n += 8
}

func (h *hasher) bytes(b []byte) {
	h.number(uint64(len(b)))
	if h.n+len(b) > len(h.gathered) {
		h.flush()
		h.write(b)
		return
	}
	h.n += copy(h.gathered[h.n:], b)
}

func (h *hasher) strings(ss ...string) {
	for _, s := range ss {
		h.number(uint64(len(s)))
		for h.n+len(s) > len(h.gathered) {
			n := copy(h.gathered[h.n:], s)
			h.n, s = len(h.gathered), s[n:]
			h.flush()
		}
		h.n += copy(h.gathered[h.n:], s)
	}
}

func (h *hasher) labels(ls expo.Labels) {
	h.number(uint64(len(ls)))
	for _, l := range ls {
		h.strings(l.Name, l.Value)
	}
}
