package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// request is one HTTP request of a test; the zero method is GET.
type request struct {
	method, url string
	header      map[string]string
	body        string
	// timeout is how long the client waits; 0 is clientTimeout.
	timeout time.Duration
}

// clientTimeout is longer than --push.timeout, so that an answer is always the replica's.
const clientTimeout = 20 * time.Second

func (r request) String() string {
	text := r.method + " " + r.url
	for name, value := range r.header {
		text += fmt.Sprintf(" (%s: %s)", name, value)
	}
	if r.body == "" {
		return text
	}
	return fmt.Sprintf("%s with body %.200q", text, r.body)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %.400q", a.status, a.body) }

// client follows no redirect and adds no header of its own; a connection is used once more only by the same test run
// while its replica lives, as net/http sees to.
var client = &http.Client{
	Transport: &http.Transport{
		DisableCompression:  true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     10 * time.Second,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends the request. An error means that no whole answer came.
func do(r request) (answer, error) {
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.timeout == 0 {
		r.timeout = clientTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	// As curl --data-binary has it, which most scripts push with.
	if r.body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: read the answer: %w", r, err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}, nil
}

// mustDo sends the request and fails the test when it is not answered with the status.
func mustDo(t testing.TB, status int, r request) answer {
	t.Helper()
	a, err := do(r)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("%s: want %d, got %s", r, status, a)
	}
	return a
}

// push sends text with PUT and fails the test when it is not accepted.
func (r *replica) push(path, text string) {
	r.t.Helper()
	mustDo(r.t, http.StatusOK, request{method: http.MethodPut, url: r.url(path), body: text})
}

func (r *replica) delete(path string) {
	r.t.Helper()
	mustDo(r.t, http.StatusAccepted, request{method: http.MethodDelete, url: r.url(path)})
}

// scrape is the text of /metrics, as any client without wishes gets it.
func (r *replica) scrape() string {
	r.t.Helper()
	return scrape(r.t, r.url(""))
}

// scrape fails the test when the answer is stale, or when promtool cannot read it.
func scrape(t testing.TB, base string) string {
	t.Helper()
	a := mustDo(t, http.StatusOK, request{url: base + "/metrics"})
	if stale := a.header.Get(staleHeader); stale != "" {
		t.Fatalf("the scrape of %s is stale by %s s", base, stale)
	}
	checkWithPromtool(t, a.body)
	return a.body
}

const staleHeader = "X-PushQuorum-Stale"

// gauge is one gauge in the text format, clean enough for promtool's taste.
func gauge(name string, value int) string {
	return fmt.Sprintf("# HELP %s A gauge of the end-to-end tests.\n# TYPE %s gauge\n%s %d\n", name, name, name, value)
}
