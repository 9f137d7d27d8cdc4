package loglimit

import (
	"fmt"
	"testing"
	"time"
)

func TestMessagesThatQuoteOthersDoNotPileUp(t *testing.T) {
	q := New()
	now, shown := time.Unix(1_000_000, 0), 0
	for i := range 10 * maxMessages {
		if q.Allow(fmt.Sprintf("message %d", i), now) {
			shown++
		}
	}
	if shown != maxMessages || len(q.last) > maxMessages {
		t.Errorf("%d of as many in a moment were shown, %d are remembered, want %d", shown, len(q.last), maxMessages)
	}
	if !q.Allow("message 0", now.Add(quietFor)) || len(q.last) != 1 {
		t.Errorf("later nothing is shown, or what is forgotten is kept: %d", len(q.last))
	}
}
