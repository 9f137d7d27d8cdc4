package main

import "time"

// mutantsOfRules are planted in the rules on which the promises rest: who commits what, who may form a cluster or vote
// in it, what is remembered, and what may be served again.
func mutantsOfRules() []mutant {
	return []mutant{
		{
			name: "injected-unchecked", what: "a follower commits up to the read index whatever entry it has there",
			edits: []edit{{"cluster/committed.go", "PrevLogEntry: at.index, PrevLogTerm: at.term, ", ""}},
			test:  "TestACommitOfTheLeadersCommitsNoEntryOfAnotherTerm",
		},
		{
			name: "injected-early", what: "a follower is told of a commit before it has the entry, and not again",
			edits: []edit{{"cluster/committed.go", "if r.store.LastIndex() >= at.index {", "if at.index > 0 {"}},
			test:  "TestReaderDoesNotWaitForTheNextEntryWhenItsLogIsLate",
		},
		{
			name: "snapshot-beside-log", what: "entries of another term than the snapshot's stay in the log",
			edits: []edit{{"cluster/internal/disk/reconcile.go", " || l.Term != snapshot.Term", ""}},
			test:  "TestASnapshotReplacesEntriesThatWereNeverCommitted",
		},
		{
			name: "no-stand-in", what: "the last entry in the snapshot is not to be had for Raft's comparison",
			edits: []edit{{"cluster/internal/disk/reconcile.go", "index < 2", "index < 1<<40"}},
			test:  "TestEntriesAfterASnapshotAreTakenAgain",
		},
		{
			name: "stand-in-for-any", what: "an entry that is not the snapshot's last has a stand-in, too",
			edits: []edit{{"cluster/internal/disk/reconcile.go", " || index != b.Index", ""}},
			test:  "TestTheStandInIsNeverSent",
		},
		{
			name: "unwritten-promise", what: "a promise is not on disk when it is given",
			edits: []edit{{
				"cluster/internal/formation/promises.go", "err := p.env.Save(held)",
				"err := error(nil)",
			}},
			test:     "TestTwoClustersThatShareAReplicaNeverForm",
			packages: "./cluster/internal/formation",
		},
		{
			name: "second-promise", what: "who has promised one cluster promises another one, too",
			edits: []edit{{
				"cluster/internal/formation/promises.go",
				"cluster:\n		return fmt.Errorf(\"has promised replica %s to form another one",
				"cluster && false:\n		return fmt.Errorf(\"has promised replica %s to form another one",
			}},
			test:     "TestTwoClustersThatShareAReplicaNeverForm",
			packages: "./cluster/internal/formation",
		},
		{
			name: "below-three-voters", what: "the long absent are removed though fewer than three voters are left",
			edits:    []edit{{"cluster/internal/formation/members.go", "max(0, voters-MinVoters)", "voters"}},
			test:     "TestOnlyTheLongAbsentAreRemovableAndNeverBelowThreeVoters",
			packages: "./cluster/internal/formation",
		},
		{
			name: "both-namesakes-removed", what: "of several silent voters of a name all make room for one newcomer",
			edits:    []edit{{"cluster/internal/formation/members.go", "if voters <= 1 ||", "if voters <= 9 ||"}},
			test:     "TestPredecessorsAreTheSilentAndOfSeveralVotersTheAbsent",
			packages: "./cluster/internal/formation",
		},
		{
			name: "unwatched-absence", what: "time in which nobody looked counts as absence",
			edits: []edit{{
				"cluster/internal/formation/absences.go", "min(now.Sub(a.looked), 2*a.every)",
				"now.Sub(a.looked)",
			}},
			test:     "TestTimeInWhichNobodyLookedIsNoAbsence",
			packages: "./cluster/internal/formation",
		},
		{
			name: "vote-for-the-leaving", what: "who is about to stop is promoted",
			edits: []edit{{
				"cluster/promoter.go",
				"slices.DeleteFunc(changes.Promotions, p.mayNotVote)",
				"changes.Promotions",
			}},
			test: "TestWhoIsAboutToStopIsNotGivenAVote",
		},
		{
			name: "withdrawn-though-sent", what: "a command that was sent is said to be certainly not in the log",
			edits: []edit{{"cluster/batch.go", "if s.sent {", "if s.sent && b.senders < 0 {"}},
			test:  "TestACommandWhoseTimeIsUpSaysWhetherItWasSent",
		},
		{
			name: "withdrawn-and-sent", what: "a command that was withdrawn from its batch is sent all the same",
			edits: []edit{{"cluster/batch.go", "return other == s }", "return false }"}},
			test:  "TestACommandWhoseTimeIsUpSaysWhetherItWasSent",
		},
		{
			name: "few-remembered", what: "16 requests are remembered, and clients push again with their keys",
			edits:  []edit{{"fsm/requests.go", "rememberedRequests = 1 << 16", "rememberedRequests = 1 << 4"}},
			faults: "kill,pause,isolate,oneway", duration: time.Minute, seeds: []uint64{1, 2, 3},
		},
		{
			name: "never-forgotten", what: "a request that the table no longer reaches back to is a new one",
			edits:    []edit{{"fsm/requests.go", "if q.forgotten > seen {", "if q.forgotten > seen && q == nil {"}},
			test:     "TestARequestOlderThanTheMemoryIsNotApplied",
			packages: "./fsm/...",
		},
		{
			name: "forgotten-index", what: "the table of requests does not say how far back it reaches",
			edits:    []edit{{"fsm/requests.go", "q.forgotten = oldest.index", "_ = oldest.index"}},
			test:     "TestARequestOlderThanTheMemoryIsNotApplied",
			packages: "./fsm/...",
		},
		{
			name: "old-page", what: "a kept page is served though the state has moved",
			edits:  []edit{{"api/pages.go", "s.index >= index", "s.index+3 >= index"}},
			faults: "kill,pause", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "joined-page", what: "who waits for a page that was begun before its read index takes it",
			edits:    []edit{{"api/pages.go", "if b.made.index >= index {", "if b.made != nil {"}},
			test:     "TestScrapesAtTheSameTimeShareAPage",
			packages: "./api/...",
		},
	}
}
