//go:build unix

package main

import "syscall"

// maxDescriptors is how many files and connections this process may have open, 0 if that is not known. Go has raised
// the limit to the hard one before main began.
func maxDescriptors() int64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int64(min(uint64(limit.Cur), 1<<31)) //nolint:unconvert // on some systems it is signed
}
