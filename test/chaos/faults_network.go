package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// untilLifted is a fault of the network: lifting it clears the weather between all, and with it what other faults of
// the network made at the same time. The shortest of them counts.
func (n *nemesis) untilLifted(trouble string) (string, func() error, error) {
	return trouble, func() error {
		n.weather(weather{})
		return nil
	}, nil
}

// others are all but one, the spares that may come and the strangers included.
func (n *nemesis) others(r *replica) []*replica { return without(n.c.all(), r) }

func without(replicas []*replica, r *replica) []*replica {
	return slices.DeleteFunc(slices.Clone(replicas), func(o *replica) bool { return o == r })
}

func isolate(n *nemesis) (string, func() error, error) {
	victim := n.victim()
	for _, o := range n.others(victim) {
		n.between(victim, o, weather{cut: true})
		n.between(o, victim, weather{cut: true})
	}
	return n.untilLifted(victim.name + " is cut off")
}

func oneWay(n *nemesis) (string, func() error, error) {
	victim, trouble := n.victim(), "cannot be heard"
	mute := n.chance.IntN(2) == 0
	if !mute {
		trouble = "cannot hear"
	}
	for _, o := range n.others(victim) {
		if mute {
			n.between(victim, o, weather{cut: true})
		} else {
			n.between(o, victim, weather{cut: true})
		}
	}
	return n.untilLifted(victim.name + " " + trouble)
}

// flicker cuts a follower off for moments, each about as long as it takes to miss its leader: mostly it is the same
// that it then finds.
func flicker(n *nemesis) (string, func() error, error) {
	followers := without(n.c.members(), n.c.leader())
	victim := followers[n.chance.IntN(len(followers))]
	moments := rand.New(rand.NewPCG(n.chance.Uint64(), 1))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for cut := true; ; cut = !cut {
			for _, o := range n.others(victim) {
				n.between(o, victim, weather{cut: cut})
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(50+moments.IntN(1200)) * time.Millisecond):
			}
		}
	}()
	return victim.name + " cannot hear for moments, again and again", func() error {
		close(stop)
		<-stopped
		n.weather(weather{})
		return nil
	}, nil
}

func split(n *nemesis) (string, func() error, error) {
	size := 1 + n.chance.IntN((len(n.c.members())-1)/2)
	minority := []*replica{n.victim()}
	rest := without(n.c.members(), minority[0])
	n.chance.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	minority, rest = append(minority, rest[:size-1]...), rest[size-1:]
	for _, a := range minority {
		for _, b := range rest {
			n.between(a, b, weather{cut: true})
			n.between(b, a, weather{cut: true})
		}
	}
	return n.untilLifted(names(minority) + " | " + names(rest))
}

func apart(n *nemesis) (string, func() error, error) {
	n.weather(weather{cut: true})
	return n.untilLifted("no replica reaches another")
}

// spread makes one kind of weather: between all, or around one.
func (n *nemesis) spread(w weather) (string, func() error, error) {
	if n.chance.IntN(2) == 0 {
		n.weather(w)
		return n.untilLifted(fmt.Sprintf("%s between all", w))
	}
	victim := n.victim()
	for _, o := range n.others(victim) {
		n.between(victim, o, w)
		n.between(o, victim, w)
	}
	return n.untilLifted(fmt.Sprintf("%s around %s", w, victim.name))
}

func lossy(n *nemesis) (string, func() error, error) {
	return n.spread(weather{loss: 0.01 + 0.29*n.chance.Float64()})
}

func delayed(n *nemesis) (string, func() error, error) {
	d := time.Duration(1+n.chance.IntN(300)) * time.Millisecond
	return n.spread(weather{delay: d, jitter: d / 2})
}

func duplicated(n *nemesis) (string, func() error, error) {
	return n.spread(weather{duplicate: 0.5 * n.chance.Float64()})
}

func reordered(n *nemesis) (string, func() error, error) {
	return n.spread(weather{reorder: 0.5 * n.chance.Float64()})
}

func slowNetwork(n *nemesis) (string, func() error, error) {
	return n.spread(weather{rate: 50_000 + n.chance.IntN(450_000)})
}
