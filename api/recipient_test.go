package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// piped is a ResponseWriter whose client reads from a pipe, which has no buffer and the bubble's clock.
type piped struct{ net.Conn }

func (piped) Header() http.Header { return http.Header{} }
func (piped) WriteHeader(int)     {}

func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

// TestWhoReadsIsNotCutAndWhoStopsIs, each by how it reads.
func TestWhoReadsIsNotCutAndWhoStopsIs(t *testing.T) {
	for _, row := range []struct {
		name  string
		size  int           // of the answer
		read  int           // bytes at a time …
		every time.Duration // … that the client takes; 0: at once
		stop  int           // after so many it stops; 0: never
		cut   time.Duration // at the latest; 0: it is not
	}{
		{"at once", 8 << 20, 1 << 20, 0, 0, 0},
		{"slow and large", 100 << 20, 1 << 20, time.Second, 0, 0},
		{"very slow", 10 << 20, 100 << 10, time.Second, 0, 0},
		{"small, and after a while", 10 << 10, 10 << 10, 9 * time.Second, 0, 0},
		{"never", 8 << 20, 1, time.Hour, 0, 15 * time.Second},
		{"a byte a second", 1 << 20, 1, time.Second, 0, 15 * time.Second},
		{"so that each write is just in time", 8 << 20, 64 << 10, 3 * time.Second, 0, time.Minute},
		{"stops after much of it", 100 << 20, 1 << 20, 0, 50 << 20, 15 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				dawdled := prometheus.NewCounter(prometheus.CounterOpts{})
				to := newRecipient(piped{server}, &http.Request{ProtoMajor: 1}, dawdled)
				var reads sync.WaitGroup
				reads.Go(func() {
					total := 0
					for b := make([]byte, row.read); row.stop == 0 || total < row.stop; {
						time.Sleep(row.every) //nolint:forbidigo // the clock is the bubble's
						n, err := io.ReadFull(client, b)
						if total += n; err != nil {
							return
						}
					}
				})
				began := time.Now()
				var err error
				for rest := row.size; rest > 0 && err == nil; {
					n := min(rest, 1<<20)
					_, err = to.Write(make([]byte, n))
					rest -= n
				}
				took := time.Since(began)
				_ = server.Close()
				_ = client.Close()
				reads.Wait()
				if row.cut == 0 && err != nil {
					t.Errorf("cut after %s: %v", took, err)
				}
				if row.cut > 0 && (!errors.Is(err, errNotReading) || took > row.cut || valueOf(t, dawdled) != 1) {
					t.Errorf("want it to be cut within %s: error %v after %s", row.cut, err, took)
				}
			})
		})
	}
}

// TestAClientIsNotCutForWhatTheProcessDidNotSee: a tenth of a processor lets those who wait, and those who write, have
// their turn once a second.
func TestAClientIsNotCutForWhatTheProcessDidNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer func() { _ = client.Close() }()
		to := newRecipient(piped{server}, &http.Request{ProtoMajor: 1},
			prometheus.NewCounter(prometheus.CounterOpts{}))
		done := make(chan error, 1)
		go func() {
			_, err := to.Write([]byte("x"))
			done <- err
		}()
		synctest.Wait()
		for range stalledUnderPressure/laneCheckInterval - 1 {
			time.Sleep(time.Second) //nolint:forbidigo // the clock is the bubble's
			to.cutIfStalled()
			to.cutIfStalled() // of another who waits
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("it is cut though it was looked at %d times only: %v", stalledUnderPressure/laneCheckInterval-1,
				<-done)
		}
		time.Sleep(time.Second) //nolint:forbidigo // the clock is the bubble's
		to.cutIfStalled()
		if err := <-done; !errors.Is(err, errNotReading) {
			t.Errorf("one that stalled each time ends with %v", err)
		}
	})
}

// TestWhoStallsWhileOthersWaitIsCut, and whoever does not is not.
func TestWhoStallsWhileOthersWaitIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane("something", 1, nil)
		server, client := net.Pipe()
		defer func() { _ = client.Close() }()
		stalls := newRecipient(piped{server}, &http.Request{ProtoMajor: 1},
			prometheus.NewCounter(prometheus.CounterOpts{}))
		leave, p := l.enter(t.Context(), stalls)
		if p != nil {
			t.Fatal(p)
		}
		go func() {
			_, _ = stalls.Write([]byte("x"))
			leave()
		}()
		synctest.Wait()
		began := time.Now()
		moves := newRecipient(piped{server}, &http.Request{ProtoMajor: 1}, nil)
		leave, p = l.enter(t.Context(), moves)
		if took := time.Since(began); p != nil || took > 2*stalledUnderPressure {
			t.Fatalf("the next one waits %s behind one that stalls: %v", took, p)
		}
		// This one only thinks: its client is not to blame.
		if _, p = l.enter(t.Context(), nil); p == nil || time.Since(began) < laneWait ||
			p.code != http.StatusServiceUnavailable || moves.cut {
			t.Errorf("behind one that is busy: %v", p)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, p = l.enter(gone, nil); p == nil {
			t.Error("a client that went away has a turn")
		}
		leave()
		if leave, p = l.enter(t.Context(), nil); p != nil {
			t.Error(p)
		}
		leave()
	})
}

// pipes is a listener of a network that has no buffers and the bubble's clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// Accept implements net.Listener.
func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It is called once.
func (p pipes) Close() error { close(p.closed); return nil }

// Addr implements net.Listener.
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial sends a request and returns where the answer comes.
func (p pipes) dial(t *testing.T, what string, header ...string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.conns <- server
	request := what + " HTTP/1.1\r\nHost: x\r\n"
	for i := 0; i < len(header); i += 2 {
		request += header[i] + ": " + header[i+1] + "\r\n"
	}
	if _, err := io.WriteString(client, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	return client
}

// answerOf reads an answer to its end.
func answerOf(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// overPipes serves the gateway in a bubble.
func (g *gateway) overPipes(t *testing.T) pipes {
	t.Helper()
	p := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: g.api} //nolint:gosec // its network is a pipe
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(p) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return p
}

// TestAnAnswerThatIsNotReadEnds, whichever it is, and its connection.
func TestAnAnswerThatIsNotReadEnds(t *testing.T) {
	for _, request := range []string{
		"GET /metrics", "GET /api/v1/metrics", "GET /", "GET /api/v1/status", "GET /static/page.css", "GET /-/metrics",
		"GET /nowhere",
		"OPTIONS /api/v1/status", // of which the handler writes nothing
	} {
		synctest.Test(t, func(t *testing.T) {
			g := startWithoutServer(t)
			benchPush(t, g, 1, 1)
			p := g.overPipes(t)
			c := p.dial(t, request)
			began := time.Now()
			time.Sleep(2 * recipientGrace) //nolint:forbidigo // the clock is the bubble's
			synctest.Wait()
			if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
				t.Errorf("%s: %d bytes after %s (%v)", request, len(b), time.Since(began), err)
			}
			res, body := answerOf(t, p.dial(t, "GET /-/healthy"))
			if res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "OK") {
				t.Errorf("%s: then %d %s", request, res.StatusCode, body)
			}
		})
	}
}
