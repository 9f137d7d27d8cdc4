package fsm

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// Admission keeps a store within its limits. A leader asks it before commands go into the log, so that the limits
// decide nothing in Apply: replicas with other limits apply the same.
//
// What is under way counts. Far below the limits, a batch of commands is admitted with an upper bound of what it may
// add, which is reserved until it is applied or is known not to be in the log. Near a limit, a batch waits until
// nothing else is under way, is decided on by what it does to the store as it is, and is alone until it has ended.
type Admission struct {
	fsm    *FSM
	limits Limits
	// maxGroup is MaxGroup but in tests.
	maxGroup int64

	mu       sync.Mutex
	excess   int64 // the least that was stored since it was more than the limit and the reserve; 0: it is not
	underWay int
	alone    bool          // what is under way was decided on by the store as it was
	reserved reservation   // of what is under way
	ended    chan struct{} // closed and replaced when something under way has ended; nil while nobody waits
	intern   interner
}

// reservation is at most what commands add.
type reservation struct {
	Usage
	record int64 // to the largest group, in a snapshot
}

// NewAdmission returns the admission to the store of a state machine.
func NewAdmission(f *FSM, limits Limits) *Admission {
	return &Admission{fsm: f, limits: limits, maxGroup: MaxGroup}
}

// Admit decides on commands that are to stand in one entry of the log; the store must hold all that stands before it
// but what this Admission has admitted. refused is nil, or has one result for each command: [Full] for one that must
// not go into the log. ended must be called once when those that may go are applied, or certainly will not be. With an
// error nothing is admitted: ctx has ended while a batch near a limit was waited for.
func (a *Admission) Admit(ctx context.Context, commands [][]byte) (refused []Result, ended func(), err error) {
	n := measure(commands)
	if n.grow == 0 {
		return nil, func() {}, nil
	}
	var bound reservation
	a.mu.Lock()
	for {
		// Read under the lock: what has been applied since its reservation ended must be in it.
		stored := a.fsm.published()
		if bound = n.bound(stored.largest.names); !a.alone && !n.imports && a.far(stored, bound) {
			a.reserved.add(bound)
			break
		}
		if a.underWay == 0 {
			a.alone, bound = true, reservation{}
			refused = a.decide(commands)
			break
		}
		if a.ended == nil {
			a.ended = make(chan struct{})
		}
		wait := a.ended
		a.mu.Unlock()
		select { // any order: it is before the log, and all replicas apply what is in that
		case <-wait:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("another push near a limit was not replicated in time: %w", context.Cause(ctx))
		}
		a.mu.Lock()
	}
	a.underWay++
	a.mu.Unlock()
	return refused, func() { a.end(bound) }, nil
}

// UnderWay is how many batches that may add to the store have been admitted and not ended.
func (a *Admission) UnderWay() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.underWay
}

func (a *Admission) end(bound reservation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underWay--
	a.alone = false // it was the only one
	a.reserved.subtract(bound)
	if a.ended != nil {
		close(a.ended)
		a.ended = nil
	}
}

func (r *reservation) add(d reservation) {
	r.Usage.add(d.Usage)
	r.record += d.record
}

func (r *reservation) subtract(d reservation) {
	r.Usage.subtract(d.Usage)
	r.record -= d.record
}

// far tells whether the bound keeps all limits, beside what is stored and what is under way.
func (a *Admission) far(stored tally, bound reservation) bool {
	bound.add(a.reserved)
	return a.allow(stored, bound.Usage, bound.record)
}

// What one byte of a command can become in the store, at most, in bytes of memory: a family of one series without
// labels is the worst, with a name that nobody else has. And the least that a series takes in a command: its ID and the
// shortest metric.
const (
	costPerByte   = 20
	leastOfSeries = idSize + 4
)

// measures are what can be told of commands without reading them.
type measures struct {
	grow    int   // how many may add to the store
	bytes   int64 // the length of those
	imports bool  // one of them adds any number of groups
}

func measure(commands [][]byte) (n measures) {
	for _, c := range commands {
		switch operationOf(c) {
		case opPush, opReject:
			n.grow++
			n.bytes += int64(len(c))
		case opImport:
			n.grow++
			n.imports = true
		default:
		}
	}
	return n
}

// bound is what pushes add at most, whatever is stored by then, if no group's names are longer than that: a family more
// gives a group another shape, with all of its names.
func (n measures) bound(names int64) reservation {
	pushes := int64(n.grow)
	return reservation{
		Usage: Usage{
			Groups: n.grow, Series: int(n.bytes) / leastOfSeries,
			Bytes: pushes*(groupCost+costOfShape(names)) + costPerByte*n.bytes,
		},
		record: pushes*recordOverhead + labelOverhead*n.bytes,
	}
}

// operationOf returns what a command does, 0 if that cannot be read.
func operationOf(c []byte) (op operation) {
	for len(c) > 0 {
		number, kind, n := protowire.ConsumeTag(c)
		if n < 0 {
			return 0
		}
		c = c[n:]
		if n = protowire.ConsumeFieldValue(number, kind, c); n < 0 {
			return 0
		}
		c = c[n:]
		if o := operation(number); opPush <= o && o <= opNoop {
			op = o
		}
	}
	return op
}

// decide looks at what each command does to the store, with those before it, and returns the results of Admit. That a
// command deletes something is no room for one after it: Apply may yet reject either.
func (a *Admission) decide(commands [][]byte) (refused []Result) {
	decoded := make([]command, len(commands))
	for i, c := range commands {
		var err error
		if decoded[i], err = decodeCommand(c, &a.intern); err != nil {
			decoded[i] = command{} // what cannot be applied is not for limits to refuse
		}
	}
	a.fsm.mu.Lock()
	defer a.fsm.mu.Unlock()
	s := a.fsm.store
	used := s.usage.Usage
	pushed := map[string]pending{}
	for i := range decoded {
		c := &decoded[i]
		if c.malformed != nil || len(c.id) != idSize {
			continue // Apply rejects it
		}
		if _, known := s.requests.lookup(RequestID(c.id), c.seen, c.fingerprint); known {
			continue // a retry changes nothing
		}
		reason := ""
		switch c.op {
		case opPush, opReject:
			reason = a.decidePush(s, c, &used, pushed)
		case opImport:
			reason = a.decideImport(s, c, &used)
		default:
		}
		if reason != "" {
			if refused == nil {
				refused = make([]Result, len(commands))
			}
			refused[i] = Result{Status: Full, Reason: reason}
		}
	}
	return refused
}

func (a *Admission) decidePush(s *store, c *command, used *Usage, pushed map[string]pending) string {
	key := c.labels.Key()
	after := func(old *Group) *Group {
		g := &Group{Key: key}
		if old != nil {
			g.Families = old.Families
		}
		if c.op == opPush {
			g.Families = merge(old, c.replace, c.families, 0)
		}
		return g
	}
	old := s.group(key)
	g := after(old)
	total, was, is := s.growth(old, g), extentOf(old), extentOf(g)
	before, again := pushed[key]
	if again {
		// Whether Apply accepts what was pushed before is not known: the worse counts.
		g = after(before.group)
		is.raise(extentOf(g))
		onTop := s.growth(before.group, g)
		onTop.add(before.counted)
		total = most(total, onTop)
	}
	total = most(total, before.counted)
	growth := total
	growth.subtract(before.counted)
	if reason := a.refusal(*used, growth, was, is); reason != "" {
		return reason
	}
	pushed[key] = pending{group: g, counted: total}
	used.add(growth)
	return ""
}

// pending is a group as pushes leave it that may go into the log, and how much it has been taken to grow by.
type pending struct {
	group   *Group
	counted Usage
}

func most(a, b Usage) Usage {
	return Usage{Groups: max(a.Groups, b.Groups), Series: max(a.Series, b.Series), Bytes: max(a.Bytes, b.Bytes)}
}

// decideImport makes the store that the import would make. Apply rejects one into a store that has been written.
func (a *Admission) decideImport(s *store, c *command, used *Usage) string {
	if s.written {
		return ""
	}
	after := newStore()
	for _, g := range c.groups {
		if after.group(g.Key) != nil {
			continue
		}
		if reason := a.refusal(Usage{}, Usage{}, extent{}, extentOf(g)); reason != "" {
			return reason
		}
		after.putGroup(nil, g.withTimes(nil))
	}
	if reason := a.refusal(*used, after.usage.Usage, extent{}, extent{}); reason != "" {
		return reason
	}
	used.add(after.usage.Usage)
	return ""
}
