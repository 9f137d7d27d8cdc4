package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestWhatGossipSaysIsAValue: what others have put into it has no place in a message, because values are cut and
// messages are not.
func TestWhatGossipSaysIsAValue(t *testing.T) {
	var b bytes.Buffer
	w := gossipLog{logger: slog.New(slog.NewTextHandler(&b, nil)), quiet: newQuietBook()}
	for _, line := range []string{
		"2026/01/01 00:00:00 [ERR] memberlist: Conflicting address for EVIL]. Mine: 1 Theirs: 2\n",
		"2026/01/01 00:00:00 [WARN] memberlist: a warning about EVIL\n", // debug
	} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got, want := b.String(), ` level=INFO msg=gossip said="Conflicting address for EVIL]. Mine: 1 Theirs: 2"`+"\n"; !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want one line with %q", got, want)
	}
}

func TestMessagesThatQuoteOthersDoNotPileUp(t *testing.T) {
	q := newQuietBook()
	now, shown := time.Unix(1_000_000, 0), 0
	for i := range 10 * maxQuiet {
		if q.show(fmt.Sprintf("message %d", i), now) {
			shown++
		}
	}
	if shown != maxQuiet || len(q.last) > maxQuiet {
		t.Errorf("%d of as many in a moment were shown, %d are remembered, want %d", shown, len(q.last), maxQuiet)
	}
	if !q.show("message 0", now.Add(quietFor)) || len(q.last) != 1 {
		t.Errorf("later nothing is shown, or what is forgotten is kept: %d", len(q.last))
	}
}
