package disk

import (
	"testing"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/testkit"
)

func TestHowMuchOfTheLogMayBeUnanswered(t *testing.T) {
	for name, c := range map[string]struct {
		add            func(u *unanswered)
		entries, bytes uint64
	}{
		"nothing": {func(*unanswered) {}, 1, 0},
		"few": {func(u *unanswered) {
			for i := range uint64(10) {
				u.add(i+1, 100)
			}
		}, 10, 1000},
		"many": {func(u *unanswered) {
			for i := range uint64(3 * unansweredEntries) {
				u.add(i+1, i)
			}
		}, unansweredEntries, unansweredEntries * (5*unansweredEntries - 1) / 2},
		"large ones": {func(u *unanswered) {
			for i := range uint64(100) {
				u.add(i+1, MaxSent)
			}
		}, 3, 3 * MaxSent},
		"one that is larger than all": {func(u *unanswered) {
			u.add(1, 100)
			u.add(2, 10*unansweredBytes)
		}, 1, 10 * unansweredBytes},
		"others took their place": {func(u *unanswered) {
			for i := range uint64(10) {
				u.add(i+1, 100)
			}
			u.add(5, 1)
			u.add(6, 1)
		}, 6, 402},
		"a log that begins anew": {func(u *unanswered) {
			for i := range uint64(10) {
				u.add(i+1, 100)
			}
			u.add(5000, 1)
			u.add(5001, 1)
		}, 2, 2},
	} {
		u := &unanswered{}
		c.add(u)
		if entries, bytes := u.kept(); entries != c.entries || bytes != c.bytes {
			t.Errorf("%s: %d entries of %d bytes stay, want %d of %d", name, entries, bytes, c.entries, c.bytes)
		}
	}
}

// TestWhatWasNotAnsweredIsTakenAgainOnADiskThatIsShort: the last answers of a follower were lost, and it has shortened
// its log since. The leader's snapshot is older than its own.
func TestWhatWasNotAnsweredIsTakenAgainOnADiskThatIsShort(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.mustAppend(snapshotEnd{}, entriesOf(leaderTerm, 1, 1000))
	if !f.append(snapshotEnd{Index: 1000, Term: leaderTerm}, 1000, nil) {
		t.Fatal("the commit index was refused")
	}
	snapshot := func() {
		t.Helper()
		reload := f.raft.ReloadableConfig()
		reload.TrailingLogs, _ = f.store.log.latest.kept()
		if err := f.raft.ReloadConfig(reload); err != nil {
			t.Fatal(err)
		}
		if err := f.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all is applied", func() bool { return f.raft.AppliedIndex() == 1000 })
	snapshot()
	if err := f.store.Shorten(f.raft.AppliedIndex()); err != nil {
		t.Fatal(err)
	}
	if first, _ := f.ends(); first == 1 {
		t.Error("the log was not shortened")
	}
	const unsure = 3 * MaxRequest
	f.mustAppend(snapshotEnd{Index: 1000 - unsure, Term: leaderTerm}, entriesOf(leaderTerm, 1000-unsure+1, 1001))
	f.restart()
	if err := f.store.Shorten(1000); err != nil {
		t.Fatal(err)
	}
	f.mustAppend(snapshotEnd{Index: 1000 - unsure, Term: leaderTerm}, entriesOf(leaderTerm, 1000-unsure+1, 1002))
	var l raft.Log
	if err := f.store.log.GetLog(1002, &l); err != nil {
		t.Error(err)
	}
}
