package expo

import (
	"bytes"
	"sync"
	"testing"

	"github.com/prometheus/common/expfmt"
)

// TestScrapesMayRunAtTheSameTime is for the race detector: cold families are written by
// several scrapes at once, in several formats.
func TestScrapesMayRunAtTheSameTime(t *testing.T) {
	e := storeOf(t, 20)
	want := written(t, expfmt.FmtText, storeOf(t, 20))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var text, proto bytes.Buffer
			if err := Write(&text, expfmt.FmtText, e); err != nil || text.String() != want {
				t.Errorf("text differs or fails: %v", err)
			}
			z, err := Compress(&proto, Gzip)
			if err != nil {
				t.Error(err)
				return
			}
			if err := Write(z, expfmt.FmtProtoDelim, e); err != nil {
				t.Error(err)
			}
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
