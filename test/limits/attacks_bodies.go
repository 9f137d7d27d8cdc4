package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// slow is a body of so many bytes of text, at so many bytes a second.
type slow struct {
	a        *assault
	line     string
	left     int
	perPiece time.Duration
	next     time.Time
}

const slowPiece = 64 << 10

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if wait := time.Until(s.next); wait > 0 {
		select {
		case <-s.a.ctx.Done():
			return 0, s.a.ctx.Err()
		case <-time.After(wait):
		}
	}
	s.next = time.Now().Add(s.perPiece)
	n := 0
	for n+len(s.line) <= min(len(p), slowPiece) && s.left >= len(s.line) {
		n += copy(p[n:], s.line)
		s.left -= len(s.line)
	}
	if s.left < len(s.line) {
		s.left = 0
	}
	return n, nil
}

// largeBodies sends many large bodies at a time, each a piece at a time, so that they are all under way. Every other
// one does not say how long it is.
func largeBodies(a *assault) {
	const size, perSecond = 15_900_000, 2 << 20
	a.clients(300, func(i int) {
		line := fmt.Sprintf("body{client=\"%03d\",filler=%q} 1\n", i, strings.Repeat("x", 40))
		length := size / len(line) * len(line)
		q := ask{
			method: http.MethodPut, url: a.replica(i).url(fmt.Sprintf("/metrics/job/body/instance/%d", i)),
			body: &slow{a: a, line: line, left: length, perPiece: time.Second * slowPiece / perSecond},
		}
		if i%2 == 0 {
			q.length = int64(length)
		}
		a.send(q)
	})
}
