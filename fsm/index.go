package fsm

import "hash/maphash"

// An index leads from keys to the numbers of the groups that have them. It does not hold the keys: what a group holds
// already is compared with. So it takes 8 bytes a key beside the room of the map, whatever a key is.
//
// The hash is seeded by the process, because nobody must be able to choose keys that meet. Replicas seed it
// differently, which does not show: what is found is compared, and what meets all the same is held in full.
type index[K comparable] struct {
	seed maphash.Seed
	// numbers are those of the groups by the hash of the key, and met those by the key itself, of keys whose hash
	// another key had before: one in n/2³³ of n.
	numbers map[uint32]uint32
	met     map[K]uint32
	hash    func(maphash.Seed, K) uint32
}

func newIndex[K comparable]() index[K] {
	return index[K]{
		seed: maphash.MakeSeed(), numbers: map[uint32]uint32{}, met: map[K]uint32{},
		hash: func(seed maphash.Seed, key K) uint32 { return uint32(maphash.Comparable(seed, key)) },
	}
}

// find returns the number of the group that has the key, if one has. Where sure is false, it is the one that may have
// it, and nobody else does.
func (x *index[K]) find(key K) (number uint32, found, sure bool) {
	if len(x.met) > 0 {
		if number, found = x.met[key]; found {
			return number, true, true
		}
	}
	number, found = x.numbers[x.hash(x.seed, key)]
	return number, found, false
}

// put adds a key, which no group has.
func (x *index[K]) put(key K, number uint32) {
	h := x.hash(x.seed, key)
	if _, taken := x.numbers[h]; taken {
		x.met[key] = number
		return
	}
	x.numbers[h] = number
}

// remove takes away a key, which the group of that number has.
func (x *index[K]) remove(key K, number uint32) {
	if n, found := x.met[key]; found && n == number {
		delete(x.met, key)
		return
	}
	h := x.hash(x.seed, key)
	if n, found := x.numbers[h]; found && n == number {
		delete(x.numbers, h)
	}
}

// len is the number of keys.
func (x *index[K]) len() int { return len(x.numbers) + len(x.met) }
