package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// aloneness decides whether a replica that expects nobody else founds a cluster: if all that --cluster.peer leads to is
// this replica itself, and nobody else has shown up for a while. An empty directory cannot tell a first start from a
// lost disk, and that nobody answers does not mean that nobody is there; so only the command line can say that this one
// is the first.
type aloneness struct {
	name     string
	peers    []string
	resolver resolver
	own      func(netip.AddrPort) bool // whether this replica gossips there
	every    time.Duration             // between two looks at the peers
	settle   time.Duration

	looked time.Time // at the peers, last
	other  string    // what was found there that is not this replica, "" = nothing
	since  time.Time // since when nothing has spoken against it, zero: something does
}

// check returns nil when the replica may found a cluster, otherwise what it waits for.
func (a *aloneness) check(ctx context.Context, now time.Time, seen []string) error {
	if len(a.peers) == 0 {
		return nil
	}
	if a.looked.IsZero() || now.Sub(a.looked) >= a.every {
		a.looked, a.other = now, a.elsewhere(ctx)
	}
	why := a.other
	if why == "" && len(seen) > 0 {
		why = strings.Join(seen, ",") + " is here, too"
	}
	if why != "" {
		a.since = time.Time{}
		return fmt.Errorf("to be added by the cluster that --cluster.peer names, because %s; to form a new one set --cluster.bootstrap-expect to the number of its replicas, on each of them, or give the first of them no --cluster.peer but itself", why)
	}
	if a.since.IsZero() {
		a.since = now
	}
	if now.Sub(a.since) < a.settle {
		return fmt.Errorf("for nobody else to show up for %s, because all that --cluster.peer leads to is this replica", a.settle)
	}
	return nil
}

// elsewhere tells which peer may be somebody else, "" when none is.
func (a *aloneness) elsewhere(ctx context.Context) string {
	d := discovery{resolver: a.resolver}
	for _, peer := range a.peers {
		addresses, err := d.resolve(ctx, peer)
		if err != nil {
			return fmt.Sprintf("%s has no address yet (%v)", peer, err)
		}
		for _, address := range addresses {
			if at, err := netip.ParseAddrPort(address); err != nil || !a.own(at) {
				return fmt.Sprintf("%s leads to %s, which is not this replica", peer, address)
			}
		}
	}
	if !slices.ContainsFunc(a.peers, func(peer string) bool { return namesOne(peer, a.name) }) {
		return fmt.Sprintf("none names this replica alone: its address, or a name that begins with %s", a.name)
	}
	return ""
}

// namesOne tells whether a peer is one replica by what it is called, and not the name of all of them, which may lead to one while
// the others are away: an IP address, or a host name that goes with the replica's name.
func namesOne(peer, name string) bool {
	host, _, err := splitHostPort(peer)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == name || strings.HasPrefix(host, name+".") || strings.HasPrefix(name, host+".")
}

// isOwnGossip tells whether this replica gossips at the address.
func (a addresses) isOwnGossip(at netip.AddrPort) bool {
	bind := a.gossipBind
	switch {
	case at == a.gossipAdvertise || at == bind:
		return true
	case !bind.Addr().IsUnspecified() || at.Port() != bind.Port() || bind.Addr().Is4() && !at.Addr().Is4():
		return false
	case at.Addr().IsLoopback():
		return true
	}
	locals, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, local := range locals {
		if prefix, err := netip.ParsePrefix(local.String()); err == nil && prefix.Addr().Unmap() == at.Addr().WithZone("") {
			return true
		}
	}
	return false
}
