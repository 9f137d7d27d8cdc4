package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// change pushes other values to one large group, again and again, and tells of each time. The group keeps its size,
// which even a full replica allows; where there is none it makes one.
func (a *assault) change(changed func(n int)) {
	path := largePrefix + "1"
	if all := a.c.ledger.paths(largePrefix); len(all) > 0 {
		path = all[0]
	}
	bodies := make([]string, 8)
	for i := range bodies {
		bodies[i] = large(fmt.Sprint(2000 + i))
	}
	for n := 0; a.ctx.Err() == nil; n++ {
		a.push(http.MethodPut, a.replica(n), path, bodies[n%len(bodies)], "")
		changed(n)
	}
}

// forms are the ways to ask for the page: each of these is another one.
func forms() []map[string]string {
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	var out []map[string]string
	for _, format := range []string{
		"text/plain;version=0.0.4", protobuf + "delimited", protobuf + "text", protobuf + "compact-text",
	} {
		for _, escaping := range []string{"allow-utf-8", "underscores"} {
			for _, encoding := range []string{"identity", "gzip", "zstd"} {
				out = append(
					out, map[string]string{"Accept": format + ";escaping=" + escaping, "Accept-Encoding": encoding})
			}
		}
	}
	// What is not spoken here is answered with text.
	for _, format := range []string{
		"application/openmetrics-text;version=1.0.0", "application/openmetrics-text;version=0.0.1",
		"text/plain;version=1.0.0",
	} {
		out = append(out, map[string]string{"Accept": format + ";escaping=allow-utf-8;q=0.6,*/*;q=0.1"})
	}
	return out
}

// allForms asks one replica after another for all forms at once, for the groups as JSON and for the page for people.
func allForms(a *assault) {
	var all sync.WaitGroup
	all.Go(func() { a.change(func(int) {}) })
	for n := 0; a.ctx.Err() == nil; n++ {
		r := a.replica(n)
		var once sync.WaitGroup
		ask := func(path string, header map[string]string) {
			once.Go(func() {
				a.send(ask{method: http.MethodGet, url: r.url(path), header: header, forget: true})
			})
		}
		for _, form := range forms() {
			ask("/metrics", form)
		}
		for range 4 {
			ask("/api/v1/metrics", nil)
			ask("/", nil)
		}
		once.Wait()
	}
	all.Wait()
}

// stoppedReaders ask for the page after each change, and never read it.
func stoppedReaders(a *assault) {
	const most = 100 // of each replica
	var open []net.Conn
	a.change(func(n int) {
		if n >= most {
			return
		}
		for _, r := range a.c.replicas {
			conn, err := net.DialTimeout("tcp", r.web, time.Second)
			if err != nil {
				continue
			}
			open = append(open, conn)
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: limits\r\n\r\n") // it may have been refused
		}
	})
	for _, conn := range open {
		_ = conn.Close()
	}
}
