package main

import "syscall"

// changeMembers lets the spares come, or go for good: each is gone when the cluster no longer counts it.
func changeMembers(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	var in, out []*replica
	for _, r := range n.c.replicas[n.c.expect:] {
		if r.isMember() {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	if len(in) == 0 {
		return n.join(out)
	}
	return n.leave(in[:1+n.chance.IntN(len(in))]), nil, nil
}

func (n *nemesis) join(newcomers []*replica) (string, func() error, error) {
	for _, r := range newcomers {
		if n.chance.IntN(2) == 0 { // otherwise it comes back with what it had, if it has been there before
			if err := n.lose(r); err != nil {
				return "", nil, err
			}
		}
		r.setMember(true)
		if err := r.start(); err != nil {
			return "", nil, err
		}
	}
	if n.chance.IntN(2) == 0 {
		return names(newcomers) + " come", nil, nil
	}
	return names(newcomers) + " come for a while", func() error {
		if err := n.awaitWhole(); err != nil {
			n.c.note("%s stay: %v", names(newcomers), err)
			return nil
		}
		n.c.note("%s", n.leave(newcomers))
		return nil
	}, nil
}

func (n *nemesis) leave(leavers []*replica) string {
	for _, r := range leavers {
		r.setMember(false)
		r.resume() // a process that is stopped does not end
		if err := r.end(syscall.SIGTERM, stopWithin); err != nil {
			n.c.violate("%v", err)
		}
	}
	return names(leavers) + " leave for good"
}
