package fsm

import (
	"fmt"
	"io"

	"pushquorum/expo"
)

// VerifySnapshot reads a snapshot as Restore does, and returns the index of the last entry in it. An error means that
// Restore would fail, or that groups are not in the order in which they are written. It keeps one group at a time, the
// names, and the requests that are remembered.
func VerifySnapshot(r io.Reader) (applied uint64, err error) {
	v := &verifier{store: newStore(), names: map[string]header{}}
	if applied, err = readInto(r, v.store, v); err != nil {
		return 0, fmt.Errorf("reading a snapshot: %w", err)
	}
	return applied, nil
}

// verifier finds the state hash of a snapshot. The hash is a sum, so a group can go when its share is known. That is
// what a store says that holds nothing else, less what the names have once.
type verifier struct {
	store *store // with one group at most
	sum   digest // of the groups
	names map[string]header
	last  string // key of the last group
}

func (v *verifier) restoreGroup(g *Group) error {
	if v.last != "" && g.Key <= v.last {
		return fmt.Errorf("group %.200s stands there twice or out of order", g.Labels())
	}
	v.last = g.Key
	v.store.putGroup(nil, g)
	v.sum.add(v.store.sum)
	v.store.headers.Scan(func(h header) bool {
		v.sum.remove(h.digest())
		// Which HELP has won is not known from the groups, only which one has when no header record follows: see
		// putPart.
		if had, found := v.names[h.Name]; found && h.Help == "" {
			h.Help = had.Help
		}
		if had, found := v.names[h.Name]; found && h.Unit == "" {
			h.Unit = had.Unit
		}
		h.shared = nil
		v.names[h.Name] = h
		return true
	})
	v.store.deleteGroup(g)
	return nil
}

func (v *verifier) restoreHeader(won expo.Header) error {
	h, found := v.names[won.Name]
	if !found {
		return fmt.Errorf("no group holds family %.200q", won.Name)
	}
	won.Type = h.Type
	h.Header = won
	v.names[h.Name] = h
	return nil
}

func (v *verifier) digest() digest {
	d := v.store.digest()
	d.add(v.sum)
	for _, h := range v.names { // any order: it is a sum
		d.add(h.digest())
	}
	return d
}
