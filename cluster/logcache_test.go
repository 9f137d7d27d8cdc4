package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/expo"
	"pushquorum/fsm"
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

func openCache(t *testing.T, sizes ...int) (*disk.LogCache, *countingLogs) {
	t.Helper()
	below := &countingLogs{LogStore: raft.NewInmemStore()}
	c := disk.NewLogCache(below).Deferring()
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
		size := []int{10, 3 << 20, maxBatch, 20 << 20, 0}[i%5]
		if err := c.StoreLog(entryOf(uint64(i+1), size)); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, l := range c.Recent {
			held += len(l.Data)
		}
		if held != c.Bytes || held > disk.CachedBytes || len(c.Recent) > disk.CachedEntries {
			t.Fatalf("after entry %d it holds %d entries with %d bytes and counts %d", i+1, len(c.Recent), held, c.Bytes)
		}
		for j := range i + 1 {
			var l raft.Log
			want := []int{10, 3 << 20, maxBatch, 20 << 20, 0}[j%5]
			if err := c.GetLog(uint64(j+1), &l); err != nil || l.Index != uint64(j+1) || (!disk.IsDeferred(&l) && len(l.Data) != want) {
				t.Fatalf("after entry %d, entry %d is read as %d, %d bytes, %v", i+1, j+1, l.Index, len(l.Data), err)
			}
		}
	}
}

func TestOnlyLargeCommandsFromTheDiskComeWithoutTheirData(t *testing.T) {
	t.Parallel()
	c, below := openCache(t, disk.DeferredSize, disk.DeferredSize+1, disk.KnownSize+1, 20<<20)
	if err := c.StoreLog(&raft.Log{Index: 5, Term: 1, Type: raft.LogConfiguration, Data: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	c.Recent, c.Bytes = nil, 0 // as at a start
	for range 2 {
		for index, want := range map[uint64]bool{1: false, 2: true, 3: true, 4: true, 5: false} {
			var l raft.Log
			if err := c.GetLog(index, &l); err != nil || disk.IsDeferred(&l) != want || l.Index != index || l.Term != 1 {
				t.Errorf("entry %d is read as entry %d of term %d, without its data: %t, %v", index, l.Index, l.Term, disk.IsDeferred(&l), err)
			}
			whole, err := c.Full(&l)
			if err != nil || len(whole.Data) < disk.DeferredSize || (whole.Type == raft.LogCommand && whole.Data[0] != byte(index)) {
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
	if _, err := c.Full(&raft.Log{Index: 4, Term: 1, Data: disk.Deferred}); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was deleted has data: %v", err)
	}
	other := entryOf(3, disk.KnownSize+1)
	other.Term = 2
	if err := c.StoreLog(other); err != nil {
		t.Fatal(err)
	}
	if err := c.GetLog(3, &l); err != nil || l.Term != 2 {
		t.Errorf("an entry that took another's place is read with term %d: %v", l.Term, err)
	}
	if _, err := c.Full(&raft.Log{Index: 3, Term: 1, Type: raft.LogCommand, Data: disk.Deferred}); !errors.Is(err, raft.ErrLogNotFound) {
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
	for name, during := range map[string]func(c *disk.LogCache, s *slowLogs) error{
		"deleted while it is read": func(c *disk.LogCache, s *slowLogs) error {
			var err error
			s.then = func() { err = c.DeleteRange(1, 1) }
			return errors.Join(c.GetLog(1, &raft.Log{}), err)
		},
		"read while it is deleted": func(c *disk.LogCache, s *slowLogs) error {
			var err error
			s.then = func() { err = c.GetLog(1, &raft.Log{}) }
			return errors.Join(c.DeleteRange(1, 1), err)
		},
	} {
		s := &slowLogs{LogStore: raft.NewInmemStore()}
		c := disk.NewLogCache(s).Deferring()
		if err := c.StoreLog(entryOf(1, disk.KnownSize+1)); err != nil {
			t.Fatal(err)
		}
		c.Recent, c.Bytes = nil, 0
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
		"as much as fits":                   {[]int{disk.MaxSent / 2, disk.MaxSent / 2, 1}, 2},
		"one that is too large goes alone":  {[]int{20 << 20, 1}, 1},
		"one that is too large waits":       {[]int{1, 20 << 20, 1}, 1},
		"data that is read from the disk":   {[]int{disk.KnownSize + 1, disk.DeferredSize + 1, 10, 20 << 20}, 3},
		"what is in no memory and does fit": {[]int{disk.DeferredSize + 1, disk.DeferredSize + 1}, 2},
	} {
		c, _ := openCache(t, test.sizes...)
		c.Recent, c.Bytes = nil, 0
		request := &raft.AppendEntriesRequest{LeaderCommitIndex: 99}
		for i := range test.sizes {
			l := new(raft.Log)
			if err := c.GetLog(uint64(i+1), l); err != nil {
				t.Fatal(err)
			}
			request.Entries = append(request.Entries, l)
		}
		if err := c.Cut(request); err != nil || len(request.Entries) != test.sent {
			t.Errorf("%s: %d entries are sent, want %d: %v", name, len(request.Entries), test.sent, err)
		}
		if request.LeaderCommitIndex != uint64(test.sent) {
			t.Errorf("%s: of %d entries that are sent %d are said to be committed", name, test.sent, request.LeaderCommitIndex)
		}
		for i, l := range request.Entries {
			if l.Index != uint64(i+1) || len(l.Data) != test.sizes[i] || l.Data[0] != byte(i+1) {
				t.Errorf("%s: entry %d is sent as entry %d with %d bytes, want %d", name, i+1, l.Index, len(l.Data), test.sizes[i])
			}
		}
	}
	c, _ := openCache(t, disk.KnownSize+1)
	c.Recent, c.Bytes = nil, 0
	l := new(raft.Log)
	if err := errors.Join(c.GetLog(1, l), c.DeleteRange(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Cut(&raft.AppendEntriesRequest{Entries: []*raft.Log{l}}); err == nil {
		t.Error("an entry that is gone is sent")
	}
	for commit, want := range map[uint64]uint64{5: 5, 7: 7, 9: 7} {
		request := &raft.AppendEntriesRequest{PrevLogEntry: 7, LeaderCommitIndex: commit}
		if err := c.Cut(request); err != nil || request.LeaderCommitIndex != want {
			t.Errorf("after entry 7, of which nothing follows, %d are said to be committed for %d: %v", request.LeaderCommitIndex, commit, err)
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
	c, _ := openCache(t, 1, 2, disk.KnownSize+3, 4, 20<<20, disk.DeferredSize+6)
	c.Recent, c.Bytes = nil, 0
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
	f := &loadingFSM{logs: c, fail: func(err error) { failed = append(failed, err) }, dropped: func(index uint64) bool { return index <= dropped }}
	to := &batchesFSM{}
	f.BatchingFSM = to
	if got := f.ApplyBatch(logs); fmt.Sprint(got) != "[1 2 3 4 5 6]" || len(failed) > 0 {
		t.Errorf("the results are %v, %v", got, failed)
	}
	if got := fmt.Sprintf("%q", to.got); got != fmt.Sprintf(`["1:1 2:2 " "3:%d " "4:4 " "5:%d " "6:%d "]`, disk.KnownSize+3, 20<<20, disk.DeferredSize+6) {
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

// largePush is a push of so many bytes into a group of its own.
func largePush(r *replicaT, job string, size int) []byte {
	group := expo.NewLabels(map[string]string{"job": job})
	var families []*expo.Family
	for i := 0; size > 0; i++ {
		help := bytes.Repeat([]byte("x"), min(size, 8<<10))
		size -= len(help)
		families = append(families, expo.Gauge(&expo.Header{Name: fmt.Sprintf("test_value_%04d", i), Help: string(help), Type: dto.MetricType_GAUGE}, group.Key(), 1))
	}
	return fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()}, group, true, families)
}

// meteredStore notes the most that it is given at a time.
type meteredStore struct {
	disk.EntryStore
	mu      sync.Mutex
	largest int // bytes in more than one entry
}

func (m *meteredStore) StoreLogs(logs []*raft.Log) error {
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	if len(logs) > 1 {
		m.mu.Lock()
		m.largest = max(m.largest, size)
		m.mu.Unlock()
	}
	return m.EntryStore.StoreLogs(logs)
}

// A follower that was away gets large entries a few at a time, and both sides apply what was acknowledged; so does a replica that
// starts, whose log holds more than should be in memory.
func TestAFollowerThatWasAwayCatchesUpOverLargeEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it sends entries of many megabytes")
	}
	net, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	away := others[0]
	away.crash()
	for i := range 20 {
		result, err := leader.Apply(testContext(t), largePush(leader, fmt.Sprintf("large%d", i), 300<<10))
		if err != nil || result.Status != fsm.Applied {
			t.Fatalf("%v, %v", result, err)
		}
	}
	net.isolate(away.cfg.Name, true, names(replicas), raftnet.KindRaft)
	away.start()
	away.store.Log.Mu.Lock()
	meter := &meteredStore{EntryStore: away.store.Log.Inner}
	away.store.Log.Inner = meter
	away.store.Log.Mu.Unlock()
	net.isolate(away.cfg.Name, false, names(replicas), raftnet.KindRaft)
	waitReady(t, away)
	sameState(t, replicas...)
	meter.mu.Lock()
	if meter.largest > disk.MaxSent || meter.largest == 0 {
		t.Errorf("%d bytes were sent at a time, want more than one entry and at most %d bytes", meter.largest, disk.MaxSent)
	}
	meter.mu.Unlock()
	for i := range 6 { // now it is sent to in a pipeline
		result, err := leader.Apply(testContext(t), largePush(leader, fmt.Sprintf("more%d", i), 3<<20))
		if err != nil || result.Status != fsm.Applied {
			t.Fatalf("%v, %v", result, err)
		}
	}
	sameState(t, replicas...)
	for _, r := range replicas {
		r.crash()
	}
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	sameState(t, replicas...)
	if !hasJob(replicas[0], "large19") || !hasJob(replicas[0], "more5") {
		t.Error("a push was lost")
	}
}
