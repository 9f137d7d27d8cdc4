package test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pushMuch pushes what is just allowed, and what is too much: that answer must reach the client, which sends all of its
// body before it reads.
func (p *pusher) pushMuch(t *testing.T, r *replica) {
	line := p.line(t)
	job := "much." + p.name
	t.Run("15 MB are taken", func(t *testing.T) {
		metrics, parts := megabytes(15)
		if o := p.run(t, line, metrics, "push", r.url(""), job); o.code != taken {
			t.Fatalf("want it to be taken, got: %s", o.line)
		}
		if got := storedGroup(t, r, group(job, nil)); len(got) != parts {
			t.Errorf("want %d series stored, got %d", parts, len(got))
		}
		if o := p.run(t, line, "", "delete", r.url(""), job); o.code != taken {
			t.Fatalf("delete: want it to be taken, got: %s", o.line)
		}
	})
	t.Run("20 MB are refused with an answer", func(t *testing.T) {
		metrics, _ := megabytes(20)
		// Whether a client has sent all of it before the connection breaks is a matter of luck.
		for range 2 {
			o := p.run(t, line, metrics, "push", r.url(""), job)
			if o.code != refused || o.status() != http.StatusRequestEntityTooLarge {
				t.Fatalf("want the client to read a 413, got: %s", o.line)
			}
		}
	})
}

// megabytes are metrics for a body of at least so many, in series of 10 kB.
func megabytes(n int) (metrics string, parts int) {
	parts = n * 100
	var text strings.Builder
	padding := strings.Repeat("x", 10_000)
	for i := range parts {
		fmt.Fprintf(&text, "e2e_client_much %05d%s %d\n", i, padding, i)
	}
	return text.String(), parts
}

// sticky is a client that goes on pushing, one number after the other, to one replica until that breaks, and then to
// the others.
type sticky struct {
	*pusher
	line         []string
	to           string       // its job says where it begins
	at           int          // where it pushes: 0 is the replica that dies
	acknowledged atomic.Int64 // the last number that was taken
	broken       int          // how often it has had no answer
}

func (s *sticky) job() string { return s.to + "." + s.name }

// dieUnderClients kills the leader. Who talks to it finds broken connections, and goes on with the living replicas; who
// talks to another replica notices nothing. What they were told to be taken is there.
func dieUnderClients(t *testing.T, c *clusterOf, clients []*pusher) {
	victim, living := c.leader(), c.followers()
	var stickies []*sticky
	for _, p := range clients {
		t.Run(p.name, func(t *testing.T) {
			line := p.line(t)
			stickies = append(stickies,
				&sticky{pusher: p, line: line, to: "leader"},
				&sticky{pusher: p, line: line, to: "follower", at: 1})
		})
	}
	if len(stickies) == 0 {
		t.Skip("no client is installed")
	}
	quit := make(chan struct{})
	var done sync.WaitGroup
	end := sync.OnceFunc(func() { close(quit); done.Wait() })
	defer end()
	for _, s := range stickies {
		done.Go(func() { s.pushOn(t, append([]*replica{victim}, living...), quit) })
	}
	progress := func(n int64) {
		t.Helper()
		for _, s := range stickies {
			want := s.acknowledged.Load() + n
			eventually(t, 2*clientTimeout, s.job()+" goes on pushing", func() error {
				if got := s.acknowledged.Load(); got < want {
					return fmt.Errorf("%d more pushes wanted", want-got)
				}
				return nil
			})
		}
	}
	progress(2)
	victim.kill()
	progress(2)
	end()

	for _, s := range stickies {
		if s.to == "leader" && s.broken == 0 {
			t.Errorf("%s has not noticed that its replica died", s.name)
		}
	}
	check := func(replicas ...*replica) {
		t.Helper()
		for _, s := range stickies {
			want := map[string]string{"e2e_client_a/x": fmt.Sprint(s.acknowledged.Load())}
			for _, r := range replicas {
				if got := storedGroup(t, r, group(s.job(), nil)); !maps.Equal(got, want) {
					t.Errorf("%s on %s: want what was acknowledged last, %v, got %v", s.job(), r.name, want, got)
				}
			}
		}
	}
	check(living...)
	victim.restart()
	c.mustAgree()
	check(victim)
}

// pushOn begins no new push after quit, and ends with one that was taken. It takes its time, so that a slow client has
// a part of the processors.
func (s *sticky) pushOn(t *testing.T, replicas []*replica, quit chan struct{}) {
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for n := int64(1); ; n++ {
		for {
			action, metrics := []string{"push", "add"}[n%2], fmt.Sprintf("e2e_client_a x %d\n", n)
			o := s.run(t, s.line, metrics, action, replicas[s.at].url(""), s.job())
			if o.code == taken {
				break
			}
			if o.code != unanswered || s.at != 0 {
				t.Errorf("%s: push %d to %s: want it taken, or a broken connection to the replica that dies, got: %s",
					s.job(), n, replicas[s.at].name, o.line)
				return
			}
			s.broken++
			s.at = 1
		}
		s.acknowledged.Store(n)
		select {
		case <-quit:
			return
		case <-pace.C:
		}
		if s.at != 0 {
			s.at = 3 - s.at // the one living replica, and the other
		}
	}
}
