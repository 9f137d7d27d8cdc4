package disk

import "sync"

// A leader whose answers from a follower were lost sends again what it got no answer for, and asks first whether the
// follower has the entry before that. If the follower has shortened its log beyond it, it takes nothing more, and
// neither the leader's snapshot, which is older than its own, until the leader has taken another. So what may be
// unanswered stays in the log, whatever the room.
const (
	// MaxRequest is how many entries are sent at a time.
	MaxRequest = 64
	// At most two requests wait for an answer while a third is on its way. The entry before them is wanted as well.
	unansweredEntries = 4 * MaxRequest
	// unansweredBytes bounds what stays where entries are large. One that is larger than a request stays only if it is
	// among the last of so many bytes: else room would have to be kept for three of the largest. Bytes.
	unansweredBytes = 3 * MaxSent
)

// unanswered knows the sizes of the last entries of the log.
type unanswered struct {
	mu    sync.Mutex
	last  uint64                    // index
	sizes [unansweredEntries]uint64 // of the data, in bytes; that of an entry is at its index modulo their number
	known int                       // so many of them are known
}

// add notes an entry. One with the index of an earlier entry takes its place, as after a conflict.
func (u *unanswered) add(index, bytes uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case index == u.last+1:
		u.known = min(u.known+1, unansweredEntries)
	case index <= u.last && u.last-index < uint64(u.known):
		u.known -= int(u.last - index)
	default: // the log was emptied
		u.known = 1
	}
	u.last = index
	u.sizes[index%unansweredEntries] = bytes
}

// kept is how many of the last entries stay, one at least because Raft always has one, and how many bytes they have.
func (u *unanswered) kept() (entries, bytes uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for range u.known {
		size := u.sizes[(u.last-entries)%unansweredEntries]
		if entries > 0 && bytes+size > unansweredBytes {
			break
		}
		entries++
		bytes += size
	}
	return max(entries, 1), bytes
}
