package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	pushTimeout = 10 * time.Second // what client libraries have
	pauseAfter  = 40 * time.Millisecond
	workersEach = 2
	// staleHeader is on a page that may lack pushes that were acknowledged.
	staleHeader = "X-PushQuorum-Stale"
)

// pushed is one way to push.
type pushed func(ctx context.Context, url, body string) error

// clients push and scrape through a Service until they are stopped, each push to a group of its own, so that each
// acknowledged value can be looked for.
type clients struct {
	job, push, read string // the latter are URLs of the Services
	stop            context.CancelFunc
	wg              sync.WaitGroup

	mu       sync.Mutex
	acked    map[string]int       // the group's labels, the value
	last     map[string]time.Time // the last acknowledged push of each kind
	gaps     map[string]time.Duration
	acks     map[string]int // of each kind
	row      row
	began    time.Time
	failures map[string]*failure // by what was said instead of an acknowledgement
	scraped  map[string]time.Time

	failedFirst time.Time // the first failed push
}

const (
	kept    = "keep-alive"
	anew    = "new connections"
	curling = "curl"
)

// kinds are the clients that there are. A connection that is kept leads to the same replica for as long as it stands.
func kinds() map[string]pushed {
	return map[string]pushed{kept: over(newClient(true)), anew: over(newClient(false)), curling: curl}
}

func newClient(keepAlive bool) *http.Client {
	return &http.Client{Timeout: pushTimeout, Transport: &http.Transport{
		DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: workersEach,
		DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
	}}
}

func over(client *http.Client) pushed {
	return func(ctx context.Context, url, body string) error {
		_, err := fetch(ctx, client, http.MethodPut, url, []byte(body))
		return err
	}
}

func curl(ctx context.Context, url, body string) error {
	cmd := exec.CommandContext(ctx, "curl", "--http1.1", "--silent", "--show-error", "--fail-with-body", "--max-time",
		"10", "--request", "PUT",
		"--data-binary", "@-", url)
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(strings.TrimSpace(string(out)))
	}
	return nil
}

// startClients starts all kinds, pushing through one address, and scraping through that and another one.
func startClients(ctx context.Context, name, push, read string) *clients {
	ctx, stop := context.WithCancel(ctx)
	now := time.Now()
	c := &clients{
		job: strings.Map(wordRune, name), push: push, read: read, stop: stop, row: row{name: name},
		acked: map[string]int{}, last: map[string]time.Time{}, gaps: map[string]time.Duration{}, acks: map[string]int{},
		began: now, failures: map[string]*failure{}, scraped: map[string]time.Time{push: now, read: now},
	}
	for kind, by := range kinds() {
		c.last[kind] = now
		for w := range workersEach {
			c.wg.Go(func() { c.work(ctx, kind, w, by) })
		}
	}
	c.wg.Go(func() { c.scrapes(ctx, push, "scrape", &c.row.scrapes) })
	c.wg.Go(func() { c.scrapes(ctx, read, "scrape through -read", &c.row.reads) })
	return c
}

// wordRune makes a label's value of a name that needs no escaping in a path.
func wordRune(r rune) rune {
	if r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r
	}
	return '_'
}

// work pushes rising values. A push that has begun is awaited also after the stop: it counts.
func (c *clients) work(ctx context.Context, kind string, worker int, push pushed) {
	for n := 1; ctx.Err() == nil; n++ {
		labels := fmt.Sprintf("%s/worker/%d/n/%d", strings.Map(wordRune, kind), worker, n)
		err := push(context.WithoutCancel(ctx), fmt.Sprintf("%s/metrics/job/%s/kind/%s", c.push, c.job, labels),
			fmt.Sprintf("disturbed %d\n", n))
		c.pushed(kind, labels, n, err)
		select {
		case <-ctx.Done():
		case <-time.After(pauseAfter):
		}
	}
}

func (c *clients) pushed(kind, labels string, n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.row.sent++
	if err != nil {
		now := time.Now()
		if c.row.failed++; c.row.failed == 1 {
			c.failedFirst = now
		}
		c.row.failing = now.Sub(c.failedFirst)
		c.fail(kind, err)
		return
	}
	c.acked[labels] = n
	c.acks[kind]++
	now := time.Now()
	c.gaps[kind] = max(c.gaps[kind], now.Sub(c.last[kind]))
	c.last[kind] = now
}

// failure is how often something was said, and when.
type failure struct {
	count       int
	first, last time.Duration
}

func (c *clients) fail(kind string, err error) {
	reason := kind + ": " + sameReason(err)
	at := time.Since(c.began)
	f := c.failures[reason]
	if f == nil {
		f = &failure{first: at}
		c.failures[reason] = f
	}
	f.count++
	f.last = at
}

var numbers = regexp.MustCompile(`\d+(\.\d+)*(:\d+)?`)

// sameReason is what an error says but for its URL and numbers, so that those of one kind are counted together.
func sameReason(err error) string {
	said := err.Error()
	if i := strings.LastIndex(said, `": `); i >= 0 {
		said = said[i+3:]
	}
	return numbers.ReplaceAllString(said, "N")
}

func (c *clients) scrapes(ctx context.Context, service, kind string, seen *scraping) {
	client := newClient(false)
	for ctx.Err() == nil {
		err := drain(context.WithoutCancel(ctx), client, service+"/metrics")
		c.mu.Lock()
		seen.sent++
		if now := time.Now(); err == nil {
			seen.gap = max(seen.gap, now.Sub(c.scraped[service]))
			c.scraped[service] = now
		} else {
			seen.failed++
			c.fail(kind, err)
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(3 * pauseAfter):
		}
	}
}

// drain reads a page to its end, without keeping it.
func drain(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500)) // the status is enough
		return &refusal{response.StatusCode, string(text)}
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// going waits until each kind of client has so many more acknowledged pushes.
func (c *clients) going(ctx context.Context, more int) error {
	c.mu.Lock()
	before := maps.Clone(c.acks)
	c.mu.Unlock()
	return until(ctx, 60*time.Second, "all clients' pushes go through", func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for kind := range c.last {
			if c.acks[kind] < before[kind]+more {
				return fmt.Errorf("%s: %d of %d more pushes were acknowledged; so far%s",
					kind, c.acks[kind]-before[kind], more, c.reasons())
			}
		}
		return nil
	})
}

// end stops them, and returns what they have seen.
func (c *clients) end() row {
	c.stop()
	c.wg.Wait()
	for kind, last := range c.last {
		c.row.gap = max(c.row.gap, c.gaps[kind], time.Since(last))
	}
	c.row.scrapes.gap = max(c.row.scrapes.gap, time.Since(c.scraped[c.push]))
	c.row.reads.gap = max(c.row.reads.gap, time.Since(c.scraped[c.read]))
	c.row.reasons = c.reasons()
	return c.row
}

// reasons are why pushes and scrapes have failed.
func (c *clients) reasons() string {
	var told strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(c.failures)) {
		f := c.failures[reason]
		fmt.Fprintf(&told, "\n%d × %s (from %.1f s to %.1f s)", f.count, reason, f.first.Seconds(), f.last.Seconds())
	}
	return told.String()
}
