package main

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is what a group is to its clients: what it holds, changed by one write after another.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return content{} },
		Step: func(state, input, _ any) (bool, any) {
			before, o := state.(content), input.(operation)
			if o.kind == read {
				return before == o.content, before
			}
			return true, o.apply(before)
		},
		Hash: func(state any) uint64 {
			c := state.(content)
			hash := uint64(14695981039346656037)
			for _, v := range c.values {
				hash = (hash ^ uint64(v)) * 1099511628211
			}
			if c.there {
				hash++
			}
			return hash
		},
		DescribeOperation: func(input, _ any) string { return input.(operation).String() },
		DescribeState:     func(state any) string { return state.(content).String() },
	}
}

// apply is what a group holds after a write.
func (o operation) apply(before content) content {
	switch o.kind {
	case put:
		return o.content
	case post:
		after := before
		after.there = true
		for i, v := range o.content.values {
			if v != 0 {
				after.values[i] = v
			}
		}
		return after
	default: // remove, wipe
		return content{}
	}
}

// timed are operations as porcupine takes them. One whose outcome is unknown never returns: it may take effect at any
// time after its call, also after everything else, which is as good as never.
func timed(ops []operation) []porcupine.Operation {
	out := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		ret := int64(o.ret)
		if o.unknown {
			ret = math.MaxInt64
		}
		out[i] = porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: ret}
	}
	return out
}

// verdict is what a check of one group found.
type verdict struct {
	result porcupine.CheckResult
	text   string // when it is not Ok
	info   porcupine.LinearizationInfo
}

// checkGroup says whether there is an order of all operations on a group that explains what every client was told, in
// which each takes effect once between its call and its return.
func checkGroup(ops []operation, timeout time.Duration) verdict {
	result, info := porcupine.CheckOperationsVerbose(model(), timed(ops), timeout)
	return verdict{result: result, text: "its history is not linearizable", info: info}
}

// checkStale says whether what a stale read has shown was true at some time before the read ended: the read may stand
// anywhere in the order.
func checkStale(ops []operation, stale operation, timeout time.Duration) verdict {
	for _, o := range ops {
		if o.kind == read && o.content == stale.content && o.call < stale.ret {
			return verdict{result: porcupine.Ok} // seen by a read that is part of the history
		}
	}
	stale.call = 0
	v := checkGroup(append([]operation{stale}, ops...), timeout)
	v.text = fmt.Sprintf("a stale scrape shows what was never true: %s", stale)
	return v
}
