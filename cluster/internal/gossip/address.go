package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"pushquorum/cluster/internal/listening"
)

// Resolver is the part of net.Resolver that is used.
type Resolver interface {
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
}

// Addresses is where a replica listens and what it tells others.
type Addresses struct {
	GossipBind, GossipAdvertise netip.AddrPort
	PeerListen                  string // host:port
	PeerAdvertise               string // ip:port
}

const resolveTimeout = 5 * time.Second

// UsualPort is the gossip port in every example, here and in the README; the peer port is the next one.
const UsualPort = "7946"

// Flags are the flags that say where a replica listens and what others are told; host:port, "" where the default
// counts.
type Flags struct {
	ListenAddress, AdvertiseAddress         string // of the gossip
	PeerListenAddress, PeerAdvertiseAddress string
	Peers                                   []string
}

// ResolveAddresses turns the flags into addresses. Host names are resolved anew at every start.
func ResolveAddresses(cfg Flags, r Resolver) (Addresses, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	var a Addresses
	var err error
	if a.GossipBind, err = resolveOne(ctx, r, "--cluster.listen-address", cfg.ListenAddress); err != nil {
		return a, err
	}
	switch {
	case cfg.AdvertiseAddress != "":
		if a.GossipAdvertise, err = resolveOne(ctx, r, "--cluster.advertise-address",
			cfg.AdvertiseAddress); err != nil {
			return a, err
		}
	case a.GossipBind.Addr().IsUnspecified():
		has, err := hostAddresses()
		if err != nil {
			return a, fmt.Errorf("looking for the addresses of this host: %w", err)
		}
		ip, err := ownAddress(has, resolvePeers(ctx, r, cfg.Peers), sourceOf)
		if err != nil {
			return a, fmt.Errorf("--cluster.listen-address=%s listens on all addresses, and which one to tell the "+
				"others is not clear (%w): set --cluster.advertise-address to one that they reach, for example "+
				"10.0.0.1:%s", cfg.ListenAddress, err, UsualPort)
		}
		a.GossipAdvertise = netip.AddrPortFrom(ip, a.GossipBind.Port())
	default:
		a.GossipAdvertise = a.GossipBind
	}
	if a.GossipAdvertise.Addr().IsUnspecified() {
		return a, fmt.Errorf("--cluster.advertise-address=%s: others cannot connect to that: give an address of this "+
			"host", cfg.AdvertiseAddress)
	}

	a.PeerListen = cfg.PeerListenAddress
	if a.PeerListen == "" {
		if a.GossipBind.Port() == 65535 {
			return a, fmt.Errorf("--cluster.listen-address=%s is the highest port, so that there is no next one for "+
				"the peer port: set --cluster.peer-listen-address", cfg.ListenAddress)
		}
		a.PeerListen = netip.AddrPortFrom(a.GossipBind.Addr(), a.GossipBind.Port()+1).String()
	}
	peer, err := resolveOne(ctx, r, "--cluster.peer-listen-address", a.PeerListen)
	if err != nil {
		return a, err
	}
	if sameListener(a.GossipBind, peer) {
		return a, fmt.Errorf("--cluster.peer-listen-address=%s is taken by the gossip port, which uses TCP, too: give "+
			"the peer port another number", a.PeerListen)
	}
	a.PeerListen = peer.String()
	advertise := netip.AddrPortFrom(a.GossipAdvertise.Addr(), peer.Port())
	if cfg.PeerAdvertiseAddress != "" {
		advertise, err = resolveOne(ctx, r, "--cluster.peer-advertise-address", cfg.PeerAdvertiseAddress)
		if err != nil {
			return a, err
		}
		if advertise.Addr().IsUnspecified() {
			return a, fmt.Errorf("--cluster.peer-advertise-address=%s: others cannot connect to that: give an address "+
				"of this host", cfg.PeerAdvertiseAddress)
		}
	}
	a.PeerAdvertise = advertise.String()
	return a, nil
}

// sameListener tells whether two addresses cannot be listened on at once.
func sameListener(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && (a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}

// resolveOne gives the first address of a host:port; IPv4 is preferred. An empty host is all addresses.
func resolveOne(ctx context.Context, r Resolver, flag, hostPort string) (netip.AddrPort, error) {
	host, port, err := SplitHostPort(hostPort)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s=%s %w", flag, hostPort, err)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port), nil
	}
	ips, err := Lookup(ctx, r, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s=%s: %w: give an IP address or a name that resolves", flag, hostPort,
			listening.Fault(err))
	}
	for _, ip := range ips {
		if ip.Is4() {
			return netip.AddrPortFrom(ip, port), nil
		}
	}
	return netip.AddrPortFrom(ips[0], port), nil
}

// SplitHostPort gives the host and the port, which is not 0. The error says what is wrong, without the address.
func SplitHostPort(hostPort string) (string, uint16, error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", 0, fmt.Errorf("is not of the form host:port: write it so, such as 10.0.0.1:%s", UsualPort)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return "", 0, fmt.Errorf("has no port that others can be told: give one between 1 and 65535, such as "+
			"10.0.0.1:%s", UsualPort)
	}
	return host, uint16(port), nil
}

// Lookup gives all addresses of a host, at least one.
func Lookup(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
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

// IsOwnGossip tells whether this replica gossips at the address.
func (a Addresses) IsOwnGossip(at netip.AddrPort) bool {
	bind := a.GossipBind
	switch {
	case at == a.GossipAdvertise || at == bind:
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
		if prefix, err := netip.ParsePrefix(local.String()); err == nil &&
			prefix.Addr().Unmap() == at.Addr().WithZone("") {
			return true
		}
	}
	return false
}
