package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"pushquorum/fsm"
	"pushquorum/test/golden"
)

// refusal is a request that is not done, and why.
type refusal struct {
	name         string
	method, path string // default: PUT to /metrics/job/a
	header       []string
	body         string
	options      []func(*Config)
	before       func(g *gateway)
	// What a plain request cannot show: a body that stops half-way, one of unknown length, and what needs more time
	// than a test has.
	stalls, chunked bool
	made            func(g *gateway) *problem
	want            int
	// value and mend must occur in the line: the value in question, where there is one, and what to do.
	value, mend string
	// breaks are texts that do not keep the rule, and in what; as soon as one does, the test fails until this is gone.
	breaks string
}

// TestGoldenRefusals holds every refusal to the rule of test/golden. All of them are in testdata/refusals.golden.
func TestGoldenRefusals(t *testing.T) {
	var file strings.Builder
	file.WriteString("Requests that are refused, and the one line that is answered.\n")
	for _, row := range refusals(t) {
		t.Run(row.name, func(t *testing.T) {
			row.defaults()
			text, headers := row.ask(t)
			err := golden.Line{Text: text, Value: row.value, Mend: row.mend}.Check()
			switch {
			case err != nil && row.breaks == "":
				t.Errorf("%s %s: %v\n%s", row.method, shorten(row.path), err, text)
			case err == nil && row.breaks != "":
				t.Errorf("%s %s: the text keeps the rule now: take `breaks` from its row", row.method,
					shorten(row.path))
			}
			row.write(&file, text, headers)
		})
	}
	golden.Compare(t, "testdata/refusals.golden", file.String())
}

func (r *refusal) defaults() {
	if r.method == "" {
		r.method = http.MethodPut
	}
	if r.path == "" {
		r.path = "/metrics/job/a"
	}
}

// ask returns what is answered, without its last newline, and the headers that tell the client what to do.
func (r *refusal) ask(t *testing.T) (text string, headers []string) {
	t.Helper()
	g := start(t, r.options...)
	if r.before != nil {
		r.before(g)
	}
	a := r.send(t, g)
	if a.code != r.want {
		t.Errorf("%s %s: want %d, got %d: %s", r.method, shorten(r.path), r.want, a.code, a.body)
	}
	for _, name := range []string{"Allow", "Accept-Encoding", "Location", "Retry-After"} {
		if value := a.header.Get(name); value != "" {
			headers = append(headers, name+": "+value)
		}
	}
	return strings.TrimSuffix(a.body, "\n"), headers
}

func (r *refusal) send(t *testing.T, g *gateway) answer {
	t.Helper()
	switch {
	case r.made != nil:
		return recordedAnswer(func(w http.ResponseWriter, req *http.Request) { g.api.refuse(w, req, r.made(g)) })
	case r.chunked:
		return g.doWith(r.method, r.path, struct{ io.Reader }{strings.NewReader(r.body)}, -1, r.header...)
	case r.stalls:
		stopped, end := io.Pipe()
		defer end.Close()
		go func() { _, _ = io.WriteString(end, r.body) }()
		return g.doWith(r.method, r.path, stopped, int64(len(r.body)+1), r.header...)
	}
	return g.do(r.method, r.path, r.body, r.header...)
}

func (r *refusal) write(file *strings.Builder, text string, headers []string) {
	fmt.Fprintf(file, "\n%s\n> %s %s\n", r.name, r.method, shorten(r.path))
	for i := 0; i < len(r.header); i += 2 {
		fmt.Fprintf(file, "> %s: %s\n", r.header[i], shorten(r.header[i+1]))
	}
	if r.body != "" {
		fmt.Fprintf(file, "> %s\n", shorten(fmt.Sprintf("%q", r.body)))
	}
	fmt.Fprintf(file, "< %d\n", r.want)
	for _, header := range headers {
		fmt.Fprintf(file, "< %s\n", header)
	}
	if r.breaks != "" {
		fmt.Fprintf(file, "  (breaks the rule: %s)\n", r.breaks)
	}
	fmt.Fprintf(file, "< %s\n", strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n< "))
}

// What may be so before a request.

func withConfig(change func(*Config)) []func(*Config) { return []func(*Config){change} }

func pushed(path, body string, header ...string) func(*gateway) {
	return func(g *gateway) { g.must(http.StatusOK, http.MethodPut, path, body, header...) }
}

func applyFails(err error) func(*gateway) {
	return func(g *gateway) { g.replica.applyErr = err }
}

func answering(status fsm.Status, reason string) func(*gateway) {
	return func(g *gateway) { g.replica.result = &fsm.Result{Status: status, Reason: reason} }
}

// noRoom lets the replica admit as a leader with these limits does, once something is stored.
func noRoom(limits fsm.Limits) func(*gateway) {
	return func(g *gateway) {
		g.must(http.StatusOK, http.MethodPut, "/metrics/job/stored", "m 1\nn 1\n")
		g.api.cfg.Replica = admitting{g.replica, fsm.NewAdmission(g.replica.FSM, limits)}
	}
}

type admitting struct {
	*replica
	admission *fsm.Admission
}

func (a admitting) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	refused, ended, err := a.admission.Admit(ctx, [][]byte{command})
	if err != nil {
		return fsm.Result{}, err
	}
	defer ended()
	if len(refused) > 0 && refused[0].Status == fsm.Full {
		return refused[0], nil
	}
	return a.replica.Apply(ctx, command)
}

// exhausted acquires all of a semaphore.
func exhausted(part func(*inFlight) *semaphore) func(*gateway) {
	return func(g *gateway) {
		p := part(g.api.inFlight)
		if !p.tryAcquire(p.size) {
			g.t.Fatal("somebody has taken of it already")
		}
	}
}

// quick makes waiting for a turn short.
var quick = withConfig(func(c *Config) { c.PushTimeout = 20 * time.Millisecond })

// doWith is do with a body of any kind, whose length is -1 where it is not known.
func (g *gateway) doWith(method, path string, body io.Reader, length int64, header ...string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.server.URL+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	r.ContentLength = length
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := g.server.Client().Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(content)}
}

// recordedAnswer is what a handler answers.
func recordedAnswer(handler http.HandlerFunc) answer {
	to := httptest.NewRecorder()
	handler(to, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	return answer{to.Code, to.Header(), to.Body.String()}
}

// ownGoroutines lets the process have a metric of its own on the page.
func ownGoroutines(c *Config) {
	c.IncludeSelf = true
	c.Registerer.MustRegister(collectors.NewGoCollector())
}
