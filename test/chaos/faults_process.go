package main

import (
	"fmt"
	"syscall"
	"time"
)

func kill(n *nemesis) (string, func() error, error) {
	victims := n.some()
	for _, r := range victims {
		if err := r.kill(); err != nil {
			return "", nil, err
		}
	}
	return "kill -9 of " + names(victims), func() error {
		for _, r := range victims {
			if err := r.start(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func pause(n *nemesis) (string, func() error, error) {
	victims := n.some()
	for _, r := range victims {
		r.pause()
	}
	return "SIGSTOP of " + names(victims), func() error {
		for _, r := range victims {
			r.resume()
		}
		return nil
	}, nil
}

// rollingRestart waits for each replica to be ready again, but not forever: there may be other faults at the same time.
func rollingRestart(n *nemesis) (string, func() error, error) {
	text, err := n.roll(0)
	return text, nil, err
}

// roll lets each be away for a while.
func (n *nemesis) roll(away time.Duration) (string, error) {
	text := "SIGTERM and start, one after the other:"
	for _, r := range n.c.members() {
		r.resume() // a process that is stopped does not end
		began := time.Now()
		if err := r.end(syscall.SIGTERM, stopWithin); err != nil {
			n.c.violate("%v", err)
		}
		text += fmt.Sprintf(" %s (%.1f s)", r.name, time.Since(began).Seconds())
		<-time.After(away)
		if err := r.start(); err != nil {
			return "", err
		}
		_ = attempt(readyWithin/4, func() error { // when other faults keep it from being ready, the next calm tells
			a, err := n.asker.do(ask{url: r.url("/-/ready"), timeout: time.Second})
			if err == nil && a.status != 200 {
				err = fmt.Errorf("status %d", a.status)
			}
			return err
		})
	}
	return text, nil
}

func readdress(n *nemesis) (string, func() error, error) {
	for _, r := range n.c.members() {
		r.resume()
		if err := r.end(syscall.SIGKILL, stopWithin); err != nil {
			return "", nil, err
		}
	}
	text := "new addresses:"
	for _, r := range n.c.members() {
		if err := n.c.site.readdress(r.index); err != nil {
			return "", nil, err
		}
		if err := r.address(); err != nil {
			return "", nil, err
		}
		text += " " + r.name + " " + r.gossip
	}
	for _, r := range n.c.members() {
		if err := r.start(); err != nil {
			return "", nil, err
		}
	}
	return text, nil, nil
}
