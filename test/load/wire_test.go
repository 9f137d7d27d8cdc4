package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestAPushIsTwentySeriesOfTheGroup(t *testing.T) {
	f := newFiller(httpPush(), 1)
	var last []byte
	for _, group := range []int{0, 12345, 9_999_999} {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(f.next(group))))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("/metrics/job/nightly/instance/host-%07d", group); r.Method != http.MethodPut ||
			r.URL.Path != want {
			t.Errorf("want PUT %s, got %s %s", want, r.Method, r.URL.Path)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) < 2000 || len(body) > 2500 {
			t.Errorf("want about 2.3 KB of text, got %d bytes", len(body))
		}
		if bytes.Equal(body, last) {
			t.Error("two pushes have the same values")
		}
		last = body
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
		if err != nil || len(families) != familiesPerPush {
			t.Fatalf("want %d families, got %d (%v):\n%s", familiesPerPush, len(families), err, body)
		}
		for name, mf := range families {
			if len(mf.GetMetric()) != seriesPerFamily {
				t.Errorf("%s: want %d series, got %d", name, seriesPerFamily, len(mf.GetMetric()))
			}
		}
		if n, err := seriesIn(body, forms()[0]); err != nil || n != seriesPerPush {
			t.Errorf("want %d series counted, got %d (%v)", seriesPerPush, n, err)
		}
		if !bytes.HasSuffix(body, []byte(" "+f.value(seriesPerPush-1)+"\n")) {
			t.Errorf("the last value is not %s:\n%s", f.value(seriesPerPush-1), body)
		}
	}
}

func TestAPutHasTheSameBytes(t *testing.T) {
	message := newFiller(etcdPut(), 1).next(42)
	push := newFiller(httpPush(), 1).next(42)
	_, body, _ := bytes.Cut(push, []byte("\r\n\r\n"))
	want := map[protowire.Number]string{1: "/metrics/job/nightly/instance/host-0000042", 2: string(body)}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 || kind != protowire.BytesType {
			t.Fatalf("no tag of bytes: %q", message)
		}
		value, m := protowire.ConsumeBytes(message[n:])
		if m < 0 || string(value) != want[number] {
			t.Fatalf("field %d: want %q, got %q", number, want[number], value)
		}
		delete(want, number)
		message = message[n+m:]
	}
	if len(want) > 0 {
		t.Errorf("missing fields: %v", want)
	}
}

func TestHTTPAnswersAreReadToTheirEnd(t *testing.T) {
	large := strings.Repeat("0123456789", 1<<16)
	mux := http.NewServeMux()
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		_, _ = io.WriteString(w, large)
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/special")
		for part := range strings.SplitAfterSeq(large, "9") {
			_, _ = io.WriteString(w, part)
		}
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) })
	server := httptest.NewServer(mux)
	defer server.Close()

	c := dialTest(t, server.Listener.Addr().String())
	for range 3 { // on one connection: what is left over of one answer would be taken for the next
		for path, want := range map[string]struct {
			status int
			body   string
		}{"/length": {200, large}, "/chunked": {200, large}, "/empty": {202, ""}, "/none": {204, ""}, "/bad": {
			400, "no\n",
		}} {
			for _, keep := range []bool{true, false} {
				var body bytes.Buffer
				var into io.Writer
				if keep {
					into = &body
				}
				a, err := c.do(request(http.MethodGet, path), into)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if a.status != want.status || a.bytes != int64(len(want.body)) || keep && body.String() != want.body {
					t.Errorf("%s: want %d and %d bytes, got %+v", path, want.status, len(want.body), a)
				}
				if path == "/chunked" && a.contentType != "text/special" {
					t.Errorf("content type %q", a.contentType)
				}
			}
		}
	}
}

func TestAnHTTPAnswerThatStopsEarlyIsAnError(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing":              "",
		"half a header":        "HTTP/1.1 200 OK\r\nContent-Le",
		"a body cut short":     "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
		"no last chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"half a chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n12345",
		"a chunk without end":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123456\r\n0\r\n\r\n",
		"a body of any length": "HTTP/1.1 200 OK\r\n\r\n12345",
		"another protocol":     "SSH-2.0-OpenSSH\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTest(t, serveOnce(t, sent))
			if a, err := c.do(request(http.MethodGet, "/"), nil); err == nil {
				t.Errorf("want an error, got %+v", a)
			}
		})
	}
}

func TestGRPCCallsSucceedOnlyWithAMessageAndStatusZero(t *testing.T) {
	var mu sync.Mutex
	var received [][]byte
	status, message := "0", []byte("reply")
	read := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-read
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		received = append(received, body)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		if message != nil {
			_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))))
			_, _ = w.Write(message)
		}
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", "because")
	}), Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: http2Window}}
	server.Protocols.SetUnencryptedHTTP2(true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()

	c, err := dialGRPC(t.Context(), ln.Addr().String(), "/package.Service/Method")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.within(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	// Many times the window of a connection, by many callers at a time. The server reads nothing until the window is
	// used up.
	want := bytes.Repeat([]byte("0123456789"), 1000)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			one := &call{message: want, done: make(chan error, 1)}
			for range 10 {
				if err := c.call(one); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for usedUp := false; !usedUp; {
		<-tick.C
		c.mu.Lock()
		usedUp = c.failed != nil || len(c.queue) > 0 && c.window < int64(len(want))
		c.mu.Unlock()
	}
	close(read)
	callers.Wait()
	if len(received) != 200 || !bytes.Equal(received[199][grpcPrefixLength:], want) {
		t.Fatalf("the server has received %d messages", len(received))
	}
	one := &call{message: want, done: make(chan error, 1)}
	status = "14"
	if err := c.call(one); err == nil || !strings.Contains(err.Error(), `gRPC status "14"`) {
		t.Errorf("want the status as an error, got %v", err)
	}
	status, message = "0", nil
	if err := c.call(one); err == nil {
		t.Error("an answer without a message: want an error")
	}
	_ = server.Close()
	if err := c.call(one); err == nil {
		t.Error("a server that is gone: want an error")
	}
}

func dialTest(t *testing.T, address string) *httpConn {
	t.Helper()
	c, err := dialHTTP(t.Context(), address, pushBuffer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if err := c.within(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	return c
}

// serveOnce answers the first connection with the bytes, and closes it.
func serveOnce(t *testing.T, sent string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = io.WriteString(conn, sent)
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}
