package api

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pushquorum/expo/page"
)

const (
	// forgetCause is how long a cause must have been absent to be logged again: longer than any sane scrape interval.
	forgetCause = pageIdle
	// maxCauses is how many are remembered.
	maxCauses = 100
)

// scrapeLog logs a fault once that each scrape, or each request, meets as long as its cause is there. It logs a cause
// again that comes back after it has been absent.
type scrapeLog struct {
	log  *slog.Logger
	now  func() time.Time
	seed maphash.Seed

	mu  sync.Mutex
	met map[uint64]time.Time // when a cause was last met, by its hash
}

func newScrapeLog(log *slog.Logger) *scrapeLog {
	return &scrapeLog{log: log, now: time.Now, seed: maphash.MakeSeed(), met: map[uint64]time.Time{}}
}

// once logs a message with its cause, unless the same has been logged for it.
func (l *scrapeLog) once(level slog.Level, cause error, msg string, args ...any) {
	if l.isNews(msg + "\n" + cause.Error()) {
		l.log.Log(context.Background(), level, msg, append(args, "err", cause)...)
	}
}

func (l *scrapeLog) isNews(cause string) bool {
	hash, now := maphash.String(l.seed, cause), l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	last, known := l.met[hash]
	if !known && len(l.met) >= maxCauses {
		l.forgetLocked(now)
	}
	l.met[hash] = now
	return !known || now.Sub(last) > forgetCause
}

// forgetLocked makes room: it forgets absent causes, or else the one that was met longest ago.
func (l *scrapeLog) forgetLocked(now time.Time) {
	var oldest uint64
	for hash, last := range l.met {
		if now.Sub(last) > forgetCause {
			delete(l.met, hash)
		} else if at, ok := l.met[oldest]; !ok || last.Before(at) {
			oldest = hash
		}
	}
	if len(l.met) >= maxCauses {
		delete(l.met, oldest)
	}
}

// catch is deferred around the handling of a request. It logs a panic once, as any fault of ours; net/http would write
// the stack of each. Then it has the connection closed, because what was sent of an answer must not look complete.
func (a *API) catch(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler { //nolint:errorlint // what net/http compares, too
		a.scrapeLog.once(slog.LevelError, page.Caught(p), "a request failed",
			"method", r.Method, "path", shownPath(r), "source", r.RemoteAddr)
	}
	panic(http.ErrAbortHandler)
}
