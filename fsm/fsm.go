package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// FSM is the replicated state machine, as Raft sees it: a raft.FSM and raft.BatchingFSM whose response to an entry is a
// []Result, one for each of its commands.
//
// One lock guards the store: Raft's single applying goroutine holds it while it applies a batch, and readers hold it
// for as long as View takes, which is O(1).
type FSM struct {
	logger *slog.Logger

	mu      sync.Mutex
	store   *store
	applied uint64 // index of the last entry in the store
	view    *View  // of the store as it is; nil when there is none yet
	intern  interner

	// tally is the store's as of the last batch, for Admission, which must not wait for one that is being applied.
	tallyMu sync.Mutex
	tally   tally

	checks sync.Pool // of *interner, for Check

	// progress follows applied, after the lock is released: who waited for an index finds it in the next View.
	progress progress

	halt   sync.Once
	halted chan struct{}
	err    error // why; set before halted is closed
}

var _ raft.BatchingFSM = (*FSM)(nil)

// New returns an empty state machine.
func New(logger *slog.Logger) *FSM {
	return &FSM{logger: logger, store: newStore(), halted: make(chan struct{})}
}

// Check reads a command as Apply will. An error means that this program could not apply it, and says why in words that
// follow "the command": in the log it would halt the state machine. What Apply rejects is no error.
func (f *FSM) Check(command []byte) error {
	return f.check(func(in *interner) error {
		_, err := decodeCommand(command, in)
		return err
	})
}

// CheckEntry reads the data of a log entry as Apply will. An error is why it would halt the state machine.
func (f *FSM) CheckEntry(data []byte) error {
	return f.check(func(in *interner) error {
		_, _, err := unseal(data, in)
		return err
	})
}

// Remembered returns what came of the request that an encoded command is of, if it was applied before.
func (f *FSM) Remembered(command []byte) (res Result, known bool) {
	err := f.check(func(in *interner) error {
		c, err := decodeCommand(command, in)
		if err != nil || len(c.id) != idSize {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		res, known = f.store.requests.lookup(RequestID(c.id), c.seen, c.fingerprint)
		return nil
	})
	return res, known && err == nil
}

func (f *FSM) check(read func(*interner) error) error {
	in, ok := f.checks.Get().(*interner)
	if !ok {
		in = new(interner)
	}
	defer f.checks.Put(in)
	return read(in)
}

// Apply applies one committed entry and returns its Results.
func (f *FSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies committed entries in order and returns the Results of each. Configuration entries change nothing
// but the applied index.
func (f *FSM) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	f.mu.Lock()
	for i, log := range logs {
		results[i] = []Result(nil)
		if f.Err() != nil {
			continue
		}
		if log.Type == raft.LogCommand {
			unixNano, commands, err := unseal(log.Data, &f.intern)
			if err != nil {
				f.stop(fmt.Errorf("log entry %d is damaged or from a newer version: %w", log.Index, err))
				continue
			}
			each := make([]Result, len(commands))
			for j := range commands {
				each[j] = f.store.apply(log.Index, unixNano, &commands[j])
			}
			results[i] = each
			f.warnOfSetBack(unixNano)
		}
		f.applied = log.Index
		f.view = nil
	}
	applied := f.applied
	f.publish()
	f.mu.Unlock()
	f.progress.advance(applied)
	return results
}

// publish is called with the lock held, before anybody learns that what was applied is.
func (f *FSM) publish() {
	f.tallyMu.Lock()
	f.tally = f.store.usage.tally
	f.tallyMu.Unlock()
}

func (f *FSM) published() tally {
	f.tallyMu.Lock()
	defer f.tallyMu.Unlock()
	return f.tally
}

// warnOfSetBack says, once for an entry of that time, that the time of groups has gone back.
func (f *FSM) warnOfSetBack(unixNano int64) {
	groups := f.store.setBack
	if len(groups) == 0 {
		return
	}
	f.store.setBack = nil
	was := max(groups[0].PushTouched, groups[0].FailureTouched)
	f.logger.Warn("the time of a group goes back: the clock of a leader is wrong now or was when it was last pushed, "+
		"set the clocks of all replicas",
		"group", fmt.Sprintf("%.200s", groups[0].Labels()), "from", time.Unix(0, was).UTC(), "to", time.Unix(0,
			unixNano).UTC(), "groups", len(groups))
}

// stop makes the state machine refuse everything from here on: to skip an entry that the other replicas apply would be
// to diverge from them in silence.
func (f *FSM) stop(err error) {
	f.halt.Do(func() {
		f.err = err
		f.logger.Error("the state machine has stopped: this replica must not go on", "err", err)
		close(f.halted)
	})
}

// Halt stops the state machine because of an entry that it cannot be given.
func (f *FSM) Halt(err error) { f.stop(err) }

// Weight is how many bytes what is stored takes, as in Usage, and how many that took which has been replaced so far: by
// as much as that grows while somebody holds a View, this keeps from being freed, at most.
func (f *FSM) Weight() (stored, replaced int64) {
	u := f.published()
	return u.Bytes, u.replaced
}

// Halted is closed when an entry could not be read. Nothing has been applied since, and the process should end.
func (f *FSM) Halted() <-chan struct{} { return f.halted }

// Err returns why the state machine has halted, or nil.
func (f *FSM) Err() error {
	select { // any order: a halt ends what this replica applies, and changes nothing of it
	case <-f.halted:
		return f.err
	default:
		return nil
	}
}

// View returns the state as it is now. It costs O(1) and is shared by all who ask before the next entry.
func (f *FSM) View() *View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.viewLocked()
}

func (f *FSM) viewLocked() *View {
	if f.view == nil {
		f.view = newView(f.applied, f.store)
	}
	return f.view
}

// Applied returns the index of the last command or configuration entry that has been applied.
func (f *FSM) Applied() uint64 { return f.progress.current() }

// Wait returns nil once Applied has reached index, and the context's error if that ends before.
func (f *FSM) Wait(ctx context.Context, index uint64) error {
	if err := f.progress.wait(ctx, index); err != nil {
		return fmt.Errorf("waiting for log entry %d to be applied: %w", index, err)
	}
	return nil
}
