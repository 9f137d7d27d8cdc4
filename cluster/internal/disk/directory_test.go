package disk

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTheLastWriteOfEachKindCounts(t *testing.T) {
	d := NewWatch("/data", func(string, int) error { return nil }, time.Hour, slog.New(slog.DiscardHandler))
	kinds := []string{writeLog, writeTerm, writeSnapshot}
	for _, failed := range kinds {
		d.wrote(failed, io.ErrShortWrite)
		for _, other := range kinds {
			if other != failed {
				d.wrote(other, nil)
			}
		}
		d.Check()
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), failed) ||
			!strings.Contains(err.Error(), "/data") {
			t.Errorf("%s could not be written: %v", failed, err)
		}
		if d.Lasts() <= 0 {
			t.Errorf("%s: the gauge shows nothing", failed)
		}
		d.wrote(failed, nil)
		if err := d.Err(); err != nil || d.Lasts() != 0 {
			t.Errorf("%s could be written again: %v for %s", failed, err, d.Lasts())
		}
	}
}
