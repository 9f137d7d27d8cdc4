//go:build !linux

package local

import "os/exec"

// Spawner starts processes; on this system they outlive a program that is killed.
type Spawner struct{}

// NewSpawner returns one that must be closed.
func NewSpawner() *Spawner { return &Spawner{} }

// Start starts the command.
func (s *Spawner) Start(cmd *exec.Cmd) error { return cmd.Start() }

// Close must be called when every process has ended.
func (s *Spawner) Close() {}
