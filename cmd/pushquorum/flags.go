package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	webflag "github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"pushquorum/api"
	"pushquorum/cluster"
)

// options is the command line: the Pushgateway's flags, and ours.
type options struct {
	web           *web.FlagConfig
	telemetryPath string
	externalURL   *url.URL
	routePrefix   string
	lifecycle     bool
	admin         bool
	includeSelf   string // auto, true or false
	drainDelay    time.Duration

	maxConnections int

	persistenceFile     string
	persistenceInterval time.Duration
	unchecked           bool
	utf8Names           bool
	pushTimeout         time.Duration
	maxBody             units.Base2Bytes
	maxPushes           int
	read                api.ReadPolicy

	cluster       cluster.Config
	snapshotBytes units.Base2Bytes

	// What is auto, or 0 for a number, follows from the machine: see share, which sets limits.
	stateBytes, pageBytes, bytesInFlight, minFree *autoBytes

	limits shares

	autoMemory  bool    // set the runtime's memory limit …
	memoryRatio float64 // … to this part of what there is

	// recover is set by the command of that name; acceptLoss lets it act, and dropUnreadable where the log cannot be
	// read to its end; ifNeeded makes nothing to recover no error.
	recover, acceptLoss, dropUnreadable, ifNeeded bool

	log promslog.Config
	// shown are the values of all flags, for the status page.
	shown map[string]string
}

// parseOptions reads the command line. It exits for --help and --version.
func parseOptions(args []string) (*options, error) {
	o := &options{log: promslog.Config{Style: promslog.GoKitStyle}}
	app := kingpin.New(filepath.Base(os.Args[0]), "A clustered, highly available drop-in for the Prometheus Pushgateway").UsageWriter(os.Stdout)
	app.Version(version.Print("pushquorum"))
	app.HelpFlag.Short('h')

	o.web = webflag.AddFlags(app, ":9091")
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").StringVar(&o.telemetryPath)
	app.Flag("web.external-url", "The URL under which the Pushgateway is externally reachable.").Default("").URLVar(&o.externalURL)
	app.Flag("web.route-prefix", "Prefix for the internal routes of web endpoints. Defaults to the path of --web.external-url.").StringVar(&o.routePrefix)
	app.Flag("web.enable-lifecycle", "Enable shutdown via HTTP request.").BoolVar(&o.lifecycle)
	app.Flag("web.enable-admin-api", "Enable API endpoints for admin control actions.").BoolVar(&o.admin)
	app.Flag("web.include-self-metrics", "Whether the telemetry path shows this process's own metrics beside the pushed ones. auto: in standalone mode only, because replicas of a cluster show the same bytes; they are always at /-/metrics.").
		Default("auto").EnumVar(&o.includeSelf, "auto", "true", "false")

	app.Flag("web.drain-delay", "How long a replica of a cluster goes on serving after SIGTERM, while /-/ready answers 503: longer than load balancers need to notice. A second signal ends the wait; a replica that is the only voter does not wait.").
		Default("5s").DurationVar(&o.drainDelay)

	o.pageBytes = autoBytesFlag(app, "web.max-page-bytes",
		"Memory for the pages that are kept for scrapes, being built or being sent. A scrape for whose page there is no room is made while it is sent, which takes longer. auto: a quarter of the memory that this process may use; 0: any number.")
	app.Flag("web.max-connections", "Connections to the HTTP port at a time. Beyond that the one that has been without a request for the longest time is closed. 0: half of the file descriptors this process may have, at most 4096, fewer with little memory.").
		Default("0").SetValue((*whole)(&o.maxConnections))

	app.Flag("persistence.file", "A Pushgateway's persistence file, imported once into an empty store and never written.").StringVar(&o.persistenceFile)
	app.Flag("persistence.interval", "Accepted for the Pushgateway's sake, without effect: every push is durable when it is answered.").DurationVar(&o.persistenceInterval)
	app.Flag("push.disable-consistency-check", "A good push is answered 202 instead of 200, as the Pushgateway does with this flag: old clients take nothing else. It is checked all the same, which costs no more than the push.").BoolVar(&o.unchecked)
	app.Flag("push.enable-utf8-names", "Allow UTF-8 characters in metric and label names.").BoolVar(&o.utf8Names)
	app.Flag("push.timeout", "How long a push may wait and be replicated, once its body has arrived, before it is answered 503: less than the 10s after which many clients give up. The body may take as long to arrive, or is answered 408.").Default("8s").DurationVar(&o.pushTimeout)
	app.Flag("push.max-body-size", "Largest body of a push, after decompression.").Default("16MB").BytesVar(&o.maxBody)
	o.bytesInFlight = autoBytesFlag(app, "push.max-bytes-in-flight",
		"Memory of all pushes that are under way, from their bodies to their answers. A push waits for it for half of --push.timeout, and is then answered 503; one that could never fit is answered 413. auto: an eighth of the memory this process may use, from 8MB to 1GB.")
	app.Flag("push.max-requests", "Pushes under way at a time; more are answered 503. 0: three quarters of --web.max-connections.").Default("0").SetValue((*whole)(&o.maxPushes))

	app.Flag("read.consistency", "What a scrape promises. available: the latest state while a leader answers, else the last known one, marked as stale; linearizable: never stale; local: never asks.").
		Default(string(api.Available)).EnumVar((*string)(&o.read.Consistency), string(api.Available), string(api.Linearizable), string(api.Local))
	app.Flag("read.timeout", "How long a scrape waits for a leader.").Default("1s").DurationVar(&o.read.Timeout)
	app.Flag("read.max-staleness", "Oldest state that --read.consistency=available serves.").Default("5m").DurationVar(&o.read.MaxStaleness)

	c := &o.cluster
	app.Flag("storage.path", "Directory of this replica's data.").Default("./data").StringVar(&c.DataDir)
	app.Flag("storage.log", "How the log is kept. wal: in segments, one fsync for an append; bbolt: in a bbolt file. An existing log is not moved.").
		Default(cluster.LogWAL).EnumVar(&c.LogStore, cluster.LogWAL, cluster.LogBbolt)
	app.Flag("storage.snapshot-entries", "Take a snapshot after so many log entries, and keep as many behind it for replicas that were away.").
		Default("65536").Uint64Var(&c.SnapshotEntries)
	app.Flag("storage.snapshot-bytes", "Take a snapshot after so many bytes of log entries, or after twice as many as the last snapshot has, if those are more.").Default("64MB").BytesVar(&o.snapshotBytes)
	o.minFree = autoBytesFlag(app, "storage.min-free",
		"How much of the file system of --storage.path must be free: below it pushes get 507 (Insufficient Storage), and deleting is still possible. auto: 5 % of it or 200MB, whichever is less; 0: nothing.")
	app.Flag("cluster.name", "Name of this replica, a label for people. Defaults to the hostname.").StringVar(&c.Name)
	app.Flag("cluster.listen-address", "Address of the gossip port, TCP and UDP. Empty: standalone.").
		StringVar(&c.ListenAddress)
	app.Flag("cluster.advertise-address", "Address at which other replicas reach the gossip port. Defaults to the "+
		"listen address, or a private one of this host.").
		StringVar(&c.AdvertiseAddress)
	app.Flag("cluster.peer-listen-address", "Address of the peer port, TCP, for consensus and everything else between "+
		"replicas but the gossip. Defaults to the gossip port's host and the next port.").
		StringVar(&c.PeerListenAddress)
	app.Flag("cluster.peer-advertise-address", "Address at which other replicas reach the peer port. Defaults to the "+
		"gossip port's advertised host.").
		StringVar(&c.PeerAdvertiseAddress)
	// The names they had first.
	app.Flag("cluster.raft-listen-address", "").Hidden().StringVar(&c.PeerListenAddress)
	app.Flag("cluster.raft-advertise-address", "").Hidden().StringVar(&c.PeerAdvertiseAddress)
	app.Flag("cluster.peer", "host:port of another replica's gossip port. Repeatable; a DNS name stands for all its addresses and is resolved again.").StringsVar(&c.Peers)
	app.Flag("cluster.label", "Carried by each packet and stream of the gossip; those with another one are dropped. Set it, the same on all replicas of a cluster, when several clusters live on one network.").StringVar(&c.Label)
	app.Flag("cluster.bootstrap-expect", "Number of fresh replicas that must see each other before they form a cluster. The same on all of them. With 1, a replica founds a cluster alone if there is no --cluster.peer, or if all they lead to is itself and one names it alone.").
		Default("1").SetValue((*whole)(&c.BootstrapExpect))
	app.Flag("cluster.dead-server-grace", "How long a replica may be missing before the others no longer count it. One whose place was taken by a new one of the same name, with an empty directory, is removed at once; never are fewer than three voters left.").
		Default("10m").DurationVar(&c.DeadServerGrace)

	app.Flag("auto-gomemlimit", "Set the runtime's memory limit (GOMEMLIMIT) from the control group's, or the machine's memory.").
		Default("true").BoolVar(&o.autoMemory)
	app.Flag("auto-gomemlimit.ratio", "The part of that memory: the rest is for what the runtime does not count.").
		Default("0.9").Float64Var(&o.memoryRatio)
	o.stateBytes = autoBytesFlag(app, "limit.state-bytes",
		"Memory that the stored groups may take, such as 512MB; a push that would exceed it gets 429. auto: a share of the memory that this process may use; 0: any number. This and the other limits: the same on all replicas, the leader's is kept.")
	app.Flag("limit.series", "Series that may be stored. 0: any number.").Default("0").SetValue((*whole)(&c.Limits.Series))
	app.Flag("limit.groups", "Groups that may be stored. 0: any number.").Default("0").SetValue((*whole)(&c.Limits.Groups))
	app.Flag("limit.series-per-group", "Series that one group may have. 0: any number.").Default("0").SetValue((*whole)(&c.Limits.SeriesPerGroup))

	promslogflag.AddFlags(app, &o.log)
	app.Command("serve", "Run one replica. This is what happens without a command.").Default()
	recovery := app.Command("recover", "Make a new cluster out of this replica's data directory, after the others were lost for good, or go on without an end of the log that cannot be read. Takes the flags the replica is run with; says what it finds, and acts only with --accept-loss.")
	recovery.Flag("accept-loss", "Go on, and lose what only the other replicas had.").BoolVar(&o.acceptLoss)
	recovery.Flag("if-needed", "Succeed where there is nothing to recover: in an empty directory, or in that of an only member.").BoolVar(&o.ifNeeded)
	recovery.Flag("drop-unreadable", "With --accept-loss: also lose the log from the first entry on that cannot be read.").BoolVar(&o.dropUnreadable)
	command, err := app.Parse(args)
	if err != nil {
		return nil, mistake(app, args, err)
	}
	o.recover = command == recovery.FullCommand()
	c.SnapshotBytes = uint64(o.snapshotBytes)
	if c.MinFree = o.minFree.or(0); !o.minFree.auto && c.MinFree == 0 {
		c.MinFree = -1 // nothing need be free
	}

	o.shown = map[string]string{}
	boilerplate := kingpin.New("", "").Version("")
	for _, f := range app.Model().Flags {
		if boilerplate.GetFlag(f.Name) == nil && !f.Hidden {
			o.shown[f.Name] = f.Value.String()
		}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

// check refuses values that cannot work together, in a line that says what to write instead.
func (o *options) check() error {
	c := &o.cluster
	if c.DataDir == "" {
		return errors.New("--storage.path is empty: name a directory for this replica's data, such as --storage.path=./data")
	}
	if c.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("the hostname is not known (%w): name this replica with --cluster.name", err)
		}
		c.Name = name
	}
	for _, wait := range []struct {
		flag string
		time time.Duration
	}{
		{"push.timeout", o.pushTimeout},
		{"read.timeout", o.read.Timeout},
		{"read.max-staleness", o.read.MaxStaleness},
		{"cluster.dead-server-grace", c.DeadServerGrace},
	} {
		if wait.time <= 0 {
			return fmt.Errorf("--%s=%s is no time to wait: write a positive duration, such as --%s=%s", wait.flag, wait.time, wait.flag, time.Second)
		}
	}
	if err := checkMemoryRatio(o.memoryRatio); err != nil {
		return err
	}
	if o.drainDelay < 0 {
		return fmt.Errorf("--web.drain-delay=%s is no time to wait: write how long load balancers need to notice that this replica is stopping, such as --web.drain-delay=5s, or 0s", o.drainDelay)
	}
	switch {
	case o.maxBody <= 0:
		return fmt.Errorf("--push.max-body-size=%s has no room for a push: write a size above 0, such as --push.max-body-size=16MB", o.maxBody)
	case o.snapshotBytes <= 0:
		return fmt.Errorf("--storage.snapshot-bytes=%s would take a snapshot all the time: write a size above 0, such as --storage.snapshot-bytes=64MB", o.snapshotBytes)
	case c.SnapshotEntries == 0:
		return errors.New("--storage.snapshot-entries=0 would take a snapshot all the time: write a number above 0, such as --storage.snapshot-entries=65536")
	}
	return o.checkLimits()
}
