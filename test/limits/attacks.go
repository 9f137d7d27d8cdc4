package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attack is something that clients do to the replicas, as many at a time and as fast as they can, until its time is
// over.
type attack struct {
	name  string
	empty bool          // it begins with nothing stored; else with what the one before has left
	fills time.Duration // it goes on until it is refused, if that takes longer, but no longer than this
	must  bool          // it must have been refused, because those after it are to meet replicas that are full
	run   func(a *assault)
}

// attacks are in the order in which they come: all after the large groups meet replicas that are full.
func attacks() []attack {
	return []attack{
		{name: "new groups", empty: true, fills: 5 * time.Second, run: newGroups},
		{name: "one group", empty: true, fills: 5 * time.Second, run: oneGroup},
		{name: "new families", empty: true, fills: 5 * time.Second, run: newFamilies},
		{name: "large groups", empty: true, fills: 30 * time.Second, must: true, run: largeGroups},
		{name: "large bodies", run: largeBodies},
		{name: "all forms", run: allForms},
		{name: "stopped readers", run: stoppedReaders},
		{name: "expanding bodies", run: expandingBodies},
	}
}

// assault is one attack under way.
type assault struct {
	ctx     context.Context // ends when its time is over
	c       *cluster
	client  *http.Client
	refused func() // is told when the replicas say that it is enough
	count   atomic.Int64

	unrefused bool // to the end

	mu    sync.Mutex
	codes codes
	wrong error // the first answer that is no answer
}

// attack makes one for the time, and not after a replica has died of it.
func (c *cluster) attack(ctx context.Context, t attack, duration time.Duration) *assault {
	a := &assault{c: c, client: newClient(64), codes: codes{}}
	var cancel context.CancelFunc
	a.ctx, cancel = context.WithTimeout(ctx, max(duration, t.fills))
	defer cancel()
	enough := make(chan struct{})
	a.refused = sync.OnceFunc(func() { close(enough) })
	if t.fills == 0 {
		a.refused()
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer cancel()
		least := time.NewTimer(duration)
		defer least.Stop()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		waits := least.C
		var filled <-chan struct{}
		for {
			select {
			case <-waits:
				waits, filled = nil, enough
			case <-filled:
				return
			case <-a.ctx.Done():
				return
			case <-tick.C:
				if c.gone() {
					return
				}
			}
		}
	}()
	t.run(a)
	cancel()
	<-over
	select {
	case <-enough:
	default:
		if a.unrefused = true; t.must && a.wrong == nil {
			a.wrong = errors.New("this was never refused, and so nobody was full")
		}
	}
	a.client.CloseIdleConnections()
	return a
}

// clients has so many work at a time until the time is over.
func (a *assault) clients(n int, work func(client int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for a.ctx.Err() == nil {
				work(i)
			}
		})
	}
	all.Wait()
}

// replica is the n-th, counted round and round.
func (a *assault) replica(n int) *replica { return a.c.replicas[n%len(a.c.replicas)] }

// send sends one request and says whether it was done. An attacker, too, is to be told why not.
func (a *assault) send(q ask) bool {
	answer, err := do(a.ctx, a.client, q)
	if err != nil && a.ctx.Err() != nil {
		return false // cut off by the attacker
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.codes.saw(answer, err)
	if err != nil {
		return false
	}
	if why := answer.refusal(); why != nil && a.wrong == nil {
		a.wrong = fmt.Errorf("%s %s: %w", q.method, q.url, why)
	}
	if !answer.good() {
		a.refused()
	}
	return answer.good()
}

// push sends a group and books a series of it once that is acknowledged.
func (a *assault) push(method string, r *replica, path, body, series string) bool {
	done := a.send(ask{method: method, url: r.url(path), body: strings.NewReader(body)})
	if done && series != "" {
		a.c.ledger.pushed(path, series, "")
	}
	return done
}

// newGroups makes one small group after another. A sample of them is booked: they are many.
func newGroups(a *assault) {
	a.clients(64, func(int) {
		n := a.count.Add(1)
		path, series := fmt.Sprintf("/metrics/job/new/instance/%d", n), ""
		if n%50 == 1 {
			series = fmt.Sprintf(`new{instance="%d",job="new"}`, n)
		}
		a.push(http.MethodPut, a.replica(int(n)), path, "new 1\n", series)
	})
}

// oneGroup adds series to one group, and never ends.
func oneGroup(a *assault) {
	a.clients(4, func(int) {
		n := a.count.Add(1)
		name := fmt.Sprintf("one_%d", n)
		a.push(http.MethodPost, a.replica(int(n)), "/metrics/job/one", family(name, "1"),
			fmt.Sprintf(`%s{instance="",job="one",shard="%d",zone="eu-west-1"}`, name, perFamily-1))
	})
}

// newFamilies adds names to a few groups.
func newFamilies(a *assault) {
	a.clients(64, func(int) {
		n := a.count.Add(1)
		path, series := fmt.Sprintf("/metrics/job/families/instance/%d", n%16), ""
		if n%50 == 1 {
			series = fmt.Sprintf(`family_%d{instance="%d",job="families"}`, n, n%16)
		}
		help := strings.Repeat("what nobody has ever wanted to know, ", 5)
		body := fmt.Sprintf("# HELP family_%d %s\n# TYPE family_%d gauge\nfamily_%d 1\n", n, help, n, n)
		a.push(http.MethodPost, a.replica(int(n)), path, body, series)
	})
}

const (
	largeFamilies = 4
	perFamily     = 500
	largePrefix   = "/metrics/job/large/instance/"
)

// family is one of many series; they differ in the value alone.
func family(name, value string) string {
	var body strings.Builder
	fmt.Fprintf(&body, "# TYPE %s gauge\n", name)
	for i := range perFamily {
		fmt.Fprintf(&body, "%s{shard=\"%d\",zone=\"eu-west-1\"} %s\n", name, i, value)
	}
	return body.String()
}

// large is the body of a large group. Bodies whose values have the same width are of one size, however they differ.
func large(value string) string {
	var body strings.Builder
	for i := range largeFamilies {
		body.WriteString(family(fmt.Sprintf("large_%d", i), value))
	}
	return body.String()
}

func largeGroups(a *assault) {
	body := large("1000")
	a.clients(4, func(int) {
		n := a.count.Add(1)
		a.c.pushLarge(a, int(n), body)
	})
}

// pushLarge stores the n-th large group, with one of its last series in the ledger.
func (c *cluster) pushLarge(a *assault, n int, body string) bool {
	series := fmt.Sprintf(`large_%d{instance="%d",job="large",shard="%d",zone="eu-west-1"}`,
		largeFamilies-1, n, perFamily-1)
	return a.push(http.MethodPut, a.replica(n), largePrefix+fmt.Sprint(n), body, series)
}
