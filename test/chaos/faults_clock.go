package main

import (
	"fmt"
	"time"
)

func clockJump(n *nemesis) (string, func() error, error) {
	victims := n.some()
	most := []time.Duration{10 * time.Second, time.Hour, 24 * time.Hour}[n.chance.IntN(3)]
	text := "clocks:"
	for _, r := range victims {
		skew := (time.Duration(n.chance.Int64N(int64(2*most))) - most).Round(time.Second)
		text += fmt.Sprintf(" %s %s", r.name, skew)
		if err := r.setClock(skew); err != nil && r.running() {
			return "", nil, err
		}
	}
	return text, func() error {
		for _, r := range victims {
			if err := r.setClock(0); err != nil && r.running() {
				return err
			}
		}
		return nil
	}, nil
}
