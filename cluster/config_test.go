package cluster

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/fsm"
)

func TestSettingsThatCannotWorkAreRefusedWithTheFlag(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no directory", func(c *Config) { c.DataDir = "" }, "--storage.path"},
		{"no name", func(c *Config) { c.Name = "" }, "--cluster.name"},
		{"a name too long for gossip", func(c *Config) { c.Name = strings.Repeat("x", 200) }, "--cluster.name"},
		{"a negative number of replicas", func(c *Config) { c.BootstrapExpect = -1 }, "--cluster.bootstrap-expect"},
		{"peers without an address", func(c *Config) { c.Peers = []string{"a:1"} }, "--cluster.listen-address"},
		{"three expected without an address", func(c *Config) { c.BootstrapExpect = 3 }, "--cluster.listen-address"},
		{
			"an advertised address without a gossip", func(c *Config) { c.AdvertiseAddress = "a:1" },
			"--cluster.listen-address",
		},
		{"a peer port without a gossip", func(c *Config) { c.PeerListenAddress = "a:1" }, "--cluster.listen-address"},
		{"no such log", func(c *Config) { c.LogStore = "tape" }, "--storage.log"},
		{"a negative grace", func(c *Config) { c.DeadServerGrace = -1 }, "--cluster.dead-server-grace"},
		{
			"a peer without a port", func(c *Config) { c.ListenAddress, c.Peers = "127.0.0.1:7946", []string{"a"} },
			"--cluster.peer",
		},
		{"a label without an address", func(c *Config) { c.Label = "a" }, "--cluster.label"},
		{"a label too long for gossip", func(c *Config) {
			c.ListenAddress, c.Label = "127.0.0.1:7946", strings.Repeat("x", 256)
		}, "--cluster.label"},
		{"an address without a port", func(c *Config) { c.ListenAddress = "127.0.0.1" }, "--cluster.listen-address"},
		{"port zero", func(c *Config) { c.ListenAddress = "127.0.0.1:0" }, "--cluster.listen-address"},
		{
			"no room for the peer port", func(c *Config) { c.ListenAddress = "127.0.0.1:65535" },
			"--cluster.peer-listen-address",
		},
		{"gossip and peers on one port", func(c *Config) {
			c.ListenAddress, c.PeerListenAddress = "127.0.0.1:7946", "127.0.0.1:7946"
		}, "--cluster.peer-listen-address"},
		{"advertising all addresses", func(c *Config) {
			c.ListenAddress, c.AdvertiseAddress = "127.0.0.1:7946", "0.0.0.0:7946"
		}, "--cluster.advertise-address"},
		{"advertising an unknown name", func(c *Config) {
			c.ListenAddress, c.AdvertiseAddress = "127.0.0.1:7946", "nowhere.test:7946"
		}, "--cluster.advertise-address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			logger := slog.New(slog.DiscardHandler)
			cfg := Config{Name: "r1", DataDir: t.TempDir(), FSM: fsm.New(logger), Logger: logger}
			c.change(&cfg)
			tune := testTuning()
			tune.resolver = &fakeDNS{}
			if r, err := open(cfg, tune); err == nil {
				t.Errorf("opens; closing: %v", r.Close())
			} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line that names %s", err, c.want)
			} else {
				for _, port := range regexp.MustCompile(`:\d+`).FindAllString(err.Error(), -1) {
					if given := fmt.Sprint(cfg.Peers, cfg.ListenAddress, cfg.AdvertiseAddress,
						cfg.PeerListenAddress); !strings.Contains(given, port) && port != ":"+gossip.UsualPort {
						t.Errorf("%q proposes port %s; everywhere else it is %s", err, port, gossip.UsualPort)
					}
				}
			}
		})
	}
}

func TestAddressesThatAreLeftOutFollowFromTheOthers(t *testing.T) {
	dns := &fakeDNS{hosts: map[string][]string{"r1.test": {"::1", "10.1.2.3"}, "peer.test": {"10.9.9.9"}}}
	for _, c := range []struct {
		name                              string
		cfg                               Config
		gossip, peerListen, peerAdvertise string
	}{
		{"one address", Config{ListenAddress: "127.0.0.1:7946"}, "127.0.0.1:7946", "127.0.0.1:7947", "127.0.0.1:7947"},
		{
			"an advertised name",
			Config{ListenAddress: "0.0.0.0:7946", AdvertiseAddress: "r1.test:17946"},
			"10.1.2.3:17946", "0.0.0.0:7947", "10.1.2.3:7947",
		},
		{
			"a peer port of its own",
			Config{
				ListenAddress: "127.0.0.1:7946", PeerListenAddress: ":7000",
				PeerAdvertiseAddress: "peer.test:17000",
			},
			"127.0.0.1:7946", "0.0.0.0:7000", "10.9.9.9:17000",
		},
		{"IPv6", Config{ListenAddress: "[::1]:7946"}, "[::1]:7946", "[::1]:7947", "[::1]:7947"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := gossip.ResolveAddresses(c.cfg.addressFlags(), dns)
			if err != nil {
				t.Fatal(err)
			}
			if a.GossipAdvertise.String() != c.gossip || a.PeerListen != c.peerListen ||
				a.PeerAdvertise != c.peerAdvertise {
				t.Errorf("got %s, %s, %s; want %s, %s, %s", a.GossipAdvertise, a.PeerListen, a.PeerAdvertise, c.gossip,
					c.peerListen, c.peerAdvertise)
			}
		})
	}
}
