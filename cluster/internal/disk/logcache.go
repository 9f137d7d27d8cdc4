package disk

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// CachedEntries is how many entries are kept at most. What was appended last is kept for the followers and for the
	// state machine, who ask for it at once: so many entries, and so many bytes of them.
	CachedEntries = 32
	// CachedBytes bounds the data of these entries.
	CachedBytes = 8 << 20
	// DeferredSize is the size of the largest entry that Raft gets with its data from the disk. Raft reads 64 entries
	// for a follower that was away, whatever their size, and keeps 128 times 64 before the state machine at a start.
	// Bytes.
	DeferredSize = 4 << 10
	// KnownSize is the size of the largest entry that is read again to find out that its data is deferred. Bytes.
	KnownSize = 32 << 10
	// MaxSent bounds the data of the entries that are sent to a follower at a time; a larger entry goes alone. Bytes.
	MaxSent = 2 << 20
)

// Deferred stands for the data of an entry. It is known by its address, so that no data can be taken for it.
var Deferred = []byte("deferred")

// IsDeferred tells whether an entry came without its data: [LogCache.Full] gives it.
func IsDeferred(l *raft.Log) bool { return len(l.Data) > 0 && &l.Data[0] == &Deferred[0] }

// LogCache is what of the log is in memory, bounded in bytes: what Raft asks for and is neither small nor among the
// last entries comes without its data, which is read where it is needed: for the state machine one entry after the
// other, for a follower as much as is sent at a time.
type LogCache struct {
	raft.LogStore
	largest int // size of data that is not deferred

	mu     sync.RWMutex
	Recent []raft.Log // the last ones, in a row
	Bytes  int        // of their data
	large  map[uint64]raft.Log
	drops  int // grows when entries are deleted: what was read before that is not remembered
}

// NewLogCache makes a cache that defers nothing, for who is not Raft; deferring makes it one for Raft.
func NewLogCache(store raft.LogStore) *LogCache {
	return &LogCache{LogStore: store, largest: math.MaxInt, large: map[uint64]raft.Log{}}
}

// Deferring makes it a cache for Raft, which gets large entries without their data.
func (c *LogCache) Deferring() *LogCache {
	c.largest = DeferredSize
	return c
}

// GetLog implements raft.LogStore.
func (c *LogCache) GetLog(index uint64, l *raft.Log) error {
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
	l.Data = Deferred
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > KnownSize && c.drops == drops {
		c.large[index] = *l
	}
	return nil
}

func (c *LogCache) cached(index uint64, l *raft.Log) (drops int, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.Recent) > 0 && index-c.Recent[0].Index < uint64(len(c.Recent)) {
		*l = c.Recent[index-c.Recent[0].Index]
		return c.drops, true
	}
	known, ok := c.large[index]
	if ok {
		*l = known
	}
	return c.drops, ok
}

// StoreLog implements raft.LogStore.
func (c *LogCache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (c *LogCache) StoreLogs(logs []*raft.Log) error {
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		if n := len(c.Recent); n > 0 && c.Recent[n-1].Index+1 != l.Index {
			c.forget(n)
		}
		c.Recent = append(c.Recent, *l)
		c.Bytes += len(l.Data)
		old := 0
		for bytes := c.Bytes; len(c.Recent)-old > CachedEntries || bytes > CachedBytes; old++ {
			bytes -= len(c.Recent[old].Data)
		}
		c.forget(old)
	}
	return nil
}

// forget lets go of the oldest ones.
func (c *LogCache) forget(n int) {
	for _, l := range c.Recent[:n] {
		size := len(l.Data)
		if c.Bytes -= size; l.Type == raft.LogCommand && size > max(c.largest, KnownSize) {
			l.Data = Deferred
			c.large[l.Index] = l
		}
	}
	c.Recent = slices.Delete(c.Recent, 0, n)
}

// DeleteRange implements raft.LogStore.
func (c *LogCache) DeleteRange(first, last uint64) error {
	c.drop(first, last)
	defer c.drop(first, last) // and what was read meanwhile
	return c.LogStore.DeleteRange(first, last)
}

func (c *LogCache) drop(first, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	clear(c.Recent)
	c.Recent, c.Bytes = c.Recent[:0], 0
	for index := range c.large {
		if first <= index && index <= last {
			delete(c.large, index)
		}
	}
}

// Full is an entry with its data. It is raft.ErrLogNotFound when the log does not hold that entry any more.
func (c *LogCache) Full(l *raft.Log) (*raft.Log, error) {
	if !IsDeferred(l) {
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

// Cut reduces a request to what goes to a follower at a time, which is at least its first entry, with its data.
//
// Raft (1.8) takes that for what it meant to send, because it looks at the request again for each thing that it
// concludes from the answer: which entry comes next (pipelineSend, updateLastAppended) and which the follower has
// (updateLastAppended). It does so after the call in the same goroutine, or with the answer.
//
// The commit index goes no further than what is sent, which Raft leaves to chance: a follower takes for committed what
// the leader says, up to the end of its own log. That end may be of an old leader, and still be there after what is
// sent here, if it could not be deleted when it was first found to differ.
func (c *LogCache) Cut(request *raft.AppendEntriesRequest) error {
	err := c.cutEntries(request)
	request.LeaderCommitIndex = min(request.LeaderCommitIndex, request.PrevLogEntry+uint64(len(request.Entries)))
	return err
}

func (c *LogCache) cutEntries(request *raft.AppendEntriesRequest) error {
	size := 0
	for i, l := range request.Entries {
		whole, err := c.Full(l)
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
