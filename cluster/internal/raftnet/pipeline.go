package raftnet

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipelineAnswers is how many answers a pipeline keeps for a leader that does not take them any more. Raft sends at
// most a few requests after that, each with half the probability of the one before.
const pipelineAnswers = 128

// pipelining is Raft's network transport with pipelines that cannot lock up.
//
// When a follower refuses an entry (its disk is full, its term is newer), Raft's leader stops taking answers, but may
// still send: the answer to that waits for somebody to take it, the sender waits for the answer's place, and neither
// ever ends. Until the leader is replaced the follower then gets heartbeats and no entries, so nobody replaces it, and
// shutting down waits forever (github.com/hashicorp/raft/issues/612). Here answers are always taken.
type pipelining struct {
	*raft.NetworkTransport
	wall *termWall
	trim trimFunc
}

// trimFunc reduces a request to what goes to a follower at a time, or says why that cannot be read.
type trimFunc func(*raft.AppendEntriesRequest) error

// AppendEntriesPipeline implements raft.Transport.
func (t pipelining) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		AppendPipeline: inner,
		wall:           t.wall,
		trim:           t.trim,
		answers:        make(chan raft.AppendFuture, pipelineAnswers),
		closed:         make(chan struct{}),
	}
	go p.take()
	return p, nil
}

// pipeline takes answers from the one it wraps until it is closed.
type pipeline struct {
	raft.AppendPipeline
	wall    *termWall
	trim    trimFunc
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

func (p *pipeline) take() {
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			if resp := answer.Response(); p.wall.checkAnswer("AppendEntries", nil, &resp.Term) != nil {
				resp.Success = false // Raft then asks again without a pipeline, where an answer may be an error
			}
			select {
			case p.answers <- answer:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(
	args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse,
) (raft.AppendFuture, error) {
	if err := p.trim(args); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
