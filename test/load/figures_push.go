package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// growth: the time of a push must not depend on what is stored.
func (b *bench) growth(ctx context.Context) error {
	few, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	many, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	few.name += fmt.Sprintf(", %s groups", whole(b.size.few))
	many.name += fmt.Sprintf(", %s groups", whole(b.size.many))
	if err := errors.Join(b.fill(ctx, few, b.size.few), b.fill(ctx, many, b.size.many)); err != nil {
		return err
	}
	for _, n := range []int{1, 8} {
		ofMany, err := b.connect(ctx, many, n, b.size.many, clients(n))
		if err != nil {
			return err
		}
		ofFew, err := b.connect(ctx, few, n, b.size.few, clients(n))
		if err != nil {
			return err
		}
		if err := b.alternate(ctx, b.size.rounds+2, ofMany, ofFew); err != nil {
			return err
		}
		b.table.add(row{
			name: fmt.Sprintf("push p50, one replica, %s, at %s stored groups", clients(n), whole(b.size.many)),
			ours: ofMany.tally.quantile(0.5),
			peer: fmt.Sprintf("PushQuorum at %s", whole(b.size.few)), theirs: ofFew.tally.quantile(0.5),
			bar: bar{kind: atMostTimes, limit: 1.2},
		})
	}
	return errors.Join(mustHold(ctx, few, b.size.few), mustHold(ctx, many, b.size.many))
}

// besidePushgateway: one replica, whose pushes are on the disk when they are answered, beside the peer, whose are in
// memory.
func (b *bench) besidePushgateway(ctx context.Context) error {
	if err := b.besideUnchecked(ctx); err != nil {
		return err
	}
	return b.besideChecked(ctx)
}

func (b *bench) besideUnchecked(ctx context.Context) error {
	one, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	gateway, missing := b.startPushgateway(ctx, false, "")
	if missing != nil && !errors.As(missing, new(missingPeer)) {
		return missing
	}
	all := []*web{one}
	if missing == nil {
		all = append(all, gateway)
	}
	for _, w := range all {
		if err := b.fill(ctx, w, b.size.groups); err != nil {
			return err
		}
	}
	for _, n := range []int{1, 8, 64, 256} {
		r := row{name: "push rate, one replica, " + clients(n), peer: "Pushgateway, unchecked", missing: missing}
		rounds := 1
		if n == 64 {
			r.bar, rounds = bar{kind: atLeastTimes, limit: 1.5}, b.size.rounds
		}
		if err := b.race(ctx, rounds, n, b.size.groups, &r, one, gateway); err != nil {
			return err
		}
	}
	for _, w := range all {
		if err := mustHold(ctx, w, b.size.groups); err != nil {
			return err
		}
	}
	b.stop(one)
	if missing == nil {
		return b.ofPushgateway(ctx, gateway)
	}
	return nil
}

// ofPushgateway: what its scrapes and its memory are when it holds the same.
func (b *bench) ofPushgateway(ctx context.Context, gateway *web) error {
	for _, f := range forms() {
		times, err := b.timeScrapes(ctx, gateway.at[0], f, b.size.groups, min(b.size.scrapes, 5), nil)
		if err != nil {
			return err
		}
		b.gatewayScrapes[f.name] = median(times)
	}
	used, err := memoryOf(gateway.servers[0])
	b.table.add(row{
		name: "for comparison: resident memory of the Pushgateway after scrapes in three forms", peer: "Pushgateway",
		theirs: bytesOf(used.now),
	})
	b.stop(gateway)
	return err
}

// race has both push at the same concurrency, in turn, and adds the row of their rates. Without a peer there is one
// alone.
func (b *bench) race(ctx context.Context, rounds, n, groups int, r *row, ours, theirs service) error {
	mine, err := b.connect(ctx, ours, n, groups, clients(n))
	if err != nil {
		return err
	}
	all := []contestant{mine}
	if r.missing == nil {
		peer, err := b.connect(ctx, theirs, n, groups, clients(n))
		if err != nil {
			mine.drive.close()
			return err
		}
		all = append(all, peer)
	}
	if err := b.alternate(ctx, rounds, all...); err != nil {
		return err
	}
	r.ours = mine.tally.rate()
	if r.missing == nil {
		r.theirs = all[1].tally.rate()
	}
	b.table.add(*r)
	return nil
}

// besideChecked: the Pushgateway as it is without flags. It would take minutes to fill one: it gets its groups from the
// persistence file of an unchecked one.
func (b *bench) besideChecked(ctx context.Context) error {
	groups := b.size.checked
	r := row{
		name: fmt.Sprintf("push rate, one replica, c=8, at %s groups", whole(groups)), peer: "Pushgateway, checked",
	}
	one, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	one.name += fmt.Sprintf(", %s groups", whole(groups))
	if err := b.fill(ctx, one, groups); err != nil {
		return err
	}
	var gateway *web
	file := filepath.Join(b.dir, b.unique("persistence"))
	if filled, err := b.startPushgateway(ctx, false, file); errors.As(err, new(missingPeer)) {
		r.missing = err
	} else if err != nil {
		return err
	} else {
		if err := b.fill(ctx, filled, groups); err != nil {
			return err
		}
		if err := filled.servers[0].Stop(maxWait); err != nil {
			return err
		}
		if gateway, err = b.startPushgateway(ctx, true, file); err != nil {
			return err
		}
		gateway.name += fmt.Sprintf(", checked, %s groups", whole(groups))
		if err := mustHold(ctx, gateway, groups); err != nil {
			return err
		}
	}
	return b.race(ctx, 1, 8, groups, &r, one, gateway)
}

// besideEtcd: three replicas beside three members of a store that keeps bytes and nothing else. Afterwards, with etcd
// gone, what a replica of a cluster does.
func (b *bench) besideEtcd(ctx context.Context) error {
	three, err := b.startThree(ctx, "--web.enable-admin-api")
	if err != nil {
		return err
	}
	etcd, missing := b.startEtcd(ctx)
	if missing != nil && !errors.As(missing, new(missingPeer)) {
		return missing
	}
	if err := b.fill(ctx, three, b.size.groups); err != nil {
		return err
	}
	if missing == nil {
		if err := b.fill(ctx, etcd, b.size.groups); err != nil {
			return err
		}
	}
	for _, n := range []int{1, 8, 64, 256} {
		r := row{name: "push rate, three replicas, " + clients(n), peer: "etcd, three members", missing: missing}
		rounds := 1
		if n != 1 {
			r.bar, rounds = bar{kind: atLeastTimes, limit: 1}, b.size.rounds
		}
		if err := b.race(ctx, rounds, n, b.size.groups, &r, three, etcd); err != nil {
			return err
		}
	}
	if missing == nil {
		b.stop(etcd)
	}
	if err := mustHold(ctx, three, b.size.groups); err != nil {
		return err
	}
	if err := mustShow(ctx, three, 0, 1); err != nil {
		return err
	}
	return b.ofThree(ctx, three)
}
