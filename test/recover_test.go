package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecoverMakesAClusterOfOneSurvivingDirectory goes through what the README says: two of three are lost for good.
func TestRecoverMakesAClusterOfOneSurvivingDirectory(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for i := range 10 {
		c.at(i).push(fmt.Sprintf("/metrics/job/j%d", i), gauge("e2e_kept", i))
	}
	c.mustAgree()
	survivor, stillThere := c.at(0), c.at(1)
	c.at(2).kill()
	survivor.kill()
	args := func(more ...string) []string { return append([]string{"recover"}, append(survivor.args(), more...)...) }

	if code, _, stderr := runProcess(t, "", binary(t), args("--accept-loss")...); code == 0 ||
		!strings.Contains(stderr, stillThere.name) || !strings.Contains(stderr, "answers at") {
		t.Fatalf("while another member answers: exit code %d, %s", code, stderr)
	}
	stillThere.kill()
	code, stdout, stderr := runProcess(t, "", binary(t), args()...)
	if code == 0 || !strings.Contains(stderr, "nothing was changed") || !strings.Contains(stderr, "--accept-loss") {
		t.Fatalf("without --accept-loss: exit code %d, %s", code, stderr)
	}
	for _, said := range []string{"What may be lost", "r2 at ", "r3 at ", "index "} {
		if !strings.Contains(stdout, said) {
			t.Errorf("it does not say %q:\n%s", said, stdout)
		}
	}
	if code, stdout, stderr = runProcess(t, "", binary(t), args("--accept-loss")...); code != 0 ||
		!strings.Contains(stdout, "Recovered.") {
		t.Fatalf("with --accept-loss: exit code %d, %s\n%s", code, stdout, stderr)
	}

	if code, _, stderr := runProcess(t, "", binary(t), args("--accept-loss")...); code == 0 ||
		!strings.Contains(stderr, "only member of its cluster already") {
		t.Fatalf("once more: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := runProcess(t, "", binary(t), args("--accept-loss", "--if-needed")...); code != 0 {
		t.Fatalf("once more, with --if-needed: exit code %d, %s", code, stderr)
	}

	survivor.restart()
	survivor.push("/metrics/job/after", gauge("e2e_after", 1))
	scrape := survivor.scrape()
	mustHave(t, scrape, `e2e_after{instance="",job="after"}`, "1")
	for i := range 10 {
		mustHave(t, scrape, fmt.Sprintf(`e2e_kept{instance="",job="j%d"}`, i), fmt.Sprint(i))
	}
	// The others come back with empty directories, as new disks have them.
	for _, r := range c.replicas[1:] {
		r.data = t.TempDir()
		r.start()
	}
	c.mustBeReady()
	mustHave(t, c.mustAgree(), `e2e_after{instance="",job="after"}`, "1")
}

// TestRecoverCutsALogThatCannotBeReadToItsEnd goes through what the README says of one replica whose log is damaged.
func TestRecoverCutsALogThatCannotBeReadToItsEnd(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	for _, job := range []string{"first", "damaged_one", "last"} {
		r.push("/metrics/job/"+job, gauge("e2e_"+job, 1))
	}
	r.stop(t, stopWithin)
	segments, err := filepath.Glob(filepath.Join(r.data, "wal", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte("e2e_damaged_one"))
	if at < 0 {
		t.Fatal("the push is not in the log")
	}
	content[at] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runProcess(t, "", binary(t), r.args()...); code == 0 ||
		!strings.Contains(stderr, segments[0]) {
		t.Fatalf("a start with the damaged log: exit code %d, %s", code, stderr)
	}
	recover := func(more ...string) (code int, stdout, stderr string) {
		return runProcess(t, "", binary(t), append([]string{"recover"}, append(r.args(), more...)...)...)
	}
	for _, flags := range [][]string{nil, {"--accept-loss"}, {"--drop-unreadable"}} {
		code, stdout, stderr := recover(flags...)
		if code == 0 || !strings.Contains(stderr, "nothing was changed") ||
			!strings.Contains(stderr, "--drop-unreadable") {
			t.Fatalf("with %v: exit code %d, %s", flags, code, stderr)
		}
		for _, said := range []string{
			segments[0], "Cannot be read: ", "to the end of the log: entries ", "written from ", "only member",
		} {
			if !strings.Contains(stdout, said) {
				t.Errorf("with %v it does not say %q:\n%s", flags, said, stdout)
			}
		}
	}
	if now, err := os.ReadFile(segments[0]); err != nil || !bytes.Equal(now, content) {
		t.Fatalf("looking has changed the log: %v", err)
	}
	if code, stdout, stderr := recover("--accept-loss", "--drop-unreadable"); code != 0 ||
		!strings.Contains(stdout, "Recovered.") {
		t.Fatalf("with both flags: exit code %d, %s\n%s", code, stdout, stderr)
	}
	r.restart()
	r.push("/metrics/job/after", gauge("e2e_after", 1))
	scrape := r.scrape()
	mustHave(t, scrape, `e2e_first{instance="",job="first"}`, "1")
	mustHave(t, scrape, `e2e_after{instance="",job="after"}`, "1")
	for _, gone := range []string{"e2e_damaged_one{", "e2e_last{"} {
		if strings.Contains(scrape, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
}
