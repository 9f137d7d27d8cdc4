package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// replica is one PushQuorum: a name, a host, a disk and a clock, on which one process after another runs.
type replica struct {
	c     *cluster
	index int // of the host, from 1
	name  string
	store *storage
	log   string

	id string // of the replica that its disk makes it, as it last said; "" for a disk that is new

	addresses         sync.RWMutex
	web, gossip, raft string

	mu       sync.Mutex
	process  *process // nil: not started
	member   bool     // meant to be part of the cluster
	wanted   bool     // to be running: if it is not, it has ended by itself
	paused   bool
	diskFull bool
	deleted  bool          // its directory is, while it runs
	alias    string        // the name that it is started with; "": its own
	astray   []string      // peers that it should not have been told of
	skew     time.Duration // of its clock
	troubles []span        // when it need not answer
}

// span is some time of the run; one without an end is still on.
type span struct{ from, to time.Duration }

type process struct {
	cmd    *exec.Cmd // of the process, or of a client that waits for it
	signal func(os.Signal) error
	clock  *clock // nil: it has that of the machine
	done   chan struct{}
}

// start starts the process, if there is none, and waits for nothing.
func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = true
	if r.process != nil {
		return nil
	}
	return r.startLocked()
}

func (r *replica) startLocked() error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	_, _ = fmt.Fprintf(log, "--- started at %.3f s\n", r.c.history.now().Seconds())
	args := append([]string{
		"--web.listen-address=" + r.web, "--storage.path=" + r.store.dir, "--cluster.name=" + cmp.Or(r.alias, r.name),
		"--cluster.listen-address=" + everywhere(r.gossip), "--cluster.advertise-address=" + r.gossip,
		"--cluster.peer-listen-address=" + everywhere(r.raft),
		fmt.Sprintf("--cluster.bootstrap-expect=%d", r.c.expect),
	}, r.c.flags...)
	for _, peer := range append(r.c.peers(), r.astray...) {
		args = append(args, "--cluster.peer="+peer)
	}
	p, err := r.c.site.start(r.index, args, log)
	if err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	r.process = p
	go r.watch(p)
	go r.settle(p)
	if p.clock == nil {
		return nil
	}
	return p.clock.set(r.skew)
}

// everywhere is the port of an address on all of the host's: a replica listens although its network is not there yet.
func everywhere(address string) string { return address[strings.LastIndex(address, ":"):] }

// watch waits for the end of a process, and starts it again when nobody has ended it, as a supervisor does. That it
// ended is a fault of its own, unless its disk was full or its directory deleted: then it has said so and may.
func (r *replica) watch(p *process) {
	_ = p.cmd.Wait() // how it ended is in its state
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.clock != nil {
		p.clock.close()
	}
	close(p.done)
	if r.process != p {
		return
	}
	r.process = nil
	if !r.wanted {
		return
	}
	r.troubleLocked()
	if r.deleted {
		r.c.note("%s ended without its directory: %s", r.name, p.cmd.ProcessState)
		return // the fault starts it again
	}
	if !r.diskFull {
		r.c.violate("%s ended by itself: %s\n%s", r.name, p.cmd.ProcessState, r.lastWords())
		return
	}
	r.c.note("%s ended on a full disk: %s", r.name, p.cmd.ProcessState)
	time.AfterFunc(time.Second, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.wanted && r.process == nil {
			if err := r.startLocked(); err != nil {
				r.c.violate("%v", err)
			}
		}
	})
}

// settle ends the trouble of a process that has been started once it answers.
func (r *replica) settle(p *process) {
	for {
		select {
		case <-p.done:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if a, err := r.c.inspector.do(ask{url: r.url("/-/healthy"), timeout: time.Second}); err != nil ||
			a.status != 200 {
			continue
		}
		r.mu.Lock()
		if r.process == p && r.wanted && !r.paused { // one that is being ended still answers
			r.calmLocked()
		}
		r.mu.Unlock()
		return
	}
}

// end ends the process with a signal and waits until it is gone. It is an error if that takes longer than within.
func (r *replica) end(signal syscall.Signal, within time.Duration) error {
	r.mu.Lock()
	r.wanted = false
	p := r.process
	if p != nil {
		r.troubleLocked()
	}
	r.mu.Unlock()
	if p == nil {
		return nil
	}
	_ = p.signal(signal) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(within):
		_ = p.signal(syscall.SIGQUIT) // it writes into its log what it is waiting for
		select {
		case <-p.done:
		case <-time.After(2 * time.Second):
			_ = p.signal(syscall.SIGKILL)
			<-p.done
		}
		return fmt.Errorf("%s did not end within %s of signal %s", r.name, within, signal)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = false
	if r.process == p {
		r.process = nil
	}
	return nil
}

func (r *replica) kill() error { return r.end(syscall.SIGKILL, 30*time.Second) }

// pause and resume stop the process where it stands, and let it go on.
func (r *replica) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		r.paused = true
		r.troubleLocked()
		_ = r.process.signal(syscall.SIGSTOP)
	}
}

func (r *replica) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused {
		r.paused = false
		if r.process != nil {
			_ = r.process.signal(syscall.SIGCONT)
		}
		r.calmLocked()
	}
}

// setClock moves the clock of the host: of the process, and of those that will follow it.
func (r *replica) setClock(skew time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skew = skew
	if r.process == nil || r.process.clock == nil {
		return nil
	}
	return r.process.clock.set(skew)
}

func (r *replica) setDiskFull(full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.diskFull = full
}

// deletes says that the directory of the running process is being deleted, and returns the process, nil if none runs.
func (r *replica) deletes() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		r.deleted = true
		r.troubleLocked()
	}
	return r.process
}

// replaced says that the disk is a new one.
func (r *replica) replaced() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleted = false
}

func (r *replica) isDeleted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deleted
}

// called is the name that the others know it by.
func (r *replica) called() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.alias, r.name)
}

// rename gives another name to the process that is started next, or its own again.
func (r *replica) rename(alias string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alias = alias
}

// goAstray tells the process that is started next of peers that it has nothing to do with.
func (r *replica) goAstray(peers ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.astray = peers
}

func (r *replica) isMember() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member
}

func (r *replica) setMember(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.member = is
}

func (r *replica) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process != nil
}

func (r *replica) url(path string) string {
	r.addresses.RLock()
	defer r.addresses.RUnlock()
	return "http://" + r.web + path
}

// troubleLocked and calmLocked begin and end a time in which the replica need not answer.
func (r *replica) troubleLocked() {
	if n := len(r.troubles); n == 0 || r.troubles[n-1].to != 0 {
		r.troubles = append(r.troubles, span{from: r.c.history.now()})
	}
}

func (r *replica) calmLocked() {
	if n := len(r.troubles); n > 0 && r.troubles[n-1].to == 0 {
		r.troubles[n-1].to = r.c.history.now()
	}
}

// mayHaveFailed says whether a request that took this time may have gone without an answer.
func (r *replica) mayHaveFailed(from, to time.Duration) bool {
	const slack = 500 * time.Millisecond // connections that broke are noticed a little later
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.troubles {
		if t.from < to+slack && (t.to == 0 || t.to+slack > from) {
			return true
		}
	}
	return false
}

// lastWords is the end of the log of the replica.
func (r *replica) lastWords() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-10):], []byte("\n")))
}
