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

var errNotAccepted = errors.New("nothing was changed: add --accept-loss to go on")

// recoverCluster is the command recover: it says what it finds and what may be lost, and acts when that was accepted.
func recoverCluster(o *options, logger *slog.Logger, out io.Writer) error {
	o.cluster.FSM, o.cluster.Logger = fsm.New(logger), logger
	rec, err := cluster.Recover(context.Background(), o.cluster, func(r cluster.Recovery) error {
		if err := describe(out, o.cluster.DataDir, r); err != nil {
			return err
		}
		if !o.acceptLoss {
			return errNotAccepted
		}
		return nil
	})
	if err != nil {
		return err
	}
	logger.Warn("recovered: a new cluster was made of one data directory", "cluster", rec.NewCluster, "was", rec.Cluster, "index", rec.LastIndex, "term", rec.LastTerm)
	_, err = fmt.Fprintf(out, `
Recovered. %s is now the only member of the new cluster %s.
Start it with its usual flags. Start the others with empty data directories: what they hold belongs to the old cluster, and with
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
	_, err := fmt.Fprintf(out, `%s holds the data of cluster %s up to term %d, index %d%s.
The other members, none of which answers where it was last seen: %s.%s

What may be lost: everything that the others acknowledged and that is not here. What was written here last and not acknowledged to
anyone may turn out to have been accepted. If another data directory has survived, look at it in the same way, and recover the
one with the higher term or, with equal terms, the higher index. Make sure that the others are really down, not just unreachable from
here: if they still have a quorum there will be two clusters, with different data.
`, dir, r.Cluster, r.LastTerm, r.LastIndex, written, strings.Join(r.Others, ", "), strangers)
	return err
}
