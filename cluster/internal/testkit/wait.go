// Package testkit is what the tests of more than one package of cluster need.
package testkit

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Deadline bounds what a test waits for. It is long, because many tests run at once; none that passes waits for it. It
// is shorter than the minute after which a failed write is forgotten, so that nobody waits for that.
const Deadline = 45 * time.Second

// Eventually waits for a condition; what says what was awaited.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, Deadline, what, cond)
}

// Within is Eventually for what has to happen in a time.
func Within(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(limit)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("within %s: %s: did not happen", limit, what)
		}
	}
}

// Context ends with the test, or after [Deadline].
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	t.Cleanup(cancel)
	return ctx
}

// LogBuffer keeps a log for a failing test.
type LogBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String gives all that was written.
func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Flood opens connections that say nothing and gives a function that counts those that are still open.
func Flood(t testing.TB, address string, n int) (open func() int) {
	t.Helper()
	var mu sync.Mutex
	left := n
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			mu.Lock()
			defer mu.Unlock()
			left--
		}()
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return left
	}
}
