package test

import (
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
)

func TestAPushgatewaysFileIsImportedOnce(t *testing.T) {
	t.Parallel()
	need(t, "prometheus-pushgateway")
	file := filepath.Join(t.TempDir(), "pushgateway.gob")
	want := writePersistenceFile(t, file)

	flags := []string{"--persistence.file=" + file, "--web.enable-admin-api"}
	r := startReplica(t, flags...)
	if got := inOrder(pushedLines(r.scrape())); !slices.Equal(got, want) {
		t.Fatalf("the imported series are not those of the Pushgateway (- it, + ours):\n%s", diffLines(want, got))
	}

	r.delete("/metrics/job/deleted")
	r.push("/metrics/job/changed", gauge("e2e_imported", 2))
	before := pushedLines(r.scrape())
	mustLack(t, r.scrape(), `job="deleted"`)
	r.stopNow()
	r.restart()
	if after := pushedLines(r.scrape()); !slices.Equal(after, before) {
		t.Fatalf("a restart has imported again:\n%s", diffLines(before, after))
	}

	mustDo(t, http.StatusAccepted, request{method: http.MethodPut, url: r.url("/api/v1/admin/wipe")})
	r.stopNow()
	r.restart()
	if after := pushedLines(r.scrape()); len(after) != 0 {
		t.Fatalf("a restart after a wipe has brought back: %v", after)
	}
}

func TestAPushgatewaysFileIsImportedIntoAClusterOnce(t *testing.T) {
	t.Parallel()
	need(t, "prometheus-pushgateway")
	file := filepath.Join(t.TempDir(), "pushgateway.gob")
	want := writePersistenceFile(t, file)

	// All three are given the file, as a StatefulSet would do it.
	c := startCluster(t, "--persistence.file="+file)
	eventually(t, readyWithin, "import the file", func() error {
		if got := inOrder(pushedLines(c.at(1).scrape())); !slices.Equal(got, want) {
			return errors.New(diffLines(want, got))
		}
		return nil
	})
	c.at(2).delete("/metrics/job/deleted")
	for _, r := range c.replicas {
		r.kill()
	}
	for _, r := range c.replicas {
		r.start()
	}
	c.mustBeReady()
	mustLack(t, c.mustAgree(), `job="deleted"`)
}

// writePersistenceFile lets a real Pushgateway write the file and returns the lines of its last scrape, in order.
func writePersistenceFile(t *testing.T, file string) []string {
	t.Helper()
	peer := startPushgateway(t, "--persistence.file="+file)
	for _, s := range []step{
		put("/metrics/job/all", everyType),
		put("/metrics/job/changed/instance/i", gauge("e2e_imported", 1)),
		put("/metrics/job/changed", gauge("e2e_imported", 1)),
		put("/metrics/job/deleted", gauge("e2e_imported", 1)),
		put("/metrics/job/odd/path@base64/L3Zhci90bXA/empty@base64/=", "e2e_odd{text=\"a\\\"b\\\\c\\nd\"} NaN\n"),
		put("/metrics/job/failed", gauge("e2e_imported", 1)),
		put("/metrics/job/failed", "e2e_imported 1 1700000000000\n"),
		put("/metrics/job/onlyfailed", "e2e_imported 1 1700000000000\n"),
		put("/metrics/job/empty", ""),
	} {
		if _, err := do(request{method: s.method, url: peer.url(s.path), body: s.body}); err != nil {
			t.Fatal(err)
		}
	}
	lines := inOrder(pushedLines(mustDo(t, http.StatusOK, request{url: peer.url("/metrics")}).body))
	if len(lines) < 40 {
		t.Fatalf("the Pushgateway did not take the pushes: %v", lines)
	}
	peer.stop(t, stopWithin) // it writes the file when it ends
	return lines
}
