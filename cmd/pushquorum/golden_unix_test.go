//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// becomeAnother makes the program's user one that has no rights, as in a container, where the test has all of them.
func becomeAnother(cmd *exec.Cmd, s start) {
	if s.unprivileged && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}
