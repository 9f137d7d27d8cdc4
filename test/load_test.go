package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load is a number of writers without a pause, each with a group of its own, and a reader. Every write has a number
// that grows within its group, and so each scrape can be held against what is known:
//
//	acknowledged ≤ what a scrape shows ≤ begun
//
// A write without an answer is tried again, on the next replica, with the same Idempotency-Key, until it is
// acknowledged: whichever of its copies arrives late, it must not undo a later write.
type load struct {
	t       testing.TB
	c       *clusterOf
	name    string
	writers []*writer
	quit    chan struct{}
	done    sync.WaitGroup

	acknowledged, retried, scrapes atomic.Int64
}

// writer is the history of one group.
type writer struct {
	job string

	sync.Mutex
	// acknowledged and begun are numbers of writes, acknowledged ≤ begun ≤ acknowledged+1.
	acknowledged, begun int
}

// writerPatience is shorter than --push.timeout, so that copies of a request overtake each other.
const (
	writers        = 6
	writerPatience = 2 * time.Second
)

// isDelete says what the n-th write of a group is: most push n, some delete.
func isDelete(n int) bool { return n%5 == 0 }

func startLoad(t testing.TB, c *clusterOf) *load {
	t.Helper()
	l := &load{t: t, c: c, name: fmt.Sprintf("load%d", rand.IntN(1e6)), quit: make(chan struct{})}
	for i := range writers {
		w := &writer{job: fmt.Sprintf("%s-%d", l.name, i)}
		l.writers = append(l.writers, w)
		l.done.Go(func() { l.write(w, i) })
	}
	l.done.Go(l.read)
	t.Cleanup(l.stop)
	return l
}

// stop ends the load; writes that are not acknowledged yet stay so.
func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	l.done.Wait()
}

// progress waits until so many more writes were acknowledged.
func (l *load) progress(n int64) {
	l.t.Helper()
	want := l.acknowledged.Load() + n
	eventually(l.t, 60*time.Second, fmt.Sprintf("acknowledge %d more writes", n), func() error {
		if got := l.acknowledged.Load(); got < want {
			return fmt.Errorf("%d to go", want-got)
		}
		return nil
	})
}

func (l *load) write(w *writer, at int) {
	for n := 1; ; n++ {
		w.Lock()
		w.begun = n
		w.Unlock()
		r := request{
			method: http.MethodPut, body: gauge("e2e_load", n), timeout: writerPatience,
			header: map[string]string{"Idempotency-Key": fmt.Sprintf("%s/%d", w.job, n)},
		}
		want := http.StatusOK
		if isDelete(n) {
			r.method, r.body, want = http.MethodDelete, "", http.StatusAccepted
		}
		for {
			at++
			r.url = l.c.at(at).url("/metrics/job/" + w.job)
			a, err := do(r)
			if err == nil && a.status == want {
				break
			}
			if err == nil && a.status != http.StatusServiceUnavailable {
				l.t.Errorf("%s: want %d or 503, got %s", r, want, a)
				return
			}
			l.retried.Add(1)
			select {
			case <-l.quit:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		l.acknowledged.Add(1)
		w.Lock()
		w.acknowledged = n
		w.Unlock()
		select {
		case <-l.quit:
			return
		default:
		}
	}
}

// read holds scrapes of one replica after another against the histories while they are being made.
func (l *load) read() {
	for i := 0; ; i++ {
		select {
		case <-l.quit:
			return
		case <-time.After(20 * time.Millisecond):
		}
		before := make([]int, len(l.writers))
		for j, w := range l.writers {
			w.Lock()
			before[j] = w.acknowledged
			w.Unlock()
		}
		a, err := do(request{url: l.c.at(i).url("/metrics"), timeout: 5 * time.Second})
		if err != nil || a.status == http.StatusServiceUnavailable || a.header.Get(staleHeader) != "" {
			continue // it is down, or says itself that it does not know the latest
		}
		if a.status != http.StatusOK {
			l.t.Errorf("scrape %s: %s", l.c.at(i).name, a)
			return
		}
		l.scrapes.Add(1)
		shown := l.values(a.body)
		for j, w := range l.writers {
			w.Lock()
			begun := w.begun
			w.Unlock()
			if err := allowed(shown[w.job], before[j], begun); err != nil {
				l.t.Errorf("a scrape of %s, not marked as stale, shows of %s: %v", l.c.at(i).name, w.job, err)
				return
			}
		}
	}
}

// check holds the last scrape against the histories.
func (l *load) check(scrape string) {
	l.t.Helper()
	shown := l.values(scrape)
	for _, w := range l.writers {
		if err := allowed(shown[w.job], w.acknowledged, w.begun); err != nil {
			l.t.Errorf("%s: %v", w.job, err)
		}
		if w.acknowledged == 0 {
			l.t.Errorf("%s: no write was acknowledged at all", w.job)
		}
	}
}

// allowed says whether a group that shows the value (0: there is no such group) can have had acknowledged writes up to
// one number and writes begun up to another.
func allowed(value, acknowledged, begun int) error {
	if value == 0 {
		for n := acknowledged; n <= begun; n++ {
			if n == 0 || isDelete(n) {
				return nil
			}
		}
		return fmt.Errorf("nothing, although push %d was acknowledged and no deletion was begun since (begun: %d)",
			acknowledged, begun)
	}
	if value < acknowledged || value > begun {
		return fmt.Errorf("push %d, although %d was acknowledged and %d was the last one begun",
			value, acknowledged, begun)
	}
	return nil
}

// values are the numbers that a scrape shows, by job.
func (l *load) values(scrape string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(scrape) {
		var index, value int
		if n, _ := fmt.Sscanf(line, `e2e_load{instance="",job="`+l.name+`-%d"} %d`, &index, &value); n == 2 {
			out[fmt.Sprintf("%s-%d", l.name, index)] = value
		}
	}
	return out
}

// pause stops a process where it stands, as a debugger, a hypervisor or a full swap does.
func pause(t testing.TB, r *replica) {
	t.Helper()
	if err := r.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func resume(t testing.TB, r *replica) {
	t.Helper()
	if err := r.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
