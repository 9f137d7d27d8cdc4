package main

import (
	"context"
	"fmt"
)

// memory is what of one replica is resident for a group of one series, and for a series in groups of 20, without the
// pages of scrapes, and with the garbage that the collector leaves.
func (b *bench) memory(ctx context.Context) error {
	for _, state := range []struct {
		name           string
		push           func() template
		groups, series int
	}{
		{"a group of one series", httpPushOfOne, b.size.memory, b.size.memory},
		{"a series in groups of 20", httpPush, b.size.memory / 2, b.size.memory / 2 * seriesPerPush},
	} {
		one, err := b.startOne(ctx)
		if err != nil {
			return err
		}
		one.push = state.push
		before, err := memoryOf(one.servers[0])
		if err != nil {
			return err
		}
		if err := b.fill(ctx, one, state.groups); err != nil {
			return err
		}
		after, err := memoryOf(one.servers[0])
		if err != nil {
			return err
		}
		b.table.add(row{
			name: fmt.Sprintf("resident memory of %s, at %s groups", state.name, whole(state.groups)),
			ours: bytesOf((after.now - before.now) / int64(state.series)),
		})
		b.stop(one)
	}
	return nil
}
