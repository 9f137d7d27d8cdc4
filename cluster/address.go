package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// addresses is where a replica listens and what it tells others.
type addresses struct {
	gossipBind, gossipAdvertise netip.AddrPort
	peerListen                  string // host:port
	peerAdvertise               string // ip:port
}

const resolveTimeout = 5 * time.Second

// resolveAddresses turns the flags into addresses. Host names are resolved anew at every start.
func resolveAddresses(cfg *Config, r resolver) (addresses, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	var a addresses
	var err error
	if a.gossipBind, err = resolveOne(ctx, r, "--cluster.listen-address", cfg.ListenAddress); err != nil {
		return a, err
	}
	switch {
	case cfg.AdvertiseAddress != "":
		if a.gossipAdvertise, err = resolveOne(ctx, r, "--cluster.advertise-address", cfg.AdvertiseAddress); err != nil {
			return a, err
		}
	case a.gossipBind.Addr().IsUnspecified():
		ip, err := privateIP()
		if err != nil {
			return a, fmt.Errorf("--cluster.listen-address=%s listens on all addresses and no private one was found to tell the others (%w): set --cluster.advertise-address", cfg.ListenAddress, err)
		}
		a.gossipAdvertise = netip.AddrPortFrom(ip, a.gossipBind.Port())
	default:
		a.gossipAdvertise = a.gossipBind
	}
	if a.gossipAdvertise.Addr().IsUnspecified() {
		return a, fmt.Errorf("--cluster.advertise-address=%s: others cannot connect to that; give an address of this host", cfg.AdvertiseAddress)
	}

	a.peerListen = cfg.RaftListenAddress
	if a.peerListen == "" {
		if a.gossipBind.Port() == 65535 {
			return a, fmt.Errorf("--cluster.listen-address=%s leaves no port for the peers: set --cluster.raft-listen-address", cfg.ListenAddress)
		}
		a.peerListen = netip.AddrPortFrom(a.gossipBind.Addr(), a.gossipBind.Port()+1).String()
	}
	peer, err := resolveOne(ctx, r, "--cluster.raft-listen-address", a.peerListen)
	if err != nil {
		return a, err
	}
	if peer == a.gossipBind {
		return a, fmt.Errorf("--cluster.raft-listen-address=%s is the gossip's address too: give it another port, or leave it out to take the next one", a.peerListen)
	}
	a.peerListen = peer.String()
	advertise := netip.AddrPortFrom(a.gossipAdvertise.Addr(), peer.Port())
	if cfg.RaftAdvertiseAddress != "" {
		if advertise, err = resolveOne(ctx, r, "--cluster.raft-advertise-address", cfg.RaftAdvertiseAddress); err != nil {
			return a, err
		}
	}
	a.peerAdvertise = advertise.String()
	return a, nil
}

// resolveOne gives the first address of a host:port; IPv4 is preferred. An empty host is all addresses.
func resolveOne(ctx context.Context, r resolver, flag, hostPort string) (netip.AddrPort, error) {
	host, port, err := splitHostPort(hostPort)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s: %w", flag, err)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
	}
	ips, err := lookup(ctx, r, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s=%s: %w; give an IP address or a name that resolves", flag, hostPort, err)
	}
	for _, ip := range ips {
		if ip.Is4() {
			return netip.AddrPortFrom(ip, port), nil
		}
	}
	return netip.AddrPortFrom(ips[0], port), nil
}

func splitHostPort(hostPort string) (string, uint16, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not of the form host:port, such as 10.0.0.1:9094", hostPort)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return "", 0, fmt.Errorf("%q: give a port between 1 and 65535", hostPort)
	}
	return host, uint16(port), nil
}

// lookup gives all addresses of a host, at least one.
func lookup(ctx context.Context, r resolver, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	found, err := r.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, f := range found {
		if ip, ok := netip.AddrFromSlice(f.IP); ok {
			out = append(out, ip.Unmap().WithZone(f.Zone))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no addresses", host)
	}
	return out, nil
}

// privateIP asks memberlist for the address it would advertise for 0.0.0.0, so that both always agree.
func privateIP() (netip.Addr, error) {
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{"0.0.0.0"},
		Logger:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	})
	if err != nil {
		return netip.Addr{}, err
	}
	ip, _, err := t.FinalAdvertiseAddr("", 0)
	if err := errors.Join(err, t.Shutdown()); err != nil {
		return netip.Addr{}, err
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%v is not an IP address", ip)
	}
	return addr.Unmap(), nil
}
