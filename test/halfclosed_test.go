package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestWhoClosesHisHalfOfTheConnectionIsAnswered pushes and deletes as `printf … | nc` does, and scripts that shut down
// what they write to: all has been sent, and the answer is waited for. To a server it looks like a client that has
// gone.
func TestWhoClosesHisHalfOfTheConnectionIsAnswered(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	for i := range 20 {
		path := fmt.Sprintf("/metrics/job/half%d", i)
		if a := halfClosed(t, r.web, http.MethodPut, path, gauge("e2e_half", i)); a != http.StatusOK {
			t.Fatalf("PUT %d: want 200, got %d", i, a)
		}
		mustHave(t, r.scrape(), fmt.Sprintf(`e2e_half{instance="",job="half%d"}`, i), fmt.Sprint(i))
		if a := halfClosed(t, r.web, http.MethodDelete, path, ""); a != http.StatusAccepted {
			t.Fatalf("DELETE %d: want 202, got %d", i, a)
		}
		mustLack(t, r.scrape(), fmt.Sprintf("half%d", i))
	}
}

// halfClosed sends a request, closes what it writes to, and returns the status of the answer.
func halfClosed(t *testing.T, host, method, path, body string) (status int) {
	t.Helper()
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body),
		body); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}
