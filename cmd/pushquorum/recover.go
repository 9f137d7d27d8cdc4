package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"pushquorum/cluster"
	"pushquorum/fsm"
)

var (
	errNotAccepted = errors.New("nothing was changed: add --accept-loss to go on")
	errNotDropped  = errors.New("nothing was changed: add --accept-loss and --drop-unreadable to " +
		"go on without what cannot be read")
)

// recoverCluster is the command recover: it says what it finds and what may be lost, and acts when that was accepted.
func recoverCluster(o *options, logger *slog.Logger, out io.Writer) error {
	o.cluster.FSM, o.cluster.Logger = fsm.New(logger), logger
	rec, err := cluster.Recover(context.Background(), o.cluster, func(r cluster.Recovery) error {
		if err := describe(out, o.cluster.DataDir, r); err != nil {
			return err
		}
		whole := r.Unreadable == nil && r.InSnapshot == nil
		switch {
		case !whole && (!o.acceptLoss || !o.dropUnreadable):
			return errNotDropped
		case !o.acceptLoss:
			return errNotAccepted
		}
		return nil
	})
	if o.ifNeeded && errors.Is(err, cluster.ErrNothingToRecover) {
		logger.Info("there is nothing to recover", "why", err)
		return nil
	}
	if err != nil {
		return err
	}
	if u := rec.Unreadable; u != nil {
		logger.Warn("recovered: the end of the log was dropped", "from", u.Index, "to", u.Last, "bytes", u.Bytes,
			"err", u.Why)
	}
	if rec.Sole {
		_, err = fmt.Fprintf(out, "\nRecovered. %s is still the only member of cluster %s, "+
			"whose log now ends with entry %d. Start it with its usual flags.\n",
			rec.Name, rec.Cluster, rec.LastIndex)
		return err
	}
	logger.Warn("recovered: a new cluster was made of one data directory", "cluster", rec.NewCluster, "was",
		rec.Cluster, "index", rec.LastIndex, "term", rec.LastTerm)
	_, err = fmt.Fprintf(out, `
Recovered. %s is now the only member of the new cluster %s.
Start it with its usual flags. `+
		`Start the others with empty data directories: what they hold belongs to the old cluster, and with
it they are not let in.
`, rec.Name, rec.NewCluster)
	return err
}

func describe(out io.Writer, dir string, r cluster.Recovery) error {
	written := ""
	if !r.Written.IsZero() {
		written = ", written " + r.Written.UTC().Format(time.RFC3339)
	}
	strangers := ""
	if len(r.Strangers) > 0 {
		strangers = "\nThese answered, but are no members: " + strings.Join(r.Strangers, ", ") + "."
	}
	if err := describeUnreadable(out, r); err != nil {
		return err
	}
	if r.Sole {
		_, err := fmt.Fprintf(out, "%s holds the data of cluster %s, of which it is the only member. "+
			"What can be read ends with term %d, index %d%s.\n",
			dir, r.Cluster, r.LastTerm, r.LastIndex, written)
		return err
	}
	_, err := fmt.Fprintf(out, `%s holds the data of cluster %s up to term %d, index %d%s.
The other members, none of which answers where it was last seen: %s.%s

What may be lost: everything that the others acknowledged and that is not here. `+
		`What was written here last and not acknowledged to
anyone may turn out to have been accepted. `+
		`If another data directory has survived, look at it in the same way, and recover the
one with the higher term or, with equal terms, the higher index. `+
		`Make sure that the others are really down, not just unreachable from
here: if they still have a quorum there will be two clusters, with different data.
`, dir, r.Cluster, r.LastTerm, r.LastIndex, written, strings.Join(r.Others, ", "), strangers)
	return err
}

// describeUnreadable says what of the log cannot be read, and what goes with it.
func describeUnreadable(out io.Writer, r cluster.Recovery) error {
	if u := r.InSnapshot; u != nil {
		if _, err := fmt.Fprintf(out, `Cannot be read: %v.
Entries up to %d are dropped. Nothing is lost with them: the snapshot holds what they did.

`, u.Why, u.Last); err != nil {
			return err
		}
	}
	u := r.Unreadable
	if u == nil {
		return nil
	}
	written := ""
	if !u.From.IsZero() {
		written = fmt.Sprintf(", written from %s to %s", u.From.UTC().Format(time.RFC3339),
			u.To.UTC().Format(time.RFC3339))
	}
	_, err := fmt.Fprintf(out, `Cannot be read: %v.
Lost is all from there to the end of the log: `+
		`entries %d to %d, %d of them, of which %d bytes can be read%s. Pushes and deletions in them
were acknowledged, unless nobody was answered any more. Before you drop them:
- if the entry is from a newer version, start that one instead: it can read it, and nothing is lost;
- if another replica of this cluster is whole, `+
		`delete this data directory, and start with an empty one: it joins and gets everything.

`, u.Why, u.Index, u.Last, u.Entries(), u.Bytes, written)
	return err
}
