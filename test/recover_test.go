package test

import (
	"fmt"
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

	if code, _, stderr := runProcess(t, "", binary(t), args("--accept-loss")...); code == 0 || !strings.Contains(stderr, stillThere.name) || !strings.Contains(stderr, "answers at") {
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
	if code, stdout, stderr = runProcess(t, "", binary(t), args("--accept-loss")...); code != 0 || !strings.Contains(stdout, "Recovered.") {
		t.Fatalf("with --accept-loss: exit code %d, %s\n%s", code, stdout, stderr)
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
