package main

import (
	"errors"
	"fmt"
	"time"
)

func fullDisk(n *nemesis) (string, func() error, error) {
	victim := n.victim()
	victim.setDiskFull(true)
	victim.store.disk.SetFree(0)
	if n.chance.IntN(2) == 0 {
		return "the disk of " + victim.name + " is full", func() error {
			n.freeDisk(victim)
			return nil
		}, nil
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for free := int64(diskSize); ; free = diskSize - free {
			select {
			case <-stop:
				return
			case <-time.After(fullEvery):
				victim.store.disk.SetFree(free)
			}
		}
	}()
	return "the disk of " + victim.name + " is full again and again", func() error {
		close(stop)
		<-stopped
		n.freeDisk(victim)
		return nil
	}, nil
}

// fullEvery is enough for a follower to refuse an entry, or to take some again.
const fullEvery = 100 * time.Millisecond

// freeDisk gives a disk its space back. That a process may have ended for the lack of it is known until it runs again.
func (n *nemesis) freeDisk(r *replica) {
	r.store.disk.SetFree(diskSize)
	if r.running() {
		r.setDiskFull(false)
	}
}

func slowDisk(n *nemesis) (string, func() error, error) {
	victim := n.victim()
	each := time.Duration(5+n.chance.IntN(195)) * time.Millisecond
	victim.store.disk.SetSlow(each)
	return fmt.Sprintf("every write and fsync of %s takes %s", victim.name, each), func() error {
		victim.store.disk.SetSlow(0)
		return nil
	}, nil
}

func powerLoss(n *nemesis) (string, func() error, error) {
	victims := n.some()
	for _, r := range victims {
		if err := r.kill(); err != nil {
			return "", nil, err
		}
	}
	text := "power lost:"
	for _, r := range victims {
		writes, lost, err := r.store.cutPower(n.chance)
		if err != nil {
			return "", nil, err
		}
		text += fmt.Sprintf(" %s (%d unsynced writes, %d bytes lost)", r.name, writes, lost)
	}
	return text, func() error {
		for _, r := range victims {
			if err := r.start(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// lostDisk brings one replica back with nothing, when no more than that is missing; sometimes all of them, one after
// the other, each as soon as the cluster can bear it.
func lostDisk(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	if n.chance.IntN(4) == 0 {
		return n.loseAll()
	}
	victim := n.victim()
	if err := n.lose(victim); err != nil {
		return "", nil, err
	}
	return "the disk of " + victim.name + " is lost", victim.start, nil
}

func (n *nemesis) loseAll() (string, func() error, error) {
	var lost []*replica
	for _, r := range n.c.members() {
		if len(lost) > 0 && n.awaitWhole() != nil {
			break
		}
		if err := errors.Join(n.lose(r), r.start()); err != nil {
			return "", nil, err
		}
		lost = append(lost, r)
	}
	return "the disks are lost, one after the other, of " + names(lost), nil, nil //nolint:nilerr // a reason to stop
}

// lose ends a replica and empties its disk. Whoever replaces a disk looks at the command line, too: a newcomer follows
// whatever it is told of, by right.
func (n *nemesis) lose(r *replica) error {
	if err := r.kill(); err != nil {
		return err
	}
	r.id = ""
	r.goAstray()
	if err := r.store.erase(); err != nil {
		return err
	}
	r.replaced()
	return nil
}
