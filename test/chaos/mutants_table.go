package main

import "time"

// mutants are the planted bugs, in the order of the table in README.md.
func mutants() []mutant { return append(mutantsOfProcesses(), mutantsOfRules()...) }

func mutantsOfProcesses() []mutant {
	return []mutant{
		{
			name: "no-barrier", what: "reads without the barrier",
			edits: []edit{{
				"cluster/readindex.go",
				"		index, err := r.reads.do(ctx)\n",
				"		var index readIndex\n		var err error\n",
			}},
			faults: "kill,pause,isolate", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "verify-before-index", what: "the barrier verifies before it takes the index, and readers who come in between share the answer",
			edits: []edit{
				{
					"cluster/readindex.go",
					"	index := r.raft.CommitIndex()\n	var ask",
					"	var ask",
				}, {
					"cluster/readindex.go",
					"		return readIndex{}, raft.ErrNotLeader\n	}\n	return readIndex{index: index, term: term}, nil",
					"		return readIndex{}, raft.ErrNotLeader\n	}\n	return readIndex{index: r.raft.CommitIndex(), term: term}, nil",
				}, {
					"cluster/readindex.go",
					"	} else {\n		if s.next == nil {\n			s.next = &readRound{done: make(chan struct{})}\n		}\n		mine = s.next\n	}",
					"	} else {\n		mine = s.current\n	}",
				},
			},
			faults: "pause,delay", duration: time.Minute, seeds: []uint64{1, 2, 3, 4, 5, 6},
		},
		{
			name: "new-id", what: "a retry has a new id",
			edits: []edit{{
				"cluster/propose.go",
				"			r.metrics.retries.Inc()\n",
				// The id is what a command begins with: its tag, its length and 16 bytes.
				"			r.metrics.retries.Inc()\n" +
					"			fresh := fsm.NewRequestID()\n			command = append(append(command[:2:2], fresh[:]...), command[18:]...)\n",
			}},
			faults: "kill,pause,isolate,oneway", duration: time.Minute, seeds: []uint64{1, 2, 3},
		},
		{
			name: "early-ack", what: "the leader acknowledges before the entry is committed",
			edits: []edit{{
				"cluster/append.go",
				"	results, outcome, err := replicateEntry(ctx, r.raft, fsm.Seal(admitted, time.Now()), ended)\n",
				"	if r.raft.State() == raft.Leader {\n		r.raft.Apply(fsm.Seal(admitted, time.Now()), 0)\n		ended()\n		return full.among(make([]fsm.Result, len(admitted))), outcomeApplied, nil\n	}\n" +
					"	results, outcome, err := replicateEntry(ctx, r.raft, fsm.Seal(admitted, time.Now()), ended)\n",
			}},
			faults: "isolate,kill", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "no-fsync", what: "the log's segments are not fsynced, and power is lost",
			edits: []edit{
				{
					"cluster/internal/disk/wal/store.go",
					"segment.NewFiler(w.dir, w.vfs)",
					"segment.NewFiler(w.dir, unsynced{w.vfs})",
				}, {
					"cluster/internal/disk/wal/store.go",
					"// FileOf names the file that holds an entry, or would.\n",
					"type unsynced struct{ types.VFS }\n\n" +
						"func (u unsynced) Create(dir, name string, size uint64) (types.WritableFile, error) {\n	f, err := u.VFS.Create(dir, name, size)\n	return unsyncedFile{f}, err\n}\n\n" +
						"func (u unsynced) OpenWriter(dir, name string) (types.WritableFile, error) {\n	f, err := u.VFS.OpenWriter(dir, name)\n	return unsyncedFile{f}, err\n}\n\n" +
						"type unsyncedFile struct{ types.WritableFile }\n\nfunc (unsyncedFile) Sync() error { return nil }\n\n" +
						"// FileOf names the file that holds an entry, or would.\n",
				},
			},
			faults: "power", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "no-fsync-bbolt", what: "the log, in bbolt, is not fsynced, and power is lost",
			edits: []edit{
				{"cluster/internal/disk/boltstore.go", "MsgpackUseNewTimeFormat: true,", "MsgpackUseNewTimeFormat: true, NoSync: true,"},
				{"cmd/pushquorum/flags.go", "Default(cluster.LogWAL)", "Default(cluster.LogBbolt)"},
			},
			faults: "power", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "identity-by-name", what: "a replica's id is made of its name, and a disk is lost",
			edits: []edit{{
				"cluster/internal/disk/identity.go",
				"	fresh, err := uuid.NewRandom()\n",
				"	fresh, err := uuid.NewSHA1(uuid.NameSpaceOID, []byte(filepath.Base(dir))), error(nil)\n",
			}},
			faults: "lostdisk", duration: time.Minute, seeds: []uint64{1, 2, 3},
		},
		{
			name: "map-range", what: "Apply ranges over a map",
			edits: []edit{{
				"fsm/store.go",
				"	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })\n	return out",
				"	byName := map[string]Stored{}\n	for _, f := range out {\n		byName[f.Name] = f\n	}\n	out = nil\n	for _, f := range byName {\n		out = append(out, f)\n	}\n	return out",
			}},
			faults: "kill,pause", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "no-dedup-snapshot", what: "snapshots lack the table of requests, and their hash is not compared",
			edits: []edit{
				{"fsm/snapshot.go", "	for r := range s.requests.all() {\n", "	for r := range newRequests().all() {\n"},
				{"fsm/snapshot.go", "!bytes.Equal(got", "false && !bytes.Equal(got"},
			},
			faults: "kill,restart", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "pipeline-lockup", what: "a pipeline whose answers Raft no longer takes locks up: a bug that the harness found",
			edits: []edit{{
				"cluster/internal/raftnet/pipeline.go",
				"	p := &pipeline{",
				"	if id != \"\" {\n		return inner, nil\n	}\n	p := &pipeline{",
			}},
			faults: "diskfull,isolate,oneway,restart", duration: time.Minute, seeds: []uint64{1, 2, 3, 4, 5, 6},
		},
		{
			name: "sticky-predecessor", what: "who was only away when another of its name joined is its predecessor, whatever it has answered since",
			edits: []edit{{
				"cluster/promote.go",
				"Answered: p.answered(s.ID)",
				"Answered: false && p.answered(s.ID)",
			}, {
				"cluster/join.go",
				"			return serverOf(c, serverID(id)) == nil || r.pilot.answered(serverID(id)) // it was only away\n",
				"			return serverOf(c, serverID(id)) == nil\n",
			}},
			test: "TestANamesakeThatHasAnsweredSinceIsMissedForTheWholeGrace",
		},
		{
			name: "two-votes", what: "a newcomer gets its vote while the dead replica that it replaces still has one",
			edits: []edit{{
				"cluster/promote.go",
				"	for _, predecessor := range p.predecessorsOf(a.Replaces) {\n",
				"	for _, predecessor := range p.predecessorsOf(a.Replaces[:0]) {\n",
			}},
			faults: "emptied,dying", duration: 30 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "vote-kept", what: "who leaves keeps its vote",
			edits: []edit{{
				"cluster/resign.go",
				"		if !r.votes() || r.countVoters() <= minVoters {\n",
				"		if r.countVoters() > 0 {\n",
			}},
			faults: "leaving", duration: 40 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "merged-gossip", what: "gossip takes in members of another cluster, and a newcomer follows any",
			edits: []edit{
				{
					"cluster/internal/gossip/gossip.go",
					"	cfg.Delegate, cfg.Events, cfg.Conflict, cfg.Alive = g, g, g, g\n",
					"	cfg.Delegate, cfg.Events, cfg.Conflict = g, g, g\n",
				}, {
					"cluster/follow.go",
					"	if r.id.Get().Cluster != uuid.Nil || r.gossip == nil {\n",
					"	if r.gossip != nil {\n",
				},
			},
			faults: "strangers", duration: 40 * time.Second, seeds: []uint64{1, 2, 3},
		},
		{
			name: "lost-wakeup", what: "the leader is read from Raft, and the channel for its change from what was seen last",
			edits: []edit{
				{
					"cluster/leader.go",
					"	leader, _, changed := l.observe()\n	return leader, changed\n",
					"	l.mu.Lock()\n	changed := l.changed\n	l.mu.Unlock()\n	_, leader := l.raft.LeaderWithID()\n	return leader, changed\n",
				}, {
					"cluster/leader.go",
					"	leader, since, _ = l.observe()\n	return leader, since\n",
					"	l.mu.Lock()\n	defer l.mu.Unlock()\n	return l.leader, l.since\n",
				},
			},
			test: "TestABatchIsSentAfterALeaderFlapped",
		},
		{
			name: "stale-promise", what: "a promise is given by what was known before the lock was taken",
			edits: []edit{{
				"cluster/internal/formation/promises.go",
				"	p.mu.Lock()\n	defer p.mu.Unlock()\n	view := p.env.View()\n",
				"	view := p.env.View()\n	p.mu.Lock()\n	defer p.mu.Unlock()\n",
			}},
			test: "TestWhatIsDecidedIsReadDecidedAndWrittenInOneStep",
		},
		{
			name: "half-founded", what: "a founding that a crash has cut short is not done again",
			edits: []edit{{"cluster/internal/disk/open.go", "	return s.finishForming()\n", "	return nil\n"}},
			test:  "TestFoundingThatWasCutShortIsDoneAgainAlone",
		},
	}
}
