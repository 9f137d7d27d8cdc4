package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pushquorum/test/local"
)

// service is one server, or several that are one: something to push into.
type service interface {
	title() string
	addresses() []string
	processes() []*process
	// dialer connects the clients of one drive; each call is for another client, of the server at that place.
	dialer() func(ctx context.Context, at int, seed uint64) (client, error)
}

// web is a service that is pushed into and scraped over HTTP: PushQuorum, one replica or three, or a Pushgateway.
type web struct {
	name    string
	at      []string
	servers []*process
	stored  int             // status of a push that has been stored; 0 is 200
	push    func() template // nil is httpPush
}

func (w *web) title() string         { return w.name }
func (w *web) addresses() []string   { return w.at }
func (w *web) processes() []*process { return w.servers }

func (w *web) dialer() func(context.Context, int, uint64) (client, error) {
	return func(ctx context.Context, at int, seed uint64) (client, error) { return w.dial(ctx, at, seed) }
}

func (w *web) dial(ctx context.Context, at int, seed uint64) (*httpClient, error) {
	c, err := dialHTTP(ctx, w.at[at], pushBuffer)
	if err != nil {
		return nil, err
	}
	push := w.push
	if push == nil {
		push = httpPush
	}
	return &httpClient{c, newFiller(push(), seed), cmp.Or(w.stored, http.StatusOK)}, nil
}

// only is the i-th of the servers alone.
func (w *web) only(i int) *web {
	return &web{name: w.name, at: w.at[i : i+1], servers: w.servers[i : i+1], stored: w.stored, push: w.push}
}

// etcd is a cluster that is put into over gRPC.
type etcd struct{ web }

// dialer has all clients of one member share a connection, with which etcd's own client makes it do best, too.
func (e *etcd) dialer() func(context.Context, int, uint64) (client, error) {
	shared := map[int]*grpcConn{}
	return func(ctx context.Context, at int, seed uint64) (client, error) {
		if shared[at] == nil {
			c, err := dialGRPC(ctx, e.at[at], "/etcdserverpb.KV/Put")
			if err != nil {
				return nil, err
			}
			shared[at] = c
		}
		shared[at].users++
		return &etcdClient{shared[at], newFiller(etcdPut(), seed), call{done: make(chan error, 1)}}, nil
	}
}

// stop ends the service and forgets what it stored: only what a figure needs is running and on the disk.
func (b *bench) stop(services ...service) {
	for _, s := range services {
		for _, p := range s.processes() {
			p.Kill()
			_ = os.RemoveAll(filepath.Join(b.dir, p.Name)) // the whole directory goes at the end
		}
	}
}

const (
	oneReplica    = "PushQuorum, one replica"
	threeReplicas = "PushQuorum, three replicas"
	replicas      = 3
)

// startOne starts a replica by itself, as `pushquorum` without flags is one.
func (b *bench) startOne(ctx context.Context, flags ...string) (*web, error) {
	port, err := b.ports.Free()
	if err != nil {
		return nil, err
	}
	name := b.unique("pushquorum")
	args := append([]string{"--web.listen-address=" + local.Address(port), "--storage.path=" + filepath.Join(b.dir,
		name)}, flags...)
	p, err := b.start(name, b.binary, args...)
	if err != nil {
		return nil, err
	}
	w := &web{name: oneReplica, at: []string{local.Address(port)}, servers: []*process{p}}
	err = w.ready(ctx)
	return w, err
}

// startThree starts a cluster of three.
func (b *bench) startThree(ctx context.Context, flags ...string) (*web, error) {
	w := &web{name: threeReplicas}
	name := b.unique("pushquorum")
	var gossip []string
	for range replicas {
		port, err := b.ports.Free()
		if err != nil {
			return nil, err
		}
		gossip = append(gossip, local.Address(port))
	}
	for i := range replicas {
		port, err := b.ports.Free()
		if err != nil {
			return nil, err
		}
		each := fmt.Sprintf("%s-r%d", name, i+1)
		args := []string{
			"--web.listen-address=" + local.Address(port), "--storage.path=" + filepath.Join(b.dir, each),
			fmt.Sprintf("--cluster.name=r%d", i+1),
			"--cluster.listen-address=" + gossip[i], fmt.Sprintf("--cluster.bootstrap-expect=%d", replicas),
		}
		for _, peer := range gossip {
			args = append(args, "--cluster.peer="+peer)
		}
		p, err := b.start(each, b.binary, append(args, flags...)...)
		if err != nil {
			return nil, err
		}
		w.at, w.servers = append(w.at, local.Address(port)), append(w.servers, p)
	}
	err := w.ready(ctx)
	return w, err
}

// ready waits until every server can take requests.
func (w *web) ready(ctx context.Context) error {
	for i, p := range w.servers {
		if err := p.answers(ctx, w.at[i], "/-/ready"); err != nil {
			return err
		}
	}
	return nil
}

// startPushgateway starts the peer; a persistence file, which it reads at the start and writes at the end, may be "".
func (b *bench) startPushgateway(ctx context.Context, checked bool, persistence string) (*web, error) {
	program, err := b.peers.pushgateway()
	if err != nil {
		return nil, err
	}
	port, err := b.ports.Free()
	if err != nil {
		return nil, err
	}
	w := &web{name: "Pushgateway", at: []string{local.Address(port)}}
	args := []string{"--web.listen-address=" + local.Address(port), "--web.enable-admin-api"}
	if !checked {
		w.name = "Pushgateway, unchecked"
		w.stored = http.StatusAccepted // it does not wait to see
		args = append(args, "--push.disable-consistency-check")
	}
	if persistence != "" {
		args = append(args, "--persistence.file="+persistence)
	}
	p, err := b.start(b.unique("pushgateway"), program, args...)
	if err != nil {
		return nil, err
	}
	w.servers = []*process{p}
	err = w.ready(ctx)
	return w, err
}

// startEtcd starts three members with their defaults, but for a quota that a long run does not reach.
func (b *bench) startEtcd(ctx context.Context) (*etcd, error) {
	program, err := b.peers.etcd()
	if err != nil {
		return nil, err
	}
	e := &etcd{web{name: "etcd, three members"}}
	name := b.unique("etcd")
	var cluster, peerURLs []string
	for i := range replicas {
		client, err := b.ports.Free()
		if err != nil {
			return nil, err
		}
		peer, err := b.ports.Free()
		if err != nil {
			return nil, err
		}
		e.at = append(e.at, local.Address(client))
		peerURLs = append(peerURLs, "http://"+local.Address(peer))
		cluster = append(cluster, fmt.Sprintf("%s-m%d=http://%s", name, i+1, local.Address(peer)))
	}
	for i := range replicas {
		each := fmt.Sprintf("%s-m%d", name, i+1)
		p, err := b.start(
			each, program, "--name="+each, "--data-dir="+filepath.Join(b.dir, each),
			"--listen-client-urls=http://"+e.at[i], "--advertise-client-urls=http://"+e.at[i],
			"--listen-peer-urls="+peerURLs[i], "--initial-advertise-peer-urls="+peerURLs[i],
			"--initial-cluster="+strings.Join(cluster, ","), "--initial-cluster-token="+name,
			"--initial-cluster-state=new",
			"--quota-backend-bytes=8589934592",
		)
		if err != nil {
			return nil, err
		}
		e.servers = append(e.servers, p)
	}
	for i, p := range e.servers {
		if err := p.answers(ctx, e.at[i], "/health"); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// startMemory starts this program again as a server that answers with the bytes of the files at /text, /protobuf and
// /gzip.
func (b *bench) startMemory(ctx context.Context, dir string) (*web, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	port, err := b.ports.Free()
	if err != nil {
		return nil, err
	}
	p, err := b.start(b.unique("memory"), self, "-serve="+dir, "-listen="+local.Address(port))
	if err != nil {
		return nil, err
	}
	w := &web{name: "net/http from memory", at: []string{local.Address(port)}, servers: []*process{p}}
	err = p.answers(ctx, local.Address(port), "/ready")
	return w, err
}

// unique is a name that no process has had yet.
func (b *bench) unique(name string) string {
	b.started++
	return fmt.Sprintf("%s-%d", name, b.started)
}

// restart kills every one of the servers at once, starts them again, and says how long it took until all were ready.
func (b *bench) restart(ctx context.Context, w *web) (time.Duration, error) {
	for _, p := range w.servers {
		p.Kill()
	}
	began := time.Now()
	for _, p := range w.servers {
		if err := p.Start(b.spawner); err != nil {
			return 0, err
		}
	}
	err := w.ready(ctx)
	return time.Since(began), err
}
