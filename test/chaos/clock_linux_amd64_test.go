package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the process whose clock is moved.
func TestMain(m *testing.M) {
	if os.Getenv("CHAOS_TEST_CLOCK") != "" {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Println(time.Now().Unix(), time.Since(started).Milliseconds())
		}
		return
	}
	os.Exit(m.Run())
}

var started = time.Now()

func TestTheClockOfAGoProcessCanBeMoved(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHAOS_TEST_CLOCK=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	answers := bufio.NewScanner(out)
	ask := func() (wall time.Time, since time.Duration) {
		if _, err := fmt.Fprintln(in); err != nil || !answers.Scan() {
			t.Fatal(err, answers.Err())
		}
		a, b, _ := strings.Cut(answers.Text(), " ")
		seconds, _ := strconv.ParseInt(a, 10, 64)
		millis, _ := strconv.ParseInt(b, 10, 64)
		return time.Unix(seconds, 0), time.Duration(millis) * time.Millisecond
	}
	ask()
	c, err := takeClock(cmd.Process.Pid)
	if err != nil {
		t.Skip(err) // a kernel that forbids it
	}
	defer c.close()
	for _, offset := range []time.Duration{0, time.Hour, -24 * time.Hour, 0} {
		if err := c.set(offset); err != nil {
			t.Fatal(err)
		}
		wall, since := ask()
		if off := time.Until(wall) - offset; off.Abs() > 2*time.Second {
			t.Errorf("with an offset of %s the process is %s off", offset, off)
		}
		if since > time.Minute {
			t.Errorf("with an offset of %s its monotonic clock has moved too: %s", offset, since)
		}
	}
}
