package page

import (
	"runtime"
	"time"
)

// Busy tells whether there is other work now that should not wait until a page has been made or written. Many
// goroutines call it. A nil Busy says that there never is.
type Busy func() bool

// While others are busy, work on a page rests after each paceWork: between two pieces of a page that is made, and
// between two writes of one that is sent.
const (
	paceWork   = 500 * time.Microsecond
	makingRest = time.Millisecond
	movingRest = 200 * time.Microsecond
	paceRests  = 256 // at most, so that the rests of a large page come to an end
)

// pace makes long work rest, so that others can go on beside it. Without rests they wait for as long as the kernel lets
// the work have its processor.
type pace struct {
	busy  Busy
	long  time.Duration // of a rest
	rests int           // that are left
	began time.Time
}

func (b Busy) now() bool { return b != nil && b() }

func (b Busy) pace(long time.Duration) pace { return pace{b, long, paceRests, time.Now()} }

// rest is called between two pieces of work. It rests if it is time to.
func (p *pace) rest() {
	if p.busy == nil || p.rests == 0 || time.Since(p.began) <= paceWork {
		runtime.Gosched()
		return
	}
	if p.busy() {
		<-time.After(p.long)
		p.rests--
	}
	p.began = time.Now()
}
