package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tooLong is more than --push.max-body-size allows by default.
const tooLong = 20 << 20

// TestCurlReadsWhyAPushIsRefused, whether it asks before it sends, or sends at once, as other versions do.
func TestCurlReadsWhyAPushIsRefused(t *testing.T) {
	t.Parallel()
	curl := need(t, "curl")
	r := startReplica(t)
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte(strings.Repeat("m{l=\"a label\"} 1\n", tooLong/17)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"asks": nil, "does not ask": {"-H", "Expect:"},
		"sends chunks": {"-H", "Expect:", "-H", "Transfer-Encoding: chunked"},
	} {
		for path, says := range map[string]string{
			"/metrics/job/a": "--push.max-body-size", "/metrics/job/a/b": "odd number of components",
			"/elsewhere": "404",
		} {
			began := time.Now()
			line := append([]string{"-sS", "-w", "%{http_code}", "--data-binary", "@" + file}, args...)
			code, out, errs := runProcess(t, "", curl, append(line, r.url(path))...)
			if code != 0 || !strings.Contains(out, says) {
				t.Errorf("curl that %s, to %s: exit code %d after %s, want %q in %q\n%s", name, path, code,
					time.Since(began), says, out, errs)
			}
		}
	}
}

// TestWhoSendsAllBeforeReadingSeesTheAnswer writes a body by hand, as clients do that look for an answer only
// afterwards.
func TestWhoSendsAllBeforeReadingSeesTheAnswer(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	for _, size := range []int{17 << 20, tooLong, 100 << 20} {
		for _, chunked := range []bool{false, true} {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.web)
			if err != nil {
				t.Fatal(err)
			}
			answer, sent, err := sendThenRead(conn, size, chunked)
			if sent != nil || err != nil || !strings.HasPrefix(answer, "HTTP/1.1 413 ") ||
				!strings.Contains(answer, "--push.max-body-size") {
				t.Errorf("%d bytes, chunked=%v: want 413 with the flag, got %q; sending %v, reading %v",
					size, chunked, answer, sent, err)
			}
		}
	}
	r.push("/metrics/job/after", gauge("m", 1))
	mustDo(t, http.StatusOK, request{url: r.url("/-/healthy")})
}

// sendThenRead sends a push of so many bytes, and reads only then. sent is what sending it came to.
func sendThenRead(conn net.Conn, size int, chunked bool) (answer string, sent, err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return "", nil, err
	}
	part := make([]byte, 1<<20)
	head, tail := fmt.Sprintf("Content-Length: %d\r\n\r\n", size), ""
	if chunked {
		head, tail = "Transfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"
		part = fmt.Appendf(nil, "%x\r\n%s\r\n", len(part), part)
	}
	write := func(b []byte) {
		if sent == nil {
			_, sent = conn.Write(b)
		}
	}
	write([]byte("PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\n" + head))
	for range size >> 20 {
		write(part)
	}
	write([]byte(tail))
	var b strings.Builder
	buffer := make([]byte, 4<<10)
	for { // until the other side closes: the answer says that it will
		n, err := conn.Read(buffer)
		b.Write(buffer[:n])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return b.String(), sent, err
		}
	}
}
