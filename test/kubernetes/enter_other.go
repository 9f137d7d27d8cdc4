//go:build !linux

package main

import (
	"fmt"
	"os"
)

const (
	stageVariable = "PUSHQUORUM_KUBERNETES_STAGE"
	stageReaper   = "reaper"
	stageWork     = "work"
	groupVariable = "PUSHQUORUM_KUBERNETES_GROUP"
)

func enter(options) int {
	fmt.Fprintln(os.Stderr, "kubernetes: a cluster in namespaces of its own needs Linux")
	return 2
}

func reap() int { return enter(options{}) }
