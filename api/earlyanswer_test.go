package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const megabyte = 1 << 20

// raw sends a request by hand, as clients do that send all before they read: the head, and then each part of the body.
// It returns the answer, and how sending ended.
func (g *gateway) raw(head string, parts func(write func([]byte) error) error) (res *http.Response, text string, sent,
	received error,
) {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", strings.TrimPrefix(g.server.URL, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	if _, sent = io.WriteString(conn, head); sent == nil && parts != nil {
		sent = parts(func(b []byte) error {
			_, err := conn.Write(b)
			return err
		})
	}
	res, received = http.ReadResponse(bufio.NewReader(conn), nil)
	if received != nil {
		return nil, "", sent, received
	}
	defer res.Body.Close()
	content, received := io.ReadAll(res.Body)
	return res, string(content), sent, received
}

// length is a body of n bytes.
func length(n int) func(func([]byte) error) error {
	return func(write func([]byte) error) error {
		for part := make([]byte, megabyte); n > 0; n -= len(part) {
			if err := write(part[:min(n, len(part))]); err != nil {
				return err
			}
		}
		return nil
	}
}

// chunks is a chunked body of n bytes.
func chunks(n int) func(func([]byte) error) error {
	return func(write func([]byte) error) error {
		part := fmt.Appendf(nil, "%x\r\n%s\r\n", megabyte, make([]byte, megabyte))
		for ; n > 0; n -= megabyte {
			if err := write(part); err != nil {
				return err
			}
		}
		return write([]byte("0\r\n\r\n"))
	}
}

// TestWhoSendsAllBeforeReadingSeesTheAnswer, whatever answers before the body has been read.
func TestWhoSendsAllBeforeReadingSeesTheAnswer(t *testing.T) {
	const sized, chunked = "Content-Length: %d\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	at := func(line, header string) string { return line + " HTTP/1.1\r\nHost: h\r\n" + header }
	withLength := func(line string, n int) string { return at(line, fmt.Sprintf(sized, n)) }
	put := "PUT /metrics/job/a"
	for name, test := range map[string]struct {
		head string
		body func(func([]byte) error) error
		want int
	}{
		"a little more than may be": {
			withLength(put, 17*megabyte), length(17 * megabyte),
			http.StatusRequestEntityTooLarge,
		},
		"20 MB": {
			withLength(put, 20*megabyte), length(20 * megabyte),
			http.StatusRequestEntityTooLarge,
		},
		"100 MB": {
			withLength(put, 100*megabyte), length(100 * megabyte),
			http.StatusRequestEntityTooLarge,
		},
		"chunks of 20 MB":  {at(put, chunked), chunks(20 * megabyte), http.StatusRequestEntityTooLarge},
		"chunks of 100 MB": {at(put, chunked), chunks(100 * megabyte), http.StatusRequestEntityTooLarge},
		"a path that is none": {
			withLength("PUT /metrics/job/a/b", 20*megabyte), length(20 * megabyte),
			http.StatusBadRequest,
		},
		"a path that is none, in chunks": {
			at("PUT /metrics/job/a/b", chunked), chunks(8 * megabyte),
			http.StatusBadRequest,
		},
		"a path that is too long": {
			withLength("PUT /metrics/job/"+strings.Repeat("a", maxPath), 8*megabyte),
			length(8 * megabyte), http.StatusRequestURITooLong,
		},
		"a path that nothing serves": {
			withLength("PUT /metric/job/a", 8*megabyte), length(8 * megabyte),
			http.StatusNotFound,
		},
		"a method that nothing serves": {
			withLength("PUT /-/ready", 8*megabyte), length(8 * megabyte),
			http.StatusMethodNotAllowed,
		},
		"a key that is too long": {at(put, "Idempotency-Key: "+strings.Repeat("k",
			300)+"\r\n"+fmt.Sprintf(sized, 8*megabyte)), length(8 * megabyte), http.StatusBadRequest},
		"DELETE with a body": {
			withLength("DELETE /metrics/job/a", 8*megabyte), length(8 * megabyte),
			http.StatusAccepted,
		},
		"GET with a body": {
			withLength("GET /metrics", 8*megabyte), length(8 * megabyte),
			http.StatusOK,
		},
		"a page with a body": {withLength("GET /", 8*megabyte), length(8 * megabyte), http.StatusOK},
		"HTTP 1.0": {
			"PUT /metrics/job/a HTTP/1.0\r\nContent-Length: 20971520\r\n\r\n",
			length(20 * megabyte), http.StatusRequestEntityTooLarge,
		},
		"who asks whether he may, but no": {
			at(put, "Expect: 100-continue\r\n"+fmt.Sprintf(sized, 20*megabyte)),
			length(20 * megabyte), http.StatusRequestEntityTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			res, text, sent, err := g.raw(test.head, test.body)
			if err != nil || sent != nil {
				t.Fatalf("sending ended with %v, and reading the answer with %v", sent, err)
			}
			if res.StatusCode != test.want || !res.Close {
				t.Errorf("want %d and the end of the connection, got %d, close=%v: %.100s", test.want, res.StatusCode,
					res.Close, text)
			}
		})
	}
}

// TestAHEADWhoseBodyIsNotReadHasNoLengthOfItsOwn: the page that GET would give has another one.
func TestAHEADWhoseBodyIsNotReadHasNoLengthOfItsOwn(t *testing.T) {
	g := start(t)
	for path, want := range map[string]string{"/metrics": "", "/-/ready": "2"} {
		conn := dial(t, g, "HEAD "+path+" HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\nExpect: "+
			"100-continue\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Length"); res.StatusCode != http.StatusOK || !res.Close || got != want &&
			got != "" {
			t.Errorf("%s: want 200, the end of the connection, and length %q or none, got %d, close=%v, length %q",
				path, want, res.StatusCode, res.Close, got)
		}
	}
}

// TestAPushThatIsRefusedForWantOfASlotIsAnswered to who sends all first, too.
func TestAPushThatIsRefusedForWantOfASlotIsAnswered(t *testing.T) {
	g := start(t)
	in := g.api.inFlight
	if !in.requests.tryAcquire(in.requests.size) {
		t.Fatal("taken")
	}
	res, text, sent, err := g.raw("PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\nContent-Length: 10485760\r\n\r\n",
		length(10*megabyte))
	if err != nil || sent != nil || res.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(text, "--push.max-requests") {
		t.Errorf("want 503 with the flag, got %v, %s; sending %v, receiving %v", res, text, sent, err)
	}
}

func TestWhoAsksWhetherHeMaySendIsNotToldTo(t *testing.T) {
	g := start(t)
	for name, test := range map[string]struct {
		line string
		size int
		want int
	}{
		"more than may be":           {"PUT /metrics/job/a", 20 * megabyte, http.StatusRequestEntityTooLarge},
		"little, to a path of none":  {"PUT /metrics/job/a/b", 100, http.StatusBadRequest},
		"little, to where none goes": {"PUT /nowhere", 100, http.StatusNotFound},
	} {
		began := time.Now()
		head := fmt.Sprintf("%s HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: %d\r\n\r\n", test.line,
			test.size)
		res, text, _, err := g.raw(head, nil)
		if err != nil || res.StatusCode != test.want || text == "" {
			t.Errorf("%s: want %d at once, got %v %q, %v", name, test.want, res, text, err)
		}
		if took := time.Since(began); took > restIdle {
			t.Errorf("%s: the answer took %s", name, took)
		}
	}
	res, _, sent, err := g.raw("PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "+
		"4\r\n\r\n", func(write func([]byte) error) error {
		return write([]byte("x 1\n"))
	})
	if err != nil || sent != nil || res.StatusCode != http.StatusContinue {
		t.Errorf("who may is not told to continue: %v, %v, %v", res, sent, err)
	}
}

func TestAConnectionOutlivesARefusalOfASmallBody(t *testing.T) {
	g := start(t)
	for name, head := range map[string]string{
		"of known length": "PUT /metrics/job/a/b HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nx 1\n\n\n",
		"in chunks": "PUT /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nx " +
			"1\n\r\n0\r\n\r\n",
		"of a DELETE": "DELETE /metrics/job/a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nx 1\n\n\n",
	} {
		conn := dial(t, g, head+head)
		answers := bufio.NewReader(conn)
		for i := range 2 {
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: answer %d: %v", name, i+1, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Close {
				t.Errorf("%s: answer %d closes the connection: %v", name, i+1, err)
			}
			res.Body.Close()
		}
	}
}

// TestALongAnswerAfterASmallBodyIsNotCut: the deadline of reading the body must not end the request.
func TestALongAnswerAfterASmallBodyIsNotCut(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	g := startWithoutServer(t)
	g.api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", strings.NewReader("x")))
	if w.Code != http.StatusOK || !w.read.IsZero() {
		t.Errorf("want 200 and no deadline, got %d and %s", w.Code, w.read)
	}
}

// endless is a body whose bytes come one after another in a while each, and how many came.
type endless struct {
	pause time.Duration
	each  int
	came  int
	until time.Time
}

func (e *endless) SetReadDeadline(at time.Time) error { e.until = at; return nil }

func (e *endless) Read(p []byte) (int, error) {
	if wait := time.Until(e.until); wait < e.pause {
		time.Sleep(wait) //nolint:forbidigo // in a bubble, where it takes no time
		return 0, errors.New("deadline exceeded")
	}
	time.Sleep(e.pause) //nolint:forbidigo // in a bubble, where it takes no time
	n := min(e.each, len(p))
	e.came += n
	return n, nil
}

func (e *endless) Close() error { return nil }

// endlessWriter gives the body's deadlines to it.
type endlessWriter struct {
	*httptest.ResponseRecorder
	*endless
	flushed int // bytes of the body that had come
}

func (w *endlessWriter) Write(b []byte) (int, error) { return w.ResponseRecorder.Write(b) }
func (w *endlessWriter) Flush() {
	w.flushed = w.came
	w.ResponseRecorder.Flush()
}

func TestABodyThatDoesNotEndIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		pause   time.Duration
		each    int
		longest time.Duration
		most    int
	}{
		"nothing comes":       {time.Hour, 1, 2 * restIdle, 0},
		"a byte now and then": {time.Second, 1, DefaultPushTimeout + 2*restIdle, 20},
		"as much as there may be": {
			time.Microsecond, len(wireBuffer{}), DefaultPushTimeout,
			restMost + DefaultMaxBodyBytes + megabyte,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := startWithoutServer(t)
				body := &endless{pause: test.pause, each: test.each}
				w := &endlessWriter{ResponseRecorder: httptest.NewRecorder(), endless: body}
				r := httptest.NewRequest(http.MethodPut, "/metrics/job/a/b", body)
				r.ContentLength = -1
				began := time.Now()
				g.api.ServeHTTP(w, r)
				if w.Code != http.StatusBadRequest || w.Header().Get("Connection") != "close" {
					t.Errorf("want 400 and the end of the connection, got %d, %v", w.Code, w.Header())
				}
				if took := time.Since(began); took > test.longest || body.came > test.most {
					t.Errorf("it took %s and %d bytes, want at most %s and %d", took, body.came, test.longest,
						test.most)
				}
				if w.flushed > restKept+len(wireBuffer{}) {
					t.Errorf("the answer was sent after %d bytes", w.flushed)
				}
				if n := g.api.inFlight.discards.used.Load(); n != 0 {
					t.Errorf("%d are still reading", n)
				}
			})
		})
	}
}

// TestFewReadOnAtATime: who opens many connections with bodies that are refused holds no more of them than that.
func TestFewReadOnAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startWithoutServer(t, func(c *Config) { c.MaxPushes = 80 })
		var wg sync.WaitGroup
		var mu sync.Mutex
		late := 0
		for range 50 {
			wg.Go(func() {
				body := &endless{pause: time.Second, each: 1}
				r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", body)
				r.ContentLength = 1 << 40
				began := time.Now()
				g.api.ServeHTTP(&endlessWriter{ResponseRecorder: httptest.NewRecorder(), endless: body}, r)
				mu.Lock()
				defer mu.Unlock()
				if time.Since(began) > 0 {
					late++
				}
			})
		}
		synctest.Wait()
		if n := g.api.inFlight.discards.used.Load(); n != 10 {
			t.Errorf("%d read on, want an eighth of --push.max-requests", n)
		}
		wg.Wait()
		if late != 10 {
			t.Errorf("%d were read on, want 10", late)
		}
		g.idle()
	})
}

func TestOverHTTP2TheAnswerIsReadToo(t *testing.T) {
	g := startWithoutServer(t)
	server := httptest.NewUnstartedServer(g.api)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, expect := range []string{"", "100-continue"} {
		for _, size := range []int64{20 * megabyte, -1} {
			sent := &counter{Reader: io.LimitReader(zeros{}, 20*megabyte)}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/metrics/job/a", sent)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = size
			if expect != "" {
				r.Header.Set("Expect", expect)
			}
			res, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.ProtoMajor != 2 || res.StatusCode != http.StatusRequestEntityTooLarge ||
				!bytes.Contains(text, []byte("--push.max-body-size")) {
				t.Errorf("Expect %q, length %d: want 413 with the flag over HTTP/2, got %s %d %q, %v", expect, size,
					res.Proto, res.StatusCode, text, err)
			}
		}
	}
	if n := g.api.inFlight.discards.used.Load(); n != 0 {
		t.Errorf("%d are still reading", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
