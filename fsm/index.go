package fsm

import "hash/maphash"

// An index leads from keys to the numbers of the groups that have them. It does not hold the keys: what a group holds
// already is compared with. So it takes 8 bytes a key beside the room of the map, whatever a key is.
//
// The hash is seeded by the process, because nobody must be able to choose keys that collide. Replicas seed it
// differently, which does not show, because the key of what is found is compared, and a key that collides is held in
// full.
type index[K comparable] struct {
	seed maphash.Seed
	// numbers are those of the groups by the hash of the key. collided are those of keys whose hash another key had
	// before, by the key itself.
	numbers  map[uint32]uint32
	collided map[K]uint32
	hash     func(maphash.Seed, K) uint32
}

func newIndex[K comparable]() index[K] {
	return index[K]{
		seed: maphash.MakeSeed(), numbers: map[uint32]uint32{}, collided: map[K]uint32{},
		hash: func(seed maphash.Seed, key K) uint32 { return uint32(maphash.Comparable(seed, key)) },
	}
}

// find returns the number of the group that has the key, if one has. Where sure is false, it is the one that may have
// it, and nobody else does.
func (x *index[K]) find(key K) (number uint32, found, sure bool) {
	if len(x.collided) > 0 {
		if number, found = x.collided[key]; found {
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
		x.collided[key] = number
		return
	}
	x.numbers[h] = number
}

// remove takes away a key, which the group of that number has.
func (x *index[K]) remove(key K, number uint32) {
	if n, found := x.collided[key]; found && n == number {
		delete(x.collided, key)
		return
	}
	h := x.hash(x.seed, key)
	if n, found := x.numbers[h]; found && n == number {
		delete(x.numbers, h)
	}
}
