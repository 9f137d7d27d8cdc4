package page

import (
	"iter"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
)

func always() bool { return true }

func never() bool { return false }

// slowly is a writer that takes a time for each write.
type slowly time.Duration

func (d slowly) Write(b []byte) (int, error) {
	<-time.After(time.Duration(d)) // of the bubble's clock
	return len(b), nil
}

// What work takes is a time of the bubble's clock, so that the rests between are all that is added.
func TestWorkRestsWhileOthersAreBusy(t *testing.T) {
	const piece = time.Millisecond
	all, half := runtime.GOMAXPROCS(0), max(runtime.GOMAXPROCS(0)/2, 1)
	// as many for each
	segments := slices.Repeat([]*segment{{packed: packed{content: make([]byte, largeBuffers.size)}}}, 840*half)
	page := &Page{segments: segments[:5]}
	made := func(b Busy) error {
		return b.each(segments, func(*segment, *packer) error { <-time.After(piece); return nil })
	}
	moved := func(b Busy) error {
		page.busy = b
		_, err := page.WriteTo(slowly(piece))
		return err
	}
	cut := func(b Busy) error {
		e := storeOf(t, 500)
		slow := func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
			for h, parts := range e {
				<-time.After(piece)
				if !yield(h, parts) {
					return
				}
			}
		}
		newCutter(nil, form{format: expfmt.FmtText}, b).cut(slow)
		return nil
	}
	names := 0
	for range storeOf(t, 500) {
		names++
	}
	for _, row := range []struct {
		name string
		work func(Busy) error
		busy Busy
		want time.Duration
	}{
		{"segments, nobody there", made, nil, piece * time.Duration((len(segments)+all-1)/all)},
		{"segments, nobody busy", made, never, piece * time.Duration((len(segments)+all-1)/all)},
		{"segments, others busy", made, always, piece*840 + makingRest*paceRests},
		{"writes, nobody busy", moved, never, piece * 5},
		{"writes, others busy", moved, always, piece*5 + movingRest*5},
		{"names, nobody busy", cut, never, piece * time.Duration(names)},
		{"names, others busy", cut, always, (piece + makingRest) * time.Duration(names)},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := row.work(row.busy); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != row.want {
				t.Errorf("%s: it took %s, want %s", row.name, took, row.want)
			}
		})
	}
}
