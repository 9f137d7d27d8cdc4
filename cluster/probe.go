package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/cluster/internal/server"
)

// probeTimeout is how long a recovery waits for each address at which a member might be.
const probeTimeout = 3 * time.Second

// refuseIfAnybodyAnswers asks at every address where a member might be, and returns an error when there is one. Those
// who are no members are noted. Who is somewhere else cannot be found: the report names the members, for people to
// know.
func refuseIfAnybodyAnswers(ctx context.Context, cfg *Config, tune tuning, cluster uuid.UUID,
	configuration raft.Configuration, self uuid.UUID, rec *Recovery,
) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	places, err := placesOfPeers(ctx, cfg, tune.resolver)
	if err != nil {
		return err
	}
	for _, s := range configuration.Servers {
		if a, err := server.ParseAddress(s.Address); err == nil && a.ID != self && a.Peer != "" {
			places = append(places, a.Peer)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	answers := make([]StatusReply, len(places))
	errs := make([]error, len(places))
	var wg sync.WaitGroup
	for i, place := range places {
		wg.Go(func() { answers[i], errs[i] = whoIs(ctx, tune.dial, place, self) })
	}
	wg.Wait()
	for i, place := range places {
		var refused raftnet.Answer
		switch a := answers[i]; {
		case errs[i] == nil && a.Cluster == cluster && a.ID != self:
			return fmt.Errorf("%s (%s) answers at %s and is a member of this cluster: its data may be newer than "+
				"this, and together the two may have a quorum; start this replica as usual, or stop that one first if "+
				"its data is to be given up",
				a.Name, a.ID, place)
		case errs[i] == nil:
			rec.Strangers = append(rec.Strangers, fmt.Sprintf("%s at %s", a.Name, place))
		case errors.As(errs[i], &refused):
			return fmt.Errorf("a replica answers at %s and does not say who it is (%w): stop it first", place, refused)
		}
	}
	return nil
}

// placesOfPeers gives the peer ports that belong to the configured gossip ports: the next port, as when none is set.
func placesOfPeers(ctx context.Context, cfg *Config, r gossip.Resolver) ([]string, error) {
	var out []string
	for _, peer := range cfg.Peers {
		host, port, err := gossip.SplitHostPort(peer)
		if err != nil {
			return nil, err
		}
		ips, err := gossip.Lookup(ctx, r, host)
		if err != nil {
			cfg.Logger.Warn("--cluster.peer does not resolve, so nobody can be asked there", "peer", peer, "err", err)
			continue
		}
		for _, ip := range ips {
			if port < 65535 {
				out = append(out, netip.AddrPortFrom(ip, port+1).String())
			}
		}
	}
	return out, nil
}

// whoIs asks whoever is at an address for its status.
func whoIs(ctx context.Context, dial raftnet.DialFunc, address string, self uuid.UUID) (StatusReply, error) {
	conn, err := raftnet.Dial(ctx, dial, address, raftnet.Hello{Kind: raftnet.KindRPC, Sender: self})
	if err != nil {
		return StatusReply{}, err
	}
	var reply StatusReply
	if err := raftnet.CallOnce(ctx, conn, "Status", &StatusArgs{}, &reply); err != nil {
		return StatusReply{}, err // as in askStatus
	}
	return reply, nil
}
