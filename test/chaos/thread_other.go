//go:build !linux

package main

import "os/exec"

// thread starts processes.
type thread struct{}

func newThread(bool) (*thread, error) { return &thread{}, nil }

func (*thread) start(cmd *exec.Cmd) error { return cmd.Start() }
