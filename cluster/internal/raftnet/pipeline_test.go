package raftnet

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// whole trims nothing.
func whole(*raft.AppendEntriesRequest) error { return nil }

// TestAPipelineWhoseAnswersNobodyTakesDoesNotLockUp sends what a leader may still send after a follower has refused an
// entry and the leader has stopped listening.
func TestAPipelineWhoseAnswersNobodyTakesDoesNotLockUp(t *testing.T) {
	open := func() *raft.NetworkTransport {
		trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, time.Second, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = trans.Close() })
		return trans
	}
	leader, follower := open(), open()
	quit := make(chan struct{})
	t.Cleanup(func() { close(quit) })
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: false}, nil)
			case <-quit:
				return
			}
		}
	}()

	p, err := pipelining{
		leader,
		openWall(t, func() uint64 { return 1 }),
		whole,
	}.AppendEntriesPipeline(
		"follower",
		follower.LocalAddr(),
	)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 10
	sent := make(chan error, 1)
	go func() {
		for range requests {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1},
				&raft.AppendEntriesResponse{}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the pipeline takes no requests any more")
	}
	for i := range requests {
		select {
		case answer := <-p.Consumer():
			if answer.Response().Success {
				t.Errorf("answer %d is not the follower's", i)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("there are only %d answers to %d requests", i, requests)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
