package gossip

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"pushquorum/cluster/internal/loglimit"
)

// gossipLog turns memberlist's lines, "date time [WARN] memberlist: text", into slog records, one level lower than they
// say: that a member does not answer is gossip's daily bread, and who is missed by Raft is said elsewhere. The text is
// a value, because it quotes what others have sent, and values are cut.
type gossipLog struct {
	logger *slog.Logger
	quiet  *loglimit.Limit
}

func (w gossipLog) Write(p []byte) (int, error) {
	line := string(p)
	_, marked, found := strings.Cut(line, "[")
	mark, text, ok := strings.Cut(marked, "] ")
	if !found || !ok {
		mark, text = "DEBUG", line
	}
	text = strings.TrimSpace(text)
	level := slog.LevelDebug
	if strings.HasPrefix(mark, "ERR") && w.quiet.Allow(text, time.Now()) {
		level = slog.LevelInfo
	}
	w.logger.Log(context.Background(), level, "gossip", "said", strings.TrimPrefix(text, "memberlist: "))
	return len(p), nil
}
