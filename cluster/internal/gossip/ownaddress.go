package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// internet stands for everything that is not nearby: an address for documentation (RFC 5737), to which nothing is ever
// sent.
func internet() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 9) }

// ownAddress chooses what a replica that listens on all addresses tells the others: the private IPv4 address of the
// default route; else the one from which this host reaches a peer; else the only one that it has. has are the addresses
// of its interfaces, and route gives the source address of packets to another.
func ownAddress(has []netip.Addr, peers []netip.AddrPort, route func(netip.AddrPort) (netip.Addr, error)) (netip.Addr,
	error,
) {
	if ip, err := route(internet()); err == nil && ip.Is4() && ip.IsPrivate() {
		return ip, nil
	}
	has = slices.DeleteFunc(slices.Clone(has), func(ip netip.Addr) bool { return !ip.IsGlobalUnicast() })
	for _, peer := range peers {
		// A peer on this host, or a name for it in /etc/hosts, is reached through the loopback, where no other host
		// gets to.
		if ip, err := route(peer); err == nil && (ip.IsGlobalUnicast() || ip.IsLoopback() && len(has) == 0) {
			return ip, nil
		}
	}
	switch len(has) {
	case 1:
		return has[0], nil
	case 0:
		return netip.Addr{}, errors.New("this host has no address that others could use")
	}
	names := make([]string, len(has))
	for i, ip := range has {
		names[i] = ip.String()
	}
	return netip.Addr{}, fmt.Errorf("this host has %d: %s", len(has), strings.Join(names, ", "))
}

// hostAddresses are those of the interfaces that are up.
func hostAddresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, prefix.Addr().Unmap())
			}
		}
	}
	return out, nil
}

// sourceOf asks the system for the source address of packets to another; a UDP socket is connected without sending one.
func sourceOf(to netip.AddrPort) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, err
	}
	ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return ip, conn.Close()
}

// resolvePeers gives the addresses of the peers whose names resolve now.
func resolvePeers(ctx context.Context, r Resolver, peers []string) (out []netip.AddrPort) {
	for _, peer := range peers {
		host, port, err := SplitHostPort(peer)
		if err != nil {
			continue
		}
		ips, err := Lookup(ctx, r, host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip, port))
		}
	}
	return out
}
