package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pushquorum/test/local"
)

// haproxyConfig is what one would write: it checks /-/ready and sends requests to whoever is ready. It tries nothing
// twice, so that a request to a replica that has stopped too early fails.
const haproxyConfig = `global
    maxconn 256
defaults
    mode http
    retries 0
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout check 2s
frontend pushes
    bind %s
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /-/ready
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1
%s`

// startHAProxy starts haproxy in front of the replicas and returns its URL, once it serves.
func startHAProxy(t testing.TB, c *clusterOf) string {
	t.Helper()
	program := need(t, "haproxy")
	front := local.Address(freePort(t))
	var servers strings.Builder
	for _, r := range c.replicas {
		fmt.Fprintf(&servers, "    server %s %s\n", r.name, r.web)
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, front, servers.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "haproxy", program, "-db", "-f", config)
	awaitHTTP(t, p, "http://"+front+"/-/ready")
	return "http://" + front
}

// TestARollingRestartBehindALoadBalancerFailsNoRequest restarts all three, the leader first and whoever leads then
// next, while clients push, delete and scrape through haproxy. It prints the slowest push.
func TestARollingRestartBehindALoadBalancerFailsNoRequest(t *testing.T) {
	const clients, limit = 8, 3 * time.Second
	c := newCluster(t, "--web.drain-delay=3s")
	need(t, "haproxy") // before anything is started
	for _, r := range c.replicas {
		r.start()
	}
	c.mustBeReady()
	front := startHAProxy(t, c)

	quit := make(chan struct{})
	var wg sync.WaitGroup
	var requests, failed, slowest atomic.Int64
	for i := range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-quit:
					return
				default:
				}
				path := fmt.Sprintf("%s/metrics/job/rolling/client/%d", front, i)
				r, want := request{method: http.MethodPut, url: path, body: gauge("e2e_rolling", n)}, http.StatusOK
				switch n % 10 {
				case 3, 6:
					r.method = http.MethodPost
				case 8:
					r = request{url: front + "/metrics"}
				case 9:
					r, want = request{method: http.MethodDelete, url: path}, http.StatusAccepted
				}
				began := time.Now()
				a, err := do(r)
				took := time.Since(began)
				requests.Add(1)
				if err != nil || a.status != want || a.header.Get(staleHeader) != "" {
					failed.Add(1)
					t.Errorf("%s after %s: want %d, got %s stale %q (%v)", r, took, want, a, a.header.Get(staleHeader),
						err)
				}
				if r.method != "" && r.method != http.MethodGet {
					for {
						old := slowest.Load()
						if int64(took) <= old || slowest.CompareAndSwap(old, int64(took)) {
							break
						}
					}
				}
			}
		})
	}
	for restarted := map[*replica]bool{}; len(restarted) < len(c.replicas); {
		next := c.leader()
		if restarted[next] {
			next = slices.DeleteFunc(slices.Clone(c.replicas), func(r *replica) bool { return restarted[r] })[0]
		}
		next.stopNow()
		next.restart()
		restarted[next] = true
	}
	close(quit)
	wg.Wait()
	t.Logf("rolling restart of three: %d requests of %d clients, %d failed, slowest push %s",
		requests.Load(), clients, failed.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
	if took := time.Duration(slowest.Load()); took > limit {
		t.Errorf("the slowest push took %s, want at most %s", took, limit)
	}
	c.mustAgree()
}

func TestAStoppingReplicaIsNotReadyAtOnceAndFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--web.drain-delay=3s")
	leader := c.leader()
	others := c.followers()

	// A push whose body has only come in part when the signal comes.
	body := newHeldBody(gauge("e2e_held", 1))
	answered := make(chan error, 1)
	go func() {
		req, err := http.NewRequest(http.MethodPut, leader.url("/metrics/job/held"), body)
		if err != nil {
			answered <- err
			return
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s", resp.Status)
			}
		}
		answered <- err
	}()
	<-body.begun
	began := time.Now()
	if err := leader.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "see 503 at /-/ready while pushes are taken", func() error {
		a, err := do(request{url: leader.url("/-/ready")})
		if err != nil || a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("%s (%w)", a, err)
		}
		return nil
	})
	unready := time.Since(began)
	mustDo(t, http.StatusOK, request{url: leader.url("/-/healthy")})
	mustDo(t, http.StatusOK, request{
		method: http.MethodPut, url: leader.url("/metrics/job/late"), body: gauge("e2e_late", 1),
	})
	resp, err := client.Get(leader.url("/-/healthy"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !resp.Close {
		t.Error("clients are not asked to close their connections")
	}
	eventually(t, 2*time.Second, "see another leader", func() error {
		status, err := others[0].status()
		if err != nil {
			return err
		}
		if status.Leader == "" || status.Leader == leader.name {
			return fmt.Errorf("the leader is %q", status.Leader)
		}
		return nil
	})
	handedOver := time.Since(began)
	eventually(t, stopWithin, "refuse new connections", func() error {
		if _, err := do(request{url: leader.url("/-/healthy")}); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	if served := time.Since(began); served < 2900*time.Millisecond {
		t.Errorf("it served for %s after SIGTERM, want the 3 s of --web.drain-delay", served)
	}
	body.release()
	if err := <-answered; err != nil {
		t.Errorf("the push that had begun: %v", err)
	}
	leader.stopNow()
	if code := leader.state.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, line := range []string{"draining: not ready any more", "handed over the leadership", "left the gossip"} {
		if !strings.Contains(string(leader.output()), line) {
			t.Errorf("no line says %q", line)
		}
	}
	for _, job := range []string{"held", "late"} {
		mustHave(t, others[1].scrape(), fmt.Sprintf(`e2e_%s{instance="",job=%q}`, job, job), "1")
	}
	t.Logf("after SIGTERM: not ready within %s, another leader within %s",
		unready.Round(time.Millisecond), handedOver.Round(time.Millisecond))
}

func TestASecondSignalAndAStandaloneReplicaDoNotWait(t *testing.T) {
	t.Parallel()
	alone := startReplica(t, "--web.drain-delay=1h")
	alone.stop(t, 5*time.Second)

	c := startCluster(t, "--web.drain-delay=1h")
	r := c.followers()[0]
	if err := r.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "drain", func() error {
		if a, err := do(request{url: r.url("/-/ready")}); err != nil || a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("%s (%w)", a, err)
		}
		return nil
	})
	r.stop(t, 10*time.Second)
}

// heldBody is a body of which the second half comes when it is released.
type heldBody struct {
	parts chan string
	begun chan struct{}
	rest  string
	once  sync.Once
}

func newHeldBody(text string) *heldBody {
	b := &heldBody{parts: make(chan string, 2), begun: make(chan struct{}), rest: text[len(text)/2:]}
	b.parts <- text[:len(text)/2]
	return b
}

func (b *heldBody) release() {
	b.parts <- b.rest
	close(b.parts)
}

func (b *heldBody) Read(p []byte) (int, error) {
	part, ok := <-b.parts
	if !ok {
		return 0, io.EOF
	}
	n := copy(p, part)
	b.once.Do(func() { close(b.begun) })
	return n, nil
}
