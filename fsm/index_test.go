package fsm

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"pushquorum/expo"
)

// len is the number of keys.
func (x *index[K]) len() int { return len(x.numbers) + len(x.collided) }

// weaken makes nearly all keys of an index collide.
func weaken[K comparable](x *index[K]) {
	hash := x.hash
	x.hash = func(seed maphash.Seed, key K) uint32 { return hash(seed, key) % 3 }
}

func TestAnIndexLeadsFromEachKeyToItsGroup(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x := newIndex[int]()
	weaken(&x)
	want := map[int]uint32{}
	for step := range 20_000 {
		key := random.IntN(40)
		if n, there := want[key]; there {
			x.remove(key, n)
			delete(want, key)
		} else {
			n := random.Uint32N(8)
			x.put(key, n)
			want[key] = n
		}
		if x.len() != len(want) {
			t.Fatalf("step %d: it has %d keys of %d", step, x.len(), len(want))
		}
		for key := range 40 {
			n, found, sure := x.find(key)
			switch owner, there := want[key]; {
			case there && (!found || n != owner):
				t.Fatalf("step %d: key %d leads to %d (%v), not to %d", step, key, n, found, owner)
			case !there && sure:
				t.Fatalf("step %d: key %d, which nobody has, surely leads to %d", step, key, n)
			}
		}
	}
}

// What a replica makes of keys and series that collide is what it makes of those that do not.
func TestKeysAndSeriesThatMeetAreToldApart(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := &steps{TB: t, Rand: rand.New(rand.NewPCG(seed, 3))}
			a, b := newMachine(t), newMachine(t)
			collided := false
			for i := range 300 {
				if b.store.keys.len() == 0 {
					weaken(&b.store.keys)
					weaken(&b.store.series)
				}
				c := s.next(a.Applied())
				if ra, rb := a.apply(c), b.apply(c); ra != rb {
					t.Fatalf("step %d: where keys do not collide the result is %+v, where they do it is %+v", i, ra, rb)
				}
				if a.View().Hash() != b.View().Hash() {
					t.Fatalf("step %d: state hashes differ", i)
				}
				checkOwners(t, b.store)
				collided = collided || len(b.store.keys.collided) > 0 && len(b.store.series.collided) > 0
			}
			if !collided {
				t.Error("no keys have collided: the test does not test much")
			}
		})
	}
}

// Push-time series are in no index: groups have the same ones exactly where the one is the other's twin.
func TestGroupsHaveTheSamePushTimeSeriesWhereTheyAreTwins(t *testing.T) {
	var all []expo.Labels
	for _, job := range []string{"", "a", "instance"} {
		for _, instance := range []string{"none", "", "i"} {
			for _, last := range []string{"none", "", "instance"} {
				m := map[string]string{"job": job}
				if instance != "none" {
					m["instance"] = instance
				}
				if last != "none" {
					m["xinstance"] = last
				}
				all = append(all, expo.NewLabels(m))
			}
		}
	}
	pairs := 0
	for _, a := range all {
		ids := (&Group{Key: a.Key()}).withTimes(nil).pushTime.Series()
		twin, ok := twinOf(expo.AppendLabels(nil, a.Key()))
		for _, b := range all {
			if a.Key() == b.Key() {
				continue
			}
			same := ids[0] == (&Group{Key: b.Key()}).withTimes(nil).pushTime.Series()[0]
			if twins := ok && twin.Key() == b.Key(); twins != same {
				t.Errorf("%s and %s have the same push-time series: %v; they are twins: %v", a, b, same, twins)
			}
			if same {
				pairs++
			}
		}
	}
	if pairs == 0 {
		t.Error("no two groups have the same push-time series")
	}
}
