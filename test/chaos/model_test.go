package main

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

func holds(values ...int32) content {
	c := content{there: true}
	copy(c.values[:], values)
	return c
}

func op(k kind, c content, call, ret int) operation {
	return operation{kind: k, content: c, call: time.Duration(call), ret: time.Duration(ret)}
}

func unknown(o operation) operation {
	o.unknown = true
	return o
}

func TestWhatAGroupMayShow(t *testing.T) {
	nothing := content{}
	for _, c := range []struct {
		name string
		ops  []operation
		want porcupine.CheckResult
	}{
		{"a put is seen", []operation{op(put, holds(1), 0, 1), op(read, holds(1), 2, 3)}, porcupine.Ok},
		{
			"an acknowledged put is lost",
			[]operation{op(put, holds(1), 0, 1), op(read, nothing, 2, 3)},
			porcupine.Illegal,
		},
		{"a put is not seen yet", []operation{op(put, holds(1), 0, 5), op(read, nothing, 2, 3)}, porcupine.Ok},
		{"a put replaces all", []operation{
			op(put, holds(1, 1), 0, 1), op(put, holds(2), 2, 3), op(read, holds(2), 4, 5),
		}, porcupine.Ok},
		{"a put that merges", []operation{op(put, holds(1, 1), 0, 1), op(put, holds(2), 2, 3), op(read, holds(2, 1), 4,
			5)}, porcupine.Illegal},
		{
			"a post merges", []operation{op(put, holds(1, 1), 0, 1), op(post, holds(2), 2, 3), op(read, holds(2, 1), 4,
				5)}, porcupine.Ok,
		},
		{"half a put", []operation{op(put, holds(1, 1), 0, 9), op(read, holds(1), 4, 5)}, porcupine.Illegal},
		{
			"a deletion is seen",
			[]operation{op(put, holds(1), 0, 1), op(remove, nothing, 2, 3), op(read, nothing, 4, 5)},
			porcupine.Ok,
		},
		{"a deletion is undone", []operation{op(put, holds(1), 0, 1), op(remove, nothing, 2, 3), op(read, holds(1), 4,
			5)}, porcupine.Illegal},
		{
			"a wipe is undone",
			[]operation{op(put, holds(1), 0, 1), op(wipe, nothing, 2, 3), op(read, holds(1), 4, 5)},
			porcupine.Illegal,
		},
		{
			"an unknown put has happened",
			[]operation{unknown(op(put, holds(1), 0, 1)), op(read, holds(1), 4, 5)},
			porcupine.Ok,
		},
		{
			"an unknown put has not happened",
			[]operation{unknown(op(put, holds(1), 0, 1)), op(read, nothing, 4, 5)},
			porcupine.Ok,
		},
		{"an unknown put happens late", []operation{unknown(op(put, holds(1), 0, 1)), op(read, nothing, 4, 5), op(read,
			holds(1), 6, 7)}, porcupine.Ok},
		{"an unknown put happens and ends", []operation{
			unknown(op(put, holds(1), 0, 1)), op(read, holds(1), 4, 5), op(read, nothing, 6, 7),
		}, porcupine.Illegal},
		{"a stale read after a fresh one", []operation{
			op(put, holds(1), 0, 1), op(put, holds(2), 2, 9), op(read, holds(2), 3, 4), op(read, holds(1), 5, 6),
		}, porcupine.Illegal},
		{"a retry undoes a later put", []operation{
			op(put, holds(1), 0, 9), op(put, holds(2), 1, 9), op(read, holds(1), 2, 3), op(read, holds(2), 4, 5),
			op(read, holds(1), 6, 7),
		}, porcupine.Illegal},
	} {
		if got := checkGroup(c.ops, time.Minute); got.result != c.want {
			t.Errorf("%s: %s", c.name, got.result)
		}
	}
}

func TestWhatAStaleScrapeMayShow(t *testing.T) {
	history := []operation{op(put, holds(1), 0, 1), op(put, holds(2), 2, 3), op(post, holds(0, 3), 4, 5)}
	for _, c := range []struct {
		shown    content
		call, at int
		want     porcupine.CheckResult
	}{
		{content{}, 8, 9, porcupine.Ok},
		{holds(1), 8, 9, porcupine.Ok},
		{holds(2), 8, 9, porcupine.Ok},
		{holds(2, 3), 8, 9, porcupine.Ok},
		{holds(1, 3), 8, 9, porcupine.Illegal},
		{holds(4), 8, 9, porcupine.Illegal},
		{content{there: true}, 8, 9, porcupine.Illegal},
		{holds(2), 0, 1, porcupine.Illegal}, // not yet
	} {
		if got := checkStale(history, op(read, c.shown, c.call, c.at), time.Minute); got.result != c.want {
			t.Errorf("%s at %d: %s", c.shown, c.at, got.result)
		}
	}
}

func TestWipesAreInTheHistoryOfEveryGroupTheyMayHaveTouched(t *testing.T) {
	h := newHistory()
	g := h.newGroup("g")
	g.born = 10
	for _, w := range []operation{op(wipe, content{}, 1, 5), op(wipe, content{}, 8, 12), unknown(op(wipe, content{}, 2,
		3)), op(wipe, content{}, 20, 22)} {
		h.wrote(nil, w)
	}
	h.wrote(g, op(put, holds(1), 11, 13))
	if got, _ := h.of(g); len(got) != 4 || got[0].call != 2 || got[2].kind != put {
		t.Errorf("the history is %v", got)
	}
}
