package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// intoFlag makes this program enter control groups and become another program: a process that has not begun yet is
// moved whole, and so is charged for all of its memory.
const intoFlag = "-into"

// insideVariable names the control groups of a run, in the program that does the work.
const insideVariable = "PUSHQUORUM_LIMITS_INSIDE"

func main() {
	if len(os.Args) > 3 && os.Args[1] == intoFlag {
		fmt.Fprintln(os.Stderr, "limits:", become(strings.Split(os.Args[2], ","), os.Args[3:]))
		os.Exit(2)
	}
	duration := flag.Duration("duration", 3*time.Second, "how long each attack lasts")
	roomsLike := flag.String("rooms", "", "regular expression of rooms; empty: all")
	attacksLike := flag.String("attacks", "", "regular expression of attacks; empty: all")
	binary := flag.String("binary", "bin/pushquorum", "the program under test")
	dir := flag.String("dir", "bin/limits-runs", "where data and logs go: a directory on a disk")
	flag.Parse()
	if os.Getenv(insideVariable) == "" {
		os.Exit(enter())
	}
	fail := func(err error) {
		fmt.Fprintf(os.Stderr, "limits: %v\n", err)
		os.Exit(2)
	}
	if err := keepMounts(); err != nil {
		fail(err)
	}
	p := plan{duration: *duration, out: os.Stdout}
	var err error
	p.rooms, err = regexp.Compile(*roomsLike)
	if err == nil {
		p.attacks, err = regexp.Compile(*attacksLike)
	}
	if err == nil {
		p.binary, err = filepath.Abs(*binary)
	}
	if err == nil {
		p.dir, err = filepath.Abs(*dir)
	}
	if err == nil {
		_, err = os.Stat(p.binary)
	}
	if err == nil {
		p.control, err = findControl("/proc/self/mountinfo", os.Getenv(insideVariable))
	}
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	violations, err := p.run(ctx)
	stop()
	if err != nil {
		fail(err)
	}
	if violations > 0 {
		os.Exit(1)
	}
}
