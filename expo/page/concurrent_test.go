package page

import (
	"bytes"
	"sync"
	"testing"

	"github.com/prometheus/common/expfmt"
)

// TestScrapesMayRunAtTheSameTime is for the race detector: cold families are written by
// several scrapes at once, in several formats, and pages are made of the same page.
func TestScrapesMayRunAtTheSameTime(t *testing.T) {
	e := storeOf(t, 200)
	want := written(t, expfmt.FmtText, storeOf(t, 200))
	first := mustPage(t, expfmt.FmtText, Gzip)
	half := first.mustNext(t, storeOf(t, 100))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var text, proto bytes.Buffer
			if err := Write(&text, expfmt.FmtText, e); err != nil || text.String() != want {
				t.Errorf("text differs or fails: %v", err)
			}
			if err := Write(&proto, expfmt.FmtProtoDelim, e); err != nil {
				t.Error(err)
			}
			next, err := half.Next(e)
			if err != nil {
				t.Error(err)
				return
			}
			if got := next.mustRead(t); got != want {
				t.Errorf("a page of %d bytes differs from one of %d bytes", len(got), len(want))
			}
		})
	}
	wg.Wait()
}
