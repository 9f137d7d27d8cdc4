package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pushquorum/fsm"
)

// comments is a body of n bytes that parses and holds nothing.
func comments(n int) string {
	line := "#" + strings.Repeat(" ", 98) + "\n"
	s := strings.Repeat(line, n/len(line)+1)
	return s[:n-1] + "\n"
}

func TestBodiesAreLimited(t *testing.T) {
	const limit = 10000
	for name, test := range map[string]struct {
		body    string
		header  []string
		allowed bool
	}{
		"as long as the limit": {comments(limit), nil, true},
		"a byte longer":        {comments(limit + 1), nil, false},
		"gzip of the limit":    {gzipped(t, comments(limit)), []string{"Content-Encoding", "gzip"}, true},
		"gzip of a byte more":  {gzipped(t, comments(limit+1)), []string{"Content-Encoding", "gzip"}, false},
		"snappy of the limit":  {snappyFramed(t, comments(limit)), []string{"Content-Encoding", "snappy"}, true},
		"snappy of a byte more": {
			snappyFramed(t, comments(limit+1)),
			[]string{"Content-Encoding", "snappy"},
			false,
		},
		"a long body of nothing": {
			strings.Repeat(gzipped(t, ""), limit),
			[]string{"Content-Encoding", "gzip"},
			false,
		},
		"protobuf that is too long": {
			strings.Repeat(delimited(t, gaugeFamily("x")), limit),
			[]string{"Content-Type", protobufType},
			false,
		},
		"an error beyond the limit":   {comments(limit) + "not a metric\n", nil, false},
		"an error before the limit":   {"x 1\n" + comments(limit-4), nil, true},
		"too long, with bad contents": {strings.Repeat("\x00", limit+1), nil, false},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked=%v", name, chunked), func(t *testing.T) {
				g := start(t, func(c *Config) { c.MaxBodyBytes = limit })
				var body io.Reader = strings.NewReader(test.body)
				if chunked {
					body = io.MultiReader(body) // of unknown length
				}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.server.URL+"/metrics/job/a", body)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(test.header); i += 2 {
					r.Header.Set(test.header[i], test.header[i+1])
				}
				res, err := g.server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				text, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if test.allowed {
					if res.StatusCode != http.StatusOK {
						t.Errorf("want 200, got %d: %s", res.StatusCode, text)
					}
					return
				}
				if res.StatusCode != http.StatusRequestEntityTooLarge || !bytes.Contains(text, []byte("10000 bytes")) ||
					!bytes.Contains(text, []byte("--push.max-body-size")) {
					// A parser may meet the bad contents before the limit.
					if res.StatusCode != http.StatusBadRequest || !strings.Contains(name, "bad contents") {
						t.Errorf("want 413 with the limit and the flag, got %d: %s", res.StatusCode, text)
					}
				}
				if n := g.replica.applied(); n != 0 {
					t.Errorf("%d commands were replicated, want none", n)
				}
			})
		}
	}
}

// counter counts what is taken from a body.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) Close() error { return nil }

func TestABombIsCutOffWhileReading(t *testing.T) {
	const limit = 64 << 10
	for encoding, test := range map[string]struct {
		compress func(testing.TB, string) string
		expanded int // bytes
	}{"gzip": {gzipped, 300 * limit}, "snappy": {snappyFramed, 16 * limit}} {
		t.Run(encoding, func(t *testing.T) {
			g := start(t, func(c *Config) { c.MaxBodyBytes = limit })
			// Small enough on the wire: it would be accepted if the limit were for the wire alone.
			bomb := test.compress(t, strings.Repeat("\n", test.expanded))
			if len(bomb) > limit {
				t.Fatalf("the bomb has %d bytes on the wire, more than the limit", len(bomb))
			}
			r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", strings.NewReader(bomb))
			r.ContentLength = -1
			r.Header.Set("Content-Encoding", encoding)
			b, p := g.api.openBody(httptest.NewRecorder(), r)
			if p != nil {
				t.Fatal(p.text)
			}
			decoded, open := &counter{}, b.coding.open
			b.coding.open = func(r io.Reader) (io.Reader, error) {
				var err error
				decoded.Reader, err = open(r)
				return decoded, err
			}
			raw, p := b.decompressed(t.Context(), &decodeSlot{in: g.api.inFlight})
			if p == nil || p.code != http.StatusRequestEntityTooLarge {
				t.Errorf("want 413, got %+v and %d bytes", p, len(raw))
			}
			if decoded.n > limit+1 {
				t.Errorf("%d bytes were decoded, want at most %d and one more", decoded.n, limit)
			}
		})
	}
}

// dial sends the beginning of a request by hand.
func dial(t *testing.T, g *gateway, request string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestASlowBodyIsGivenUp(t *testing.T) {
	g := start(t, func(c *Config) { c.PushTimeout = 50 * time.Millisecond })
	conn := dial(t, g, "PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx 1\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusRequestTimeout || !bytes.Contains(text, []byte("50ms")) {
		t.Errorf("want 408 with the timeout, got %d: %s", res.StatusCode, text)
	}
	if n := g.replica.applied(); n != 0 {
		t.Errorf("%d commands were replicated, want none", n)
	}
}

func TestAClientThatGoesAwayInItsBodyPushesNothing(t *testing.T) {
	done := make(chan struct{})
	g := start(t)
	g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		g.api.ServeHTTP(w, r)
	})
	conn := dial(t, g, "PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx 1\n")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the request is still being served")
	}
	if n := g.replica.applied(); n != 0 {
		t.Errorf("%d commands were replicated, want none", n)
	}
}

func TestABodyThatIsAnnouncedTooLongIsNotRead(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxBodyBytes = 10 })
	wire := &counter{Reader: strings.NewReader(comments(11))}
	r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", wire)
	r.ContentLength = 11
	if _, p := g.api.openBody(httptest.NewRecorder(), r); p == nil || p.code != http.StatusRequestEntityTooLarge ||
		wire.n != 0 {
		t.Errorf("want 413 and nothing read, got %v and %d bytes", p, wire.n)
	}
}

func TestACompressedBodyIsCheckedToItsEnd(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxBodyBytes = 100 })
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"the checksum": {gzipped(t, "x 1\n")[:24] + "\x00\x00\x00\x00\x04\x00\x00\x00", http.StatusBadRequest},
		"the limit":    {gzipped(t, comments(101)), http.StatusRequestEntityTooLarge},
	} {
		r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", strings.NewReader(test.body))
		r.Header.Set("Content-Encoding", "gzip")
		b, p := g.api.openBody(httptest.NewRecorder(), r)
		if p != nil {
			t.Fatal(p.text)
		}
		if _, p := b.decompressed(t.Context(), &decodeSlot{in: g.api.inFlight}); p == nil || p.code != test.want {
			t.Errorf("%s: want %d, got %+v", name, test.want, p)
		}
	}
}

// deadlines is a ResponseWriter that remembers until when a body may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = at
	return nil
}

// watching calls back when a command is applied.
type watching struct {
	*replica
	applies func(context.Context)
}

func (w *watching) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	w.applies(ctx)
	return w.replica.Apply(ctx, command)
}

// TestTheTimeOfTheBodyIsNotTakenFromTheReplication: a deadline that is left on the connection makes net/http end the
// request's context when it passes, as if the client had gone away.
func TestTheTimeOfTheBodyIsNotTakenFromTheReplication(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	var left time.Duration
	g := start(t, func(c *Config) {
		c.Replica = &watching{c.Replica.(*replica), func(ctx context.Context) {
			if !w.read.IsZero() {
				t.Errorf("while the push is replicated, the body still has a deadline: %s", w.read)
			}
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
		}}
	})
	r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", &late{strings.NewReader("x 1\n"), func() {
		if w.read.IsZero() {
			t.Error("while the body is read, it has no deadline")
		}
	}})
	g.api.ServeHTTP(w, r)
	if w.Code != http.StatusOK || left <= 0 || left > DefaultPushTimeout {
		t.Errorf("want 200 and a deadline within %s, got %d and %s", DefaultPushTimeout, w.Code, left)
	}
}

// late calls back before it is read.
type late struct {
	io.Reader
	reads func()
}

func (l *late) Read(p []byte) (int, error) {
	l.reads()
	return l.Reader.Read(p)
}
