package disk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
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

// fullStable takes nothing while it is full.
type fullStable struct {
	raft.StableStore
	full atomic.Bool
}

func (s *fullStable) Set([]byte, []byte) error { return s.err() }

func (s *fullStable) SetUint64([]byte, uint64) error { return s.err() }

func (s *fullStable) err() error {
	if s.full.Load() {
		return io.ErrShortWrite
	}
	return nil
}

func TestTheWatchHearsOfTermsAndVotesAndATermWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewWatch(t.TempDir(), func(string, int) error { return nil }, time.Hour, slog.New(slog.DiscardHandler))
		below := &fullStable{}
		s := d.Patient(below)
		below.full.Store(true)
		if err := s.Set([]byte("LastVoteCand"), nil); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a vote that could not be stored: %v", err)
		}
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), writeTerm) {
			t.Errorf("a vote could not be stored, and the watch says %v", err)
		}
		below.full.Store(false)
		if err := errors.Join(s.Set([]byte("LastVoteCand"), nil), d.Err()); err != nil {
			t.Errorf("a vote that was stored: %v", err)
		}

		below.full.Store(true)
		if err := s.SetUint64([]byte(termKey), 7); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a term before the watch runs: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { d.Run(ctx) })
		synctest.Wait()
		stored := make(chan error, 1)
		store := func() { stored <- s.SetUint64([]byte(termKey), 8) }
		all.Go(store)
		time.Sleep(10 * termRetry) //nolint:forbidigo // the bubble's time
		if len(stored) > 0 || d.Err() == nil || !strings.Contains(d.Err().Error(), writeTerm) {
			t.Errorf("a term that cannot be stored: %d have ended, and the watch says %v", len(stored), d.Err())
		}
		below.full.Store(false)
		if err := errors.Join(<-stored, d.Err()); err != nil {
			t.Errorf("a term that was stored in the end: %v", err)
		}
		below.full.Store(true)
		all.Go(store)
		synctest.Wait()
		d.Release()
		if err := <-stored; err != nil {
			t.Errorf("a term of a Raft that stops: %v", err)
		}
		cancel()
		all.Wait()
	})
}
