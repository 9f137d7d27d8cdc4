package page

import (
	"runtime"
	"time"
)

// Busy tells those who make or write a page whether there are others now, whose work should not wait for all of theirs. It is called
// by many goroutines, and nil says that there never are.
type Busy func() bool

// Work beside others rests after so much of it. Pages are made in many small pieces; a write hands a megabyte to the kernel.
const (
	paceWork   = 500 * time.Microsecond
	makingRest = time.Millisecond
	movingRest = 200 * time.Microsecond
	paceRests  = 256 // at most: what takes longer than that should not take three times as long
)

// pace lets others go on beside long work. A processor that is busy for milliseconds makes them wait for as long, though there be
// another one: the kernel lets whoever has it finish its turn.
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
