package formation

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Alone decides whether a replica that expects nobody else founds a cluster: if all that --cluster.peer leads to is
// this replica itself, and nobody else has shown up for a while. An empty directory cannot tell a first start from a
// lost disk, and that nobody answers does not mean that nobody is there; so only the command line can say that this one
// is the first. Its methods are for one goroutine.
type Alone struct {
	Name    string // of this replica
	Peers   []Peer
	Resolve func(ctx context.Context, peer string) ([]netip.AddrPort, error) // what a Peer's Address stands for now
	Own     func(netip.AddrPort) bool                                        // whether this replica gossips there
	Every   time.Duration                                                    // between two looks at the peers
	Settle  time.Duration                                                    // how long nothing may speak against it

	looked time.Time // at the peers, last
	other  string    // what was found there that is not this replica, "": nothing
	since  time.Time // since when nothing has spoken against it, zero: something does
}

// Peer is one --cluster.peer.
type Peer struct {
	Address string // host:port
	Host    string // of the address
}

// Check returns nil when the replica may found a cluster, otherwise what it waits for. seen are the names of the others
// whom the gossip has seen.
func (a *Alone) Check(ctx context.Context, now time.Time, seen []string) error {
	if len(a.Peers) == 0 {
		return nil
	}
	if a.looked.IsZero() || now.Sub(a.looked) >= a.Every {
		a.looked, a.other = now, a.elsewhere(ctx)
	}
	why := a.other
	if why == "" && len(seen) > 0 {
		why = strings.Join(seen, ",") + " is here, too"
	}
	if why != "" {
		a.since = time.Time{}
		return fmt.Errorf("to be added by the cluster that --cluster.peer names, because %s; to form a new one set "+
			"--cluster.bootstrap-expect to the number of its replicas, on each of them, or give the first of them no "+
			"--cluster.peer but itself", why)
	}
	if a.since.IsZero() {
		a.since = now
	}
	if now.Sub(a.since) < a.Settle {
		return fmt.Errorf(
			"for nobody else to show up for %s, because all that --cluster.peer leads to is this replica",
			a.Settle,
		)
	}
	return nil
}

// elsewhere tells which peer may be somebody else, "" when none is.
func (a *Alone) elsewhere(ctx context.Context) string {
	for _, peer := range a.Peers {
		addresses, err := a.Resolve(ctx, peer.Address)
		if err != nil {
			return fmt.Sprintf("%s has no address yet (%v)", peer.Address, err)
		}
		for _, at := range addresses {
			if !a.Own(at) {
				return fmt.Sprintf("%s leads to %s, which is not this replica", peer.Address, at)
			}
		}
	}
	if !slices.ContainsFunc(a.Peers, func(peer Peer) bool { return namesOne(peer.Host, a.Name) }) {
		return fmt.Sprintf("none names this replica alone: its address, or a name that begins with %s", a.Name)
	}
	return ""
}

// namesOne tells whether a host is one replica by what it is called, and not the name of all of them, which may lead to
// one while the others are away: an IP address, or a host name that goes with the replica's name.
func namesOne(host, name string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == name || strings.HasPrefix(host, name+".") || strings.HasPrefix(name, host+".")
}
