package disk

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
)

// countingLogs counts what is read below a cache.
type countingLogs struct {
	raft.LogStore
	reads atomic.Int64
}

func (s *countingLogs) GetLog(index uint64, l *raft.Log) error {
	s.reads.Add(1)
	return s.LogStore.GetLog(index, l)
}

// entryOf is a command of so many bytes.
func entryOf(index uint64, size int) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(index)}, size)}
}

func openCache(t *testing.T, sizes ...int) (*logCache, *countingLogs) {
	t.Helper()
	below := &countingLogs{LogStore: raft.NewInmemStore()}
	c := newLogCache(below).deferring()
	for i, size := range sizes {
		if err := c.StoreLog(entryOf(uint64(i+1), size)); err != nil {
			t.Fatal(err)
		}
	}
	return c, below
}

func TestTheCacheIsBoundedInBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it stores two gigabytes")
	}
	c, _ := openCache(t)
	for i := range 200 {
		size := []int{10, 3 << 20, 256 << 10, 20 << 20, 0}[i%5]
		if err := c.StoreLog(entryOf(uint64(i+1), size)); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, l := range c.recent {
			held += len(l.Data)
		}
		if held != c.bytes || held > cachedBytes || len(c.recent) > cachedEntries {
			t.Fatalf("after entry %d it holds %d entries with %d bytes and counts %d", i+1, len(c.recent), held,
				c.bytes)
		}
		for j := range i + 1 {
			var l raft.Log
			want := []int{10, 3 << 20, 256 << 10, 20 << 20, 0}[j%5]
			if err := c.GetLog(uint64(j+1), &l); err != nil || l.Index != uint64(j+1) ||
				(!isDeferred(&l) && len(l.Data) != want) {
				t.Fatalf("after entry %d, entry %d is read as %d, %d bytes, %v", i+1, j+1, l.Index, len(l.Data), err)
			}
		}
	}
}

func TestOnlyLargeCommandsFromTheDiskComeWithoutTheirData(t *testing.T) {
	t.Parallel()
	c, below := openCache(t, deferredSize, deferredSize+1, knownSize+1, 20<<20)
	if err := c.StoreLog(&raft.Log{
		Index: 5, Term: 1, Type: raft.LogConfiguration,
		Data: make([]byte, 1<<20),
	}); err != nil {
		t.Fatal(err)
	}
	c.recent, c.bytes = nil, 0 // as at a start
	for range 2 {
		for index, want := range map[uint64]bool{1: false, 2: true, 3: true, 4: true, 5: false} {
			var l raft.Log
			if err := c.GetLog(index, &l); err != nil || isDeferred(&l) != want || l.Index != index || l.Term != 1 {
				t.Errorf("entry %d is read as entry %d of term %d, without its data: %t, %v", index, l.Index, l.Term,
					isDeferred(&l), err)
			}
			whole, err := c.full(&l)
			if err != nil || len(whole.Data) < deferredSize ||
				(whole.Type == raft.LogCommand && whole.Data[0] != byte(index)) {
				t.Errorf("entry %d has no data: %v", index, err)
			}
		}
	}
	var l raft.Log
	before := below.reads.Load()
	if err := c.GetLog(4, &l); err != nil || below.reads.Load() != before {
		t.Errorf("a large entry is read again to find out that it is large: %v", err)
	}
	if err := c.DeleteRange(3, 5); err != nil {
		t.Fatal(err)
	}
	if err := c.GetLog(4, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was deleted is read: %v", err)
	}
	if _, err := c.full(&raft.Log{Index: 4, Term: 1, Data: deferred}); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was deleted has data: %v", err)
	}
	other := entryOf(3, knownSize+1)
	other.Term = 2
	if err := c.StoreLog(other); err != nil {
		t.Fatal(err)
	}
	if err := c.GetLog(3, &l); err != nil || l.Term != 2 {
		t.Errorf("an entry that took another's place is read with term %d: %v", l.Term, err)
	}
	if _, err := c.full(&raft.Log{Index: 3, Term: 1, Type: raft.LogCommand, Data: deferred}); !errors.Is(err,
		raft.ErrLogNotFound) {
		t.Errorf("an entry gets the data of the one that took its place: %v", err)
	}
}

// slowLogs lets something happen between the reading of an entry and its return.
type slowLogs struct {
	raft.LogStore
	then func()
}

func (s *slowLogs) GetLog(index uint64, l *raft.Log) error {
	err := s.LogStore.GetLog(index, l)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return err
}

func (s *slowLogs) DeleteRange(first, last uint64) error {
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return s.LogStore.DeleteRange(first, last)
}

// What is remembered of a large entry decides what Raft takes for its term.
func TestAnEntryThatIsDeletedWhileItIsReadIsNotRemembered(t *testing.T) {
	for name, during := range map[string]func(c *logCache, s *slowLogs) error{
		"deleted while it is read": func(c *logCache, s *slowLogs) error {
			var err error
			s.then = func() { err = c.DeleteRange(1, 1) }
			return errors.Join(c.GetLog(1, &raft.Log{}), err)
		},
		"read while it is deleted": func(c *logCache, s *slowLogs) error {
			var err error
			s.then = func() { err = c.GetLog(1, &raft.Log{}) }
			return errors.Join(c.DeleteRange(1, 1), err)
		},
	} {
		s := &slowLogs{LogStore: raft.NewInmemStore()}
		c := newLogCache(s).deferring()
		if err := c.StoreLog(entryOf(1, knownSize+1)); err != nil {
			t.Fatal(err)
		}
		c.recent, c.bytes = nil, 0
		if err := during(c, s); err != nil {
			t.Fatal(err)
		}
		if err := c.GetLog(1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("%s: it is still there: %v", name, err)
		}
	}
}

func TestARequestIsCutToWhatGoesAtATime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sizes []int
		sent  int
	}{
		"nothing":                           {nil, 0},
		"small ones":                        {[]int{1, 10, 100}, 3},
		"as much as fits":                   {[]int{MaxSent / 2, MaxSent / 2, 1}, 2},
		"one that is too large goes alone":  {[]int{20 << 20, 1}, 1},
		"one that is too large waits":       {[]int{1, 20 << 20, 1}, 1},
		"data that is read from the disk":   {[]int{knownSize + 1, deferredSize + 1, 10, 20 << 20}, 3},
		"what is in no memory and does fit": {[]int{deferredSize + 1, deferredSize + 1}, 2},
	} {
		c, _ := openCache(t, test.sizes...)
		c.recent, c.bytes = nil, 0
		request := &raft.AppendEntriesRequest{LeaderCommitIndex: 99}
		for i := range test.sizes {
			l := new(raft.Log)
			if err := c.GetLog(uint64(i+1), l); err != nil {
				t.Fatal(err)
			}
			request.Entries = append(request.Entries, l)
		}
		if err := c.cut(request); err != nil || len(request.Entries) != test.sent {
			t.Errorf("%s: %d entries are sent, want %d: %v", name, len(request.Entries), test.sent, err)
		}
		if request.LeaderCommitIndex != uint64(test.sent) {
			t.Errorf("%s: of %d entries that are sent %d are said to be committed", name, test.sent,
				request.LeaderCommitIndex)
		}
		for i, l := range request.Entries {
			if l.Index != uint64(i+1) || len(l.Data) != test.sizes[i] || l.Data[0] != byte(i+1) {
				t.Errorf("%s: entry %d is sent as entry %d with %d bytes, want %d", name, i+1, l.Index, len(l.Data),
					test.sizes[i])
			}
		}
	}
	c, _ := openCache(t, knownSize+1)
	c.recent, c.bytes = nil, 0
	l := new(raft.Log)
	if err := errors.Join(c.GetLog(1, l), c.DeleteRange(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.cut(&raft.AppendEntriesRequest{Entries: []*raft.Log{l}}); err == nil {
		t.Error("an entry that is gone is sent")
	}
	for commit, want := range map[uint64]uint64{5: 5, 7: 7, 9: 7} {
		request := &raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: commit}
		if err := c.cut(request); err != nil || request.LeaderCommitIndex != want {
			t.Errorf("after entry 7, of which nothing follows, %d are said to be committed for %d: %v",
				request.LeaderCommitIndex, commit, err)
		}
	}
}

// batchesFSM notes what it is given.
type batchesFSM struct {
	raft.BatchingFSM
	got []string
}

func (f *batchesFSM) ApplyBatch(logs []*raft.Log) []any {
	out, text := make([]any, len(logs)), ""
	for i, l := range logs {
		out[i] = l.Index
		text += fmt.Sprintf("%d:%d ", l.Index, len(l.Data))
	}
	f.got = append(f.got, text)
	return out
}

func TestTheStateMachineGetsEachLargeEntryAlone(t *testing.T) {
	t.Parallel()
	c, _ := openCache(t, 1, 2, knownSize+3, 4, 20<<20, deferredSize+6)
	c.recent, c.bytes = nil, 0
	var logs []*raft.Log
	for i := range 6 {
		l := new(raft.Log)
		if err := c.GetLog(uint64(i+1), l); err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	var failed []error
	dropped := uint64(0)
	f := &loadingFSM{
		logs: c, fail: func(err error) { failed = append(failed, err) },
		dropped: func(index uint64) bool { return index <= dropped },
	}
	to := &batchesFSM{}
	f.BatchingFSM = to
	if got := f.ApplyBatch(logs); fmt.Sprint(got) != "[1 2 3 4 5 6]" || len(failed) > 0 {
		t.Errorf("the results are %v, %v", got, failed)
	}
	got := fmt.Sprintf("%q", to.got)
	if got != fmt.Sprintf(`["1:1 2:2 " "3:%d " "4:4 " "5:%d " "6:%d "]`, knownSize+3, 20<<20, deferredSize+6) {
		t.Errorf("it got %s", got)
	}
	if err := c.DeleteRange(1, 6); err != nil {
		t.Fatal(err)
	}
	dropped = 3
	if got := f.ApplyBatch(logs[2:3]); fmt.Sprint(got) != "[<nil>]" || len(failed) > 0 {
		t.Errorf("of an entry that a snapshot has replaced the result is %v, %v", got, failed)
	}
	if got := f.ApplyBatch(logs[4:5]); fmt.Sprint(got) != "[<nil>]" || len(failed) != 1 {
		t.Errorf("of an entry that cannot be read the result is %v, %v", got, failed)
	}
}
