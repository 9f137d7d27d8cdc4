package gossip

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Discovery keeps trying to reach the configured peers. A peer is a name, not an address: it is resolved anew each
// time, because what it stands for changes when replicas move.
//
// While nothing is settled it joins those whom the gossip holds for alive as well. The gossip tells of a newcomer a few
// times and then compares notes with one other replica in half a minute; who could not hear at the time, a leader that
// was cut off for example, would not know the newcomer, and it would not know that.
type Discovery struct {
	Peers    []string
	Resolver Resolver
	Logger   *slog.Logger
	Own      map[string]bool        // this replica's gossip addresses
	Known    func() map[string]bool // gossip addresses of the living
	Join     func(address string) error
	Settled  func() bool   // others are there, and one of them leads, or this one
	Quick    time.Duration // between two rounds while nothing is settled
	Slow     time.Duration // and when all is
	Places   *Places

	failed map[string]string // peer → last failure, so that each is logged once
}

// Run resolves and joins until ctx ends. It returns when the last attempt to join has ended, a few seconds later at
// most.
func (d *Discovery) Run(ctx context.Context) {
	if len(d.Peers) == 0 {
		return
	}
	for {
		d.Round(ctx)
		for ended := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(d.Quick):
			}
			if !d.Settled() || time.Since(ended) >= d.Slow {
				break
			}
		}
	}
}

// Round resolves every peer once, and joins those that are not known yet. It returns when all attempts have ended.
func (d *Discovery) Round(ctx context.Context) {
	known := maps.Clone(d.Own)
	if d.Settled() {
		known = d.Known()
	}
	var wg sync.WaitGroup
	var reached atomic.Bool
	elsewhere := false // whether the peers lead to anybody but this replica
	for _, peer := range d.Peers {
		resolved, err := ResolvePeer(ctx, d.Resolver, peer)
		if ctx.Err() != nil {
			break
		}
		var addresses []string
		for _, a := range resolved {
			addresses = append(addresses, a.String())
		}
		d.note(peer, err)
		if err == nil {
			d.Places.Set(peer, addresses)
		} else {
			elsewhere = true // for all that is known
		}
		for _, a := range addresses {
			elsewhere = elsewhere || !d.Own[a]
			if known[a] {
				continue
			}
			known[a] = true
			wg.Go(func() {
				if err := d.Join(a); err != nil {
					d.Logger.Debug("cannot join a peer yet", "peer", peer, "address", a, "err", err)
					return
				}
				reached.Store(true)
			})
		}
	}
	wg.Wait()
	if reached.Load() || !elsewhere {
		d.Places.WereReached()
	}
}

// ResolvePeer gives all addresses of a host:port, at least one.
func ResolvePeer(ctx context.Context, r Resolver, peer string) ([]netip.AddrPort, error) {
	host, port, err := SplitHostPort(peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := Lookup(ctx, r, host)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		out[i] = netip.AddrPortFrom(ip, port)
	}
	return out, nil
}

// note logs when a peer begins or ceases to resolve.
func (d *Discovery) note(peer string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if d.failed == nil {
		d.failed = map[string]string{}
	}
	if d.failed[peer] == text {
		return
	}
	d.failed[peer] = text
	if err != nil {
		d.Logger.Warn("--cluster.peer does not resolve, trying again", "peer", peer, "err", err)
	} else {
		d.Logger.Info("--cluster.peer resolves again", "peer", peer)
	}
}
