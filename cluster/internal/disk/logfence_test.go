package disk

import (
	"errors"
	"testing"

	"pushquorum/cluster/internal/testkit"
)

func TestALogThatIsFencedTakesNothing(t *testing.T) {
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) {
			s, _, closeLog := openTestLog(t, where, t.TempDir())
			defer closeLog()
			if err := s.StoreLog(testkit.Entry(1, 1)); err != nil {
				t.Fatal(err)
			}
			written := 0
			s.onState = func() error {
				written++
				s.refuse(ErrGone) // while an append is under way
				return nil
			}
			for range 2 {
				if err := s.StoreLog(testkit.Entry(2, 1)); !errors.Is(err, ErrGone) {
					t.Errorf("an entry is taken: %v", err)
				}
				if last, _ := s.LastIndex(); last != 1 {
					t.Errorf("the log ends with entry %d", last)
				}
			}
			if written != 1 {
				t.Errorf("%d were written, want the one that was under way", written)
			}
		})
	}
}
