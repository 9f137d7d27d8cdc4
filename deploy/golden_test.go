package deploy_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestTheChartRendersItsGoldenFiles shows in a review what a change of the chart does to those who run it.
func TestTheChartRendersItsGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "three-replicas", "community", "existing-claim", "shrink-to-one"} {
		got := mustRender(t, "-f", chart+"/ci/"+name+".yaml")
		golden := filepath.Join("testdata", "golden", name+".yaml")
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from what ci/%s.yaml renders: look at it after `make manifests`\n%s",
				golden, name, firstDifference(string(want), got))
		}
	}
}

// TestTheManifestsAreTheChart: deploy/kubernetes is what generate writes.
func TestTheManifestsAreTheChart(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	command := exec.Command("kubernetes/generate", out)
	command.Env = append(os.Environ(), "HELM="+helm(t))
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("kubernetes/generate: %v\n%s", err, said)
	}
	want, got := manifests(t, out), manifests(t, "kubernetes")
	for path, text := range want {
		if got[path] != text {
			t.Errorf("deploy/kubernetes/%s is not what the chart renders: run `make manifests`\n%s",
				path, firstDifference(text, got[path]))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("deploy/kubernetes/%s is written by nothing", path)
		}
	}
	if len(want) < 10 {
		t.Errorf("only %d manifests are written", len(want))
	}
}

// manifests are the files of a tree but for those that are written by hand.
func manifests(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" || d.Name() == "kustomization.yaml" ||
			filepath.Dir(path) == dir {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTheKustomizationsBuild holds what each overlay consists of; the command is kubectl's.
func TestTheKustomizationsBuild(t *testing.T) {
	t.Parallel()
	for overlay, kinds := range map[string]string{
		"standalone": "ConfigMap NetworkPolicy Service Service Service ServiceAccount StatefulSet",
		"three-replicas": "ConfigMap NetworkPolicy PodDisruptionBudget Service Service Service ServiceAccount " +
			"StatefulSet",
		"prometheus-operator": "ConfigMap NetworkPolicy PodDisruptionBudget PodMonitor PrometheusRule " +
			"Service Service Service ServiceAccount ServiceMonitor StatefulSet",
	} {
		out, err := exec.Command(kubectl(t), "kustomize", "kubernetes/overlays/"+overlay).Output()
		if err != nil {
			t.Errorf("%s: %v", overlay, err)
			continue
		}
		if got := kindsOf(objects(t, string(out))); got != kinds {
			t.Errorf("%s holds %s, want %s", overlay, got, kinds)
		}
	}
}

// TestTheChartHoldsTheAlertsAndDashboards: files/ is a copy, because a chart cannot reach outside of itself.
func TestTheChartHoldsTheAlertsAndDashboards(t *testing.T) {
	t.Parallel()
	dashboards, _ := filepath.Glob("monitoring/dashboards/*.json")
	for _, path := range append(dashboards, "monitoring/rules.yaml") {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(chart, "files", filepath.Base(path))); err != nil ||
			!bytes.Equal(got, want) {
			t.Errorf("the chart's files/%s is not deploy/%s: run `make manifests` (%v)", filepath.Base(path), path, err)
		}
	}
	if copies, _ := filepath.Glob(chart + "/files/*"); len(copies) != len(dashboards)+1 {
		t.Errorf("the chart holds %q, and deploy/monitoring has %d dashboards and the rules", copies, len(dashboards))
	}
}

func kubectl(t *testing.T) string {
	t.Helper()
	if path, err := filepath.Abs("../bin/kubernetes/kubectl"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath("kubectl")
	if err == nil {
		return path
	}
	if os.Getenv("PUSHQUORUM_REQUIRE_HELM") == "1" {
		t.Fatal("there is no kubectl: neither bin/kubernetes/kubectl nor on PATH")
	}
	t.Skip("there is no kubectl: neither bin/kubernetes/kubectl nor on PATH")
	return ""
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		line := func(l []string) string {
			if i < len(l) {
				return l[i]
			}
			return "(its end)"
		}
		if line(w) != line(g) {
			return "want: " + line(w) + "\ngot:  " + line(g)
		}
	}
	return "no line differs"
}
