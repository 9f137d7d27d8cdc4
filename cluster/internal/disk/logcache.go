package disk

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// cachedEntries is how many entries are kept at most. What was appended last is kept for the followers and for the
	// state machine, who ask for it at once: so many entries, and so many bytes of them.
	cachedEntries = 32
	// cachedBytes bounds the data of these entries.
	cachedBytes = 8 << 20
	// deferredSize is the size of the largest entry that Raft gets with its data from the disk. Raft reads
	// entries for a follower that was away by their number, whatever their size, and at a start it keeps thousands of
	// them before the state machine. Bytes.
	deferredSize = 4 << 10
	// knownSize is the size of the largest entry that is read again to find out that its data is deferred. Bytes.
	knownSize = 32 << 10
	// MaxSent bounds the data of the entries that are sent to a follower at a time; a larger entry goes alone. Bytes.
	MaxSent = 2 << 20
)

// deferred stands for the data of an entry. It is known by its address, so that no data can be taken for it.
var deferred = []byte("deferred")

// isDeferred tells whether an entry came without its data: [logCache.full] gives it.
func isDeferred(l *raft.Log) bool { return len(l.Data) > 0 && &l.Data[0] == &deferred[0] }

// logCache is what of the log is in memory, bounded in bytes: what Raft asks for and is neither small nor among the
// last entries comes without its data, which is read where it is needed: for the state machine one entry after the
// other, for a follower as much as is sent at a time.
type logCache struct {
	raft.LogStore
	largest int // size of data that is not deferred

	mu     sync.RWMutex
	recent []raft.Log // the last ones, in a row
	bytes  int        // of their data
	large  map[uint64]raft.Log
	drops  int // grows when entries are deleted: what was read before that is not remembered
}

// newLogCache makes a cache that defers nothing, for who is not Raft; deferring makes it one for Raft.
func newLogCache(store raft.LogStore) *logCache {
	return &logCache{LogStore: store, largest: math.MaxInt, large: map[uint64]raft.Log{}}
}

// deferring makes it a cache for Raft, which gets large entries without their data.
func (c *logCache) deferring() *logCache {
	c.largest = deferredSize
	return c
}

// GetLog implements raft.LogStore.
func (c *logCache) GetLog(index uint64, l *raft.Log) error {
	drops, ok := c.cached(index, l)
	if ok {
		return nil
	}
	if err := c.LogStore.GetLog(index, l); err != nil {
		return err
	}
	if l.Type != raft.LogCommand || len(l.Data) <= c.largest {
		return nil
	}
	size := len(l.Data)
	l.Data = deferred
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > knownSize && c.drops == drops {
		c.large[index] = *l
	}
	return nil
}

func (c *logCache) cached(index uint64, l *raft.Log) (drops int, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.recent) > 0 && index-c.recent[0].Index < uint64(len(c.recent)) {
		*l = c.recent[index-c.recent[0].Index]
		return c.drops, true
	}
	known, ok := c.large[index]
	if ok {
		*l = known
	}
	return c.drops, ok
}

// StoreLog implements raft.LogStore.
func (c *logCache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (c *logCache) StoreLogs(logs []*raft.Log) error {
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		if n := len(c.recent); n > 0 && c.recent[n-1].Index+1 != l.Index {
			c.forget(n)
		}
		c.recent = append(c.recent, *l)
		c.bytes += len(l.Data)
		old := 0
		for bytes := c.bytes; len(c.recent)-old > cachedEntries || bytes > cachedBytes; old++ {
			bytes -= len(c.recent[old].Data)
		}
		c.forget(old)
	}
	return nil
}

// forget lets go of the oldest ones.
func (c *logCache) forget(n int) {
	for _, l := range c.recent[:n] {
		size := len(l.Data)
		if c.bytes -= size; l.Type == raft.LogCommand && size > max(c.largest, knownSize) {
			l.Data = deferred
			c.large[l.Index] = l
		}
	}
	c.recent = slices.Delete(c.recent, 0, n)
}

// DeleteRange implements raft.LogStore.
func (c *logCache) DeleteRange(first, last uint64) error {
	c.drop(first, last)
	defer c.drop(first, last) // and what was read meanwhile
	return c.LogStore.DeleteRange(first, last)
}

func (c *logCache) drop(first, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	clear(c.recent)
	c.recent, c.bytes = c.recent[:0], 0
	for index := range c.large {
		if first <= index && index <= last {
			delete(c.large, index)
		}
	}
}

// full is an entry with its data. It is raft.ErrLogNotFound when the log does not hold that entry any more.
func (c *logCache) full(l *raft.Log) (*raft.Log, error) {
	if !isDeferred(l) {
		return l, nil
	}
	var whole raft.Log
	if err := c.LogStore.GetLog(l.Index, &whole); err != nil {
		return nil, err
	}
	if whole.Term != l.Term || whole.Type != l.Type {
		return nil, raft.ErrLogNotFound
	}
	return &whole, nil
}

// cut reduces a request to what goes to a follower at a time, which is at least its first entry, with its data.
//
// Raft (1.8) takes that for what it meant to send, because it looks at the request again for each thing that it
// concludes from the answer: which entry comes next (pipelineSend, updateLastAppended) and which the follower has
// (updateLastAppended). It does so after the call in the same goroutine, or with the answer.
//
// The commit index goes no further than what is sent, which Raft leaves to chance: a follower takes for committed what
// the leader says, up to the end of its own log. That end may be of an old leader, and still be there after what is
// sent here, if it could not be deleted when it was first found to differ.
func (c *logCache) cut(request *raft.AppendEntriesRequest) error {
	err := c.cutEntries(request)
	request.LeaderCommitIndex = min(request.LeaderCommitIndex, request.PrevLogEntry+uint64(len(request.Entries)))
	return err
}

func (c *logCache) cutEntries(request *raft.AppendEntriesRequest) error {
	size := 0
	for i, l := range request.Entries {
		whole, err := c.full(l)
		if err != nil {
			return fmt.Errorf("reading entry %d for a follower: %w", l.Index, err)
		}
		if size += len(whole.Data); i > 0 && size > MaxSent {
			clear(request.Entries[i:])
			request.Entries = request.Entries[:i]
			return nil
		}
		request.Entries[i] = whole
	}
	return nil
}
