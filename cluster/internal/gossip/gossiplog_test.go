package gossip

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"pushquorum/cluster/internal/loglimit"
)

// TestWhatGossipSaysIsAValue: what others have put into it has no place in a message, because values are cut and
// messages are not.
func TestWhatGossipSaysIsAValue(t *testing.T) {
	var b bytes.Buffer
	w := gossipLog{logger: slog.New(slog.NewTextHandler(&b, nil)), quiet: loglimit.New()}
	for _, line := range []string{
		"2026/01/01 00:00:00 [ERR] memberlist: Conflicting address for EVIL]. Mine: 1 Theirs: 2\n",
		"2026/01/01 00:00:00 [WARN] memberlist: a warning about EVIL\n", // debug
	} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	got, want := b.String(), ` level=INFO msg=gossip said="Conflicting address for EVIL]. Mine: 1 Theirs: 2"`+"\n"
	if !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want one line with %q", got, want)
	}
}
