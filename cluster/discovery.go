package cluster

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// discovery keeps trying to reach the configured peers. A peer is a name, not an address: it is resolved anew each time,
// because what it stands for changes when replicas move.
//
// While nothing is settled it joins those whom the gossip holds for alive as well. The gossip tells of a newcomer a few times
// and then compares notes with one other replica in half a minute; who could not hear at the time, a leader that was cut off
// for example, would not know the newcomer, and it would not know that.
type discovery struct {
	peers    []string
	resolver resolver
	logger   *slog.Logger
	own      map[string]bool        // this replica's gossip addresses
	known    func() map[string]bool // gossip addresses of the living
	join     func(address string) error
	settled  func() bool   // others are there, and one of them leads, or this one
	quick    time.Duration // between two rounds while nothing is settled
	slow     time.Duration // and when all is
	places   *places

	failed map[string]string // peer → last failure, so that each is logged once
}

// run resolves and joins until ctx ends. It returns when the last attempt to join has ended, a few seconds later at most.
func (d *discovery) run(ctx context.Context) {
	if len(d.peers) == 0 {
		return
	}
	d.failed = map[string]string{}
	for {
		d.round(ctx)
		for ended := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(d.quick):
			}
			if !d.settled() || time.Since(ended) >= d.slow {
				break
			}
		}
	}
}

func (d *discovery) round(ctx context.Context) {
	known := maps.Clone(d.own)
	if d.settled() {
		known = d.known()
	}
	var wg sync.WaitGroup
	var reached atomic.Bool
	elsewhere := false // whether the peers lead to anybody but this replica
	for _, peer := range d.peers {
		resolved, err := resolvePeer(ctx, d.resolver, peer)
		if ctx.Err() != nil {
			break
		}
		var addresses []string
		for _, a := range resolved {
			addresses = append(addresses, a.String())
		}
		d.note(peer, err)
		if err == nil {
			d.places.set(peer, addresses)
		} else {
			elsewhere = true // for all that is known
		}
		for _, a := range addresses {
			elsewhere = elsewhere || !d.own[a]
			if known[a] {
				continue
			}
			known[a] = true
			wg.Go(func() {
				if err := d.join(a); err != nil {
					d.logger.Debug("cannot join a peer yet", "peer", peer, "address", a, "err", err)
					return
				}
				reached.Store(true)
			})
		}
	}
	wg.Wait()
	if reached.Load() || !elsewhere {
		d.places.wereReached()
	}
}

// resolvePeer gives all addresses of a host:port, at least one.
func resolvePeer(ctx context.Context, r resolver, peer string) ([]netip.AddrPort, error) {
	host, port, err := splitHostPort(peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := lookup(ctx, r, host)
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
func (d *discovery) note(peer string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if d.failed[peer] == text {
		return
	}
	d.failed[peer] = text
	if err != nil {
		d.logger.Warn("--cluster.peer does not resolve, trying again", "peer", peer, "err", err)
	} else {
		d.logger.Info("--cluster.peer resolves again", "peer", peer)
	}
}
